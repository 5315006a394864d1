/*
 * A descriptor's timeout passes once, unless there was activity before, and leaves what is armed as it is.
 */
#include "check.h"
#include "events.h"

static int ends[2], others[2], late, calls;

static int set(mln_event_t *ev, int fd, mln_u32_t flag, int timeout_ms, void *data, ev_fd_handler handler)
{
    return mln_event_fd_set(ev, fd, flag, timeout_ms, data, handler);
}

static void begin(mln_event_t *ev, int timeout_ms)
{
    make_pipe(ends);
    late = calls = 0;
    CHECK_INT(set(ev, ends[0], M_EV_RECV, timeout_ms, &calls, count_byte), 0);
    mln_event_fd_timeout_handler_set(ev, ends[0], &late, count);
}

static void end(mln_event_t *ev)
{
    CHECK_INT(set(ev, ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close_both(ends);
}

static void passed(mln_event_t *ev, int fd, void *data)
{
    CHECK_INT(fd, ends[0]);
    CHECK(now_ms() >= *(long long *)data);
    ++late;
    put_byte(ends[1]); /* still armed */
    (void)ev;
}

static void passes_once(mln_event_t *ev)
{
    long long due;

    begin(ev, M_EV_UNLIMITED);
    due = now_ms() + 30;
    CHECK_INT(set(ev, ends[0], M_EV_RECV, 30, &calls, count_byte), 0);
    mln_event_set_fd_timeout_handler(ev, ends[0], &due, passed);
    run_for(ev, 100);
    CHECK_INT(late, 1);
    CHECK_INT(calls, 1);
    end(ev);

    begin(ev, 0);
    run_for(ev, 20);
    CHECK_INT(late, 1);
    end(ev);
}

static void is_ended_or_moved(mln_event_t *ev)
{
    begin(ev, 20); /* by activity */
    put_byte(ends[1]);
    run_for(ev, 50);
    CHECK_INT(late, 0);
    CHECK_INT(calls, 1);
    CHECK_INT(set(ev, ends[0], M_EV_RECV | M_EV_APPEND, 10, &calls, count_byte), 0); /* and has to be set again */
    run_for(ev, 50);
    CHECK_INT(late, 1);

    CHECK_INT(set(ev, ends[0], M_EV_RECV, 20, &calls, count_byte), 0); /* taken back */
    CHECK_INT(set(ev, ends[0], M_EV_RECV, M_EV_UNLIMITED, &calls, count_byte), 0);
    run_for(ev, 50);
    CHECK_INT(late, 1);

    CHECK_INT(set(ev, ends[0], M_EV_RECV, 20, &calls, count_byte), 0); /* left alone */
    CHECK_INT(set(ev, ends[0], M_EV_RECV, M_EV_UNMODIFIED, &calls, count_byte), 0);
    run_for(ev, 50);
    CHECK_INT(late, 2);

    CHECK_INT(set(ev, ends[0], M_EV_RECV, 10, &calls, count_byte), 0); /* put off */
    CHECK_INT(set(ev, ends[0], M_EV_RECV, 1000000, &calls, count_byte), 0);
    run_for(ev, 50);
    CHECK_INT(late, 2);
    CHECK_INT(set(ev, ends[0], M_EV_RECV, 10, &calls, count_byte), 0); /* brought nearer */
    run_for(ev, 50);
    CHECK_INT(late, 3);

    CHECK_INT(set(ev, ends[0], M_EV_RECV, 10, &calls, count_byte), 0); /* forgotten with the descriptor, handler and all */
    CHECK_INT(set(ev, ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    run_for(ev, 30);
    CHECK_INT(set(ev, ends[0], M_EV_RECV, 10, &calls, count_byte), 0);
    run_for(ev, 30);
    CHECK_INT(late, 3);
    end(ev);
}

static void be_late(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    usleep(40000);
    put_byte(ends[1]);
}

/* Both are found by the same wait: the bytes count, the deadline does not. */
static void activity_wins(mln_event_t *ev)
{
    begin(ev, 20);
    CHECK(mln_event_timer_set(ev, 0, NULL, be_late) != NULL);
    run_for(ev, 80);
    CHECK_INT(calls, 1);
    CHECK_INT(late, 0);
    end(ev);
}

/* The nearest deadline, not passed, is looked at with every wait; its descriptor is cleared and its number used again. */
static void clear_nearest(mln_event_t *ev, int fd, void *data)
{
    int fresh[2];

    count_byte(ev, fd, data);
    CHECK_INT(set(ev, ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close_both(ends);
    make_pipe(fresh);
    CHECK_INT(fresh[0], ends[0]);
    CHECK_INT(fresh[1], ends[1]);
    CHECK_INT(set(ev, ends[0], M_EV_RECV | M_EV_APPEND, M_EV_UNLIMITED, &calls, count_byte), 0);
    put_byte(ends[1]);
}

static void cleared_before_it_passes(mln_event_t *ev)
{
    int cleared = 0;

    begin(ev, 300);
    make_pipe(others);
    CHECK_INT(set(ev, others[0], M_EV_RECV, 600, &cleared, clear_nearest), 0);
    run_for(ev, 10);
    put_byte(others[1]);
    run_for(ev, 400);
    CHECK_INT(cleared, 1);
    CHECK_INT(calls, 1);
    CHECK_INT(late, 0);
    CHECK_INT(set(ev, others[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close_both(others);
    end(ev);
}

static void clear_both(mln_event_t *ev, int fd, void *data)
{
    count(ev, fd, data);
    CHECK_INT(set(ev, ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    CHECK_INT(set(ev, others[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close_both(ends);
    close_both(others);
}

/* Two deadlines pass together, and the first handler silences the second. */
static void cleared_by_a_timeout(mln_event_t *ev)
{
    begin(ev, 20);
    make_pipe(others);
    CHECK_INT(set(ev, others[0], M_EV_RECV, 20, NULL, never), 0);
    mln_event_fd_timeout_handler_set(ev, ends[0], &late, clear_both);
    mln_event_fd_timeout_handler_set(ev, others[0], &late, clear_both);
    usleep(30000);
    run_for(ev, 30);
    CHECK_INT(late, 1);
}

static void far_away(mln_event_t *ev)
{
    static const int msecs[] = {2147483, 2147484, 4294968, 0x7fffffff};

    begin(ev, M_EV_UNLIMITED);
    for (int i = 0; i < 4; ++i) {
        CHECK_INT(set(ev, ends[0], M_EV_RECV, msecs[i], &calls, count_byte), 0);
        check_sleeps(ev);
    }
    CHECK_INT(late, 0);
    end(ev);
}

int main(void)
{
    mln_event_t *ev = new_loop();

    passes_once(ev);
    is_ended_or_moved(ev);
    activity_wins(ev);
    cleared_before_it_passes(ev);
    cleared_by_a_timeout(ev);
    far_away(ev);
    mln_event_fd_timeout_handler_set(ev, 999, &late, count); /* not registered: nothing happens */
    /* No handler: the timeout just passes. */
    make_pipe(ends);
    CHECK_INT(set(ev, ends[0], M_EV_RECV, 5, NULL, never), 0);
    check_sleeps(ev);
    mln_event_free(ev);
    close_both(ends);
    return 0;
}
