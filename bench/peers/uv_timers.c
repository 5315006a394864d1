/*
 * uv_timers.c - ours/timers.c with libuv.
 */
#include "../bench.h"

#include <uv.h>

static long due;

static void on_timer(uv_timer_t *timer)
{
    if (--due == 0)
        uv_stop(timer->loop);
}

int main(int argc, char **argv)
{
    long timers = option(argc, argv, "timers", 100000);
    uv_timer_t *all = calloc((size_t)timers, sizeof *all);
    uint64_t start, time;
    uint32_t random = 1;
    uv_loop_t loop;

    begin(argc, argv);
    EXPECT(uv_loop_init(&loop) == 0);
    start = now();
    for (long i = 0; i < timers; ++i) {
        random = random * 1103515245 + 12345;
        EXPECT(uv_timer_init(&loop, &all[i]) == 0);
        EXPECT(uv_timer_start(&all[i], on_timer, (random >> 16) % 10, 0) == 0);
    }
    due = timers;
    for (long i = 0; i < timers; i += 2, --due)
        EXPECT(uv_timer_stop(&all[i]) == 0);
    time = now() - start;
    usleep(20000);
    start = now();
    uv_run(&loop, UV_RUN_DEFAULT);
    time += now() - start;
    EXPECT(due == 0);
    report("timer", (double)time / (double)timers);
    report_end();
    return 0;
}
