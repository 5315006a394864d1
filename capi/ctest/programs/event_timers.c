/*
 * Timers fire once, in the order of their deadlines and never early, whatever their distance, and can be taken back.
 */
#include "check.h"
#include "events.h"

#include <stdint.h>

enum { MANY = 5000 };

struct timer {
    long long start, end; /* around the call that sets it */
    mln_u32_t msec;
    int number;
    mln_event_timer_t *handle;
};

static int fired[MANY], fires;

static struct timer *set(mln_event_t *ev, struct timer *t, mln_u32_t msec, ev_tm_handler handler)
{
    t->start = now_ms();
    t->msec = msec;
    CHECK((t->handle = mln_event_timer_set(ev, msec, t, handler)) != NULL);
    t->end = now_ms();
    return t;
}

static void note(mln_event_t *ev, void *data)
{
    struct timer *t = data;

    (void)ev;
    CHECK(now_ms() - t->start >= t->msec);
    fired[fires++] = t->number;
}

static void in_order_of_deadline(mln_event_t *ev)
{
    static const mln_u32_t msecs[] = {150, 50, 250, 900, 0, 500, 50, 60, 250};
    static const int order[] = {4, 1, 6, 7, 0, 2, 8, 5, 3};
    enum { N = sizeof msecs / sizeof msecs[0] };
    struct timer timers[N];

    fires = 0;
    for (int i = 0; i < N; ++i) {
        timers[i].number = i;
        set(ev, &timers[i], msecs[i] * (mln_u32_t)check_slowness(), note);
    }
    run_for(ev, 920 * check_slowness());
    CHECK_INT(fires, N);
    for (int i = 0; i < N; ++i)
        CHECK_INT(fired[i], order[i]);
}

/* Many of them, every third of which is cancelled: the others fire, in order. */
static void many(mln_event_t *ev)
{
    static struct timer timers[MANY];
    unsigned random = 1;
    int last = -1;

    fires = 0;
    for (int i = 0; i < MANY; ++i) {
        random = random * 1103515245 + 12345;
        timers[i].number = i;
        set(ev, &timers[i], 100 + (random >> 16) % 200, note);
    }
    for (int i = 0; i < MANY; i += 3)
        mln_event_timer_cancel(ev, timers[i].handle);
    run_for(ev, 500 * check_slowness());
    CHECK_INT(fires, MANY - (MANY + 2) / 3);
    for (int i = 0; i < fires; ++i) {
        const struct timer *t = &timers[fired[i]];

        CHECK(t->number % 3 != 0);
        /* Its deadline was not before that of the one before it, as far as the clock can tell. */
        CHECK(last < 0 || t->end + t->msec + 1 >= timers[last].start + timers[last].msec);
        last = t->number;
    }
}

static void cancel_neighbour(mln_event_t *ev, void *data)
{
    mln_event_timer_cancel(ev, *(mln_event_timer_t **)data);
}

static void cancelling(mln_event_t *ev)
{
    mln_event_timer_t *neighbour, *old;
    int calls = 0;

    mln_event_timer_cancel(ev, NULL);
    /* In a handler of the same moment. */
    CHECK(mln_event_timer_set(ev, 0, &neighbour, cancel_neighbour) != NULL);
    CHECK((neighbour = mln_event_timer_set(ev, 0, NULL, never_timer)) != NULL);
    run_for(ev, 10);

    /* A handle that is used up is none of those that come later. */
    CHECK((old = mln_event_timer_set(ev, 0, &calls, count_timer)) != NULL);
    run_for(ev, 10);
    CHECK_INT(calls, 1);
    for (int i = 0; i < 10; ++i)
        CHECK(mln_event_timer_set(ev, 5, &calls, count_timer) != NULL);
    mln_event_timer_cancel(ev, old);
    mln_event_timer_cancel(ev, neighbour);
    run_for(ev, 20);
    CHECK_INT(calls, 11);
    CHECK((old = mln_event_timer_set(ev, 5, NULL, never_timer)) != NULL);
    mln_event_timer_cancel(ev, old);
    CHECK(mln_event_timer_set(ev, 5, &calls, count_timer) != NULL);
    mln_event_timer_cancel(ev, old);
    run_for(ev, 20);
    CHECK_INT(calls, 12);
}

/* The data is a number, not an address. */
static void count_down(mln_event_t *ev, void *data)
{
    intptr_t left = (intptr_t)data;

    if (left == 0)
        mln_event_set_break(ev);
    else
        CHECK_INT(mln_event_set_timer(ev, 1, (void *)(left - 1), count_down), 0);
    ++fires;
}

static void expect_number(mln_event_t *ev, void *data)
{
    static const intptr_t numbers[] = {0, 1, -1, 4095, INTPTR_MAX, INTPTR_MIN};

    (void)ev;
    CHECK((intptr_t)data == numbers[fires]);
    ++fires;
}

static void numbers_for_pointers(mln_event_t *ev)
{
    static const intptr_t numbers[] = {0, 1, -1, 4095, INTPTR_MAX, INTPTR_MIN};

    fires = 0;
    CHECK_INT(mln_event_set_timer(ev, 1, (void *)(intptr_t)100, count_down), 0);
    mln_event_dispatch(ev);
    CHECK_INT(fires, 101);
    fires = 0;
    for (int i = 0; i < 6; ++i)
        CHECK(mln_event_timer_set(ev, 0, (void *)numbers[i], expect_number) != NULL);
    CHECK(mln_event_timer_set(ev, 0, NULL, NULL) != NULL); /* NULL is allowed */
    run_for(ev, 10);
    CHECK_INT(fires, 6);
}

static void at_once_again(mln_event_t *ev, void *data)
{
    ++*(int *)data;
    CHECK(mln_event_timer_set(ev, 0, data, at_once_again) != NULL);
}

static void at_once_leaves_turns_to_others(mln_event_t *ev)
{
    int ends[2], turns = 0, bytes = 0;

    make_pipe(ends);
    for (int i = 0; i < 10; ++i)
        put_byte(ends[1]);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, M_EV_UNLIMITED, &bytes, count_byte), 0);
    CHECK(mln_event_timer_set(ev, 0, &turns, at_once_again) != NULL);
    run_for(ev, 30);
    CHECK(turns > 10);
    CHECK_INT(bytes, 10);
    mln_event_free(ev); /* with a timer pending */
    close_both(ends);
}

/* Distances at which 32-bit arithmetic in microseconds or milliseconds wraps around. */
static void far_away(mln_event_t *ev)
{
    static const mln_u32_t msecs[] = {2147484, 4294967, 4294968, 8589935, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    mln_event_timer_t *handles[8];

    for (int i = 0; i < 8; ++i)
        CHECK((handles[i] = mln_event_timer_set(ev, msecs[i], NULL, never_timer)) != NULL);
    check_sleeps(ev);
    for (int i = 0; i < 8; ++i)
        mln_event_timer_cancel(ev, handles[i]);
}

int main(void)
{
    mln_event_t *ev = new_loop();

    in_order_of_deadline(ev);
    many(ev);
    cancelling(ev);
    numbers_for_pointers(ev);
    far_away(ev);
    at_once_leaves_turns_to_others(ev);
    return 0;
}
