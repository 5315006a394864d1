/*
 * timers.c - many timers, half of which are cancelled, with the C API.
 *
 * timers=N: set with deadlines spread over 10 ms; every other one is cancelled; the rest expire, after all are due.
 * Result: timer (ns for one of N, everything included but the wait)
 */
#include "../bench.h"

#include "mln_event.h"

static long due;

static void on_timer(mln_event_t *ev, void *data)
{
    (void)data;
    if (--due == 0)
        mln_event_break_set(ev);
}

int main(int argc, char **argv)
{
    long timers = option(argc, argv, "timers", 100000);
    mln_event_timer_t **all = calloc((size_t)timers, sizeof(mln_event_timer_t *));
    uint64_t start, time;
    uint32_t random = 1;
    mln_event_t *ev;

    begin(argc, argv);
    if ((ev = mln_event_new()) == NULL)
        fail("mln_event_new: %s", strerror(errno));
    start = now();
    for (long i = 0; i < timers; ++i) {
        random = random * 1103515245 + 12345;
        if ((all[i] = mln_event_timer_set(ev, (random >> 16) % 10, NULL, on_timer)) == NULL)
            fail("mln_event_timer_set: %s", strerror(errno));
    }
    due = timers;
    for (long i = 0; i < timers; i += 2, --due)
        mln_event_timer_cancel(ev, all[i]);
    time = now() - start;
    usleep(20000);
    start = now();
    mln_event_dispatch(ev);
    time += now() - start;
    EXPECT(due == 0);
    report("timer", (double)time / (double)timers);
    report_end();
    return 0;
}
