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

static uint64_t run_round(uv_loop_t *loop, uv_timer_t *all, long timers)
{
    uint64_t start = now(), time;
    uint32_t random = 1;

    uv_update_time(loop);
    for (long i = 0; i < timers; ++i) {
        EXPECT(uv_timer_init(loop, &all[i]) == 0);
        EXPECT(uv_timer_start(&all[i], on_timer, random_delay(&random), 0) == 0);
    }
    due = timers;
    for (long i = 0; i < timers; i += 2, --due)
        EXPECT(uv_timer_stop(&all[i]) == 0);
    time = now() - start;
    usleep((SPREAD_MS + 1) * 1000);
    start = now();
    uv_run(loop, UV_RUN_DEFAULT);
    time += now() - start;
    EXPECT(due == 0);
    for (long i = 0; i < timers; ++i) /* so that the next round may use their memory */
        uv_close((uv_handle_t *)&all[i], NULL);
    EXPECT(uv_run(loop, UV_RUN_DEFAULT) == 0);
    return time;
}

int main(int argc, char **argv)
{
    long timers = option(argc, argv, "timers", 100000), rounds = option(argc, argv, "count", 4);
    uv_timer_t *all = calloc((size_t)timers, sizeof *all);
    uint64_t time = 0;
    uv_loop_t loop;

    begin(argc, argv);
    EXPECT(uv_loop_init(&loop) == 0);
    (void)run_round(&loop, all, timers);
    for (long i = 0; i < rounds; ++i)
        time += run_round(&loop, all, timers);
    report("timer", (double)time / (double)(timers * rounds));
    report_end();
    return 0;
}
