/*
 * timers.c - many timers, half of which are cancelled, with the C API.
 *
 * timers=N count=ROUNDS: in each round they are set with deadlines spread over SPREAD_MS, so that those of a library that looks at the
 * clock differ hardly more than those of one that counts milliseconds; every other one is cancelled; the rest expire, after all are due.
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

static uint64_t run_round(mln_event_t *ev, mln_event_timer_t **all, long timers)
{
    uint64_t start = now(), time;
    uint32_t random = 1;

    for (long i = 0; i < timers; ++i)
        if ((all[i] = mln_event_timer_set(ev, random_delay(&random), NULL, on_timer)) == NULL)
            fail("mln_event_timer_set: %s", strerror(errno));
    due = timers;
    for (long i = 0; i < timers; i += 2, --due)
        mln_event_timer_cancel(ev, all[i]);
    time = now() - start;
    usleep((SPREAD_MS + 1) * 1000);
    start = now();
    mln_event_dispatch(ev);
    time += now() - start;
    EXPECT(due == 0);
    mln_event_break_reset(ev);
    return time;
}

int main(int argc, char **argv)
{
    long timers = option(argc, argv, "timers", 100000), rounds = option(argc, argv, "count", 4);
    mln_event_timer_t **all = calloc((size_t)timers, sizeof(mln_event_timer_t *));
    uint64_t time = 0;
    mln_event_t *ev;

    begin(argc, argv);
    if ((ev = mln_event_new()) == NULL)
        fail("mln_event_new: %s", strerror(errno));
    (void)run_round(ev, all, timers);
    for (long i = 0; i < rounds; ++i)
        time += run_round(ev, all, timers);
    report("timer", (double)time / (double)(timers * rounds));
    report_end();
    return 0;
}
