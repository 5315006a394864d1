/*
 * A descriptor that was hung up goes to one armed direction, and a loop that has nobody to tell sleeps.
 */
#include "check.h"
#include "events.h"

static int ends[2], calls;

static void set(mln_event_t *ev, int fd, mln_u32_t flag, void *data, ev_fd_handler handler)
{
    CHECK_INT(mln_event_fd_set(ev, fd, flag, M_EV_UNLIMITED, data, handler), 0);
}

static void end(mln_event_t *ev, int fd)
{
    set(ev, fd, M_EV_CLR, NULL, NULL);
    CHECK_INT(close(fd), 0);
}

static void hung_up_pipe(void)
{
    make_pipe(ends);
    CHECK_INT(close(ends[1]), 0);
    calls = 0;
}

static void count_and_stop(mln_event_t *ev, int fd, void *data)
{
    count(ev, fd, data);
    mln_event_set_break(ev);
}

static void nobody_to_tell(mln_event_t *ev)
{
    int fired, registered[2];

    /* A one-shot direction that has fired, and the peer goes. */
    make_sockets(ends);
    fired = ends[0];
    calls = 0;
    put_byte(ends[1]);
    set(ev, fired, M_EV_RECV | M_EV_ONESHOT, &calls, count_byte);
    run_for(ev, 20);
    CHECK_INT(calls, 1);
    CHECK_INT(close(ends[1]), 0);
    check_sleeps(ev);
    CHECK_INT(calls, 1);

    /* It still is there: armed again, it hears of the end. */
    set(ev, fired, M_EV_RECV | M_EV_ONESHOT | M_EV_APPEND, &calls, count_byte);
    run_for(ev, 20);
    CHECK_INT(calls, 2);

    /* No direction at all; one end hung up, the other in error. */
    hung_up_pipe();
    registered[0] = ends[0];
    set(ev, registered[0], 0, NULL, never);
    make_pipe(ends);
    CHECK_INT(close(ends[0]), 0);
    registered[1] = ends[1];
    set(ev, registered[1], M_EV_SEND | M_EV_ONESHOT, &calls, count);
    run_for(ev, 20);
    CHECK_INT(calls, 1);
    check_sleeps(ev);
    CHECK_INT(calls, 1);
    end(ev, fired);
    end(ev, registered[0]);
    end(ev, registered[1]);
}

/* A hang-up that comes while the loop waits for something else of the descriptor. */
static void close_peer(mln_event_t *ev, void *data)
{
    (void)ev;
    CHECK_INT(close(*(int *)data), 0);
}

static void somebody_to_tell(mln_event_t *ev)
{
    hung_up_pipe();
    set(ev, ends[0], M_EV_SEND | M_EV_ONESHOT, NULL, never);
    set(ev, ends[0], M_EV_ERROR | M_EV_ONESHOT | M_EV_APPEND, NULL, never);
    set(ev, ends[0], M_EV_RECV | M_EV_ONESHOT | M_EV_APPEND, &calls, count_and_stop);
    mln_event_dispatch(ev);
    CHECK_INT(calls, 1);
    end(ev, ends[0]);

    hung_up_pipe();
    set(ev, ends[0], M_EV_SEND | M_EV_ONESHOT, &calls, count);
    run_for(ev, 20);
    CHECK_INT(calls, 1);
    set(ev, ends[0], M_EV_ERROR | M_EV_ONESHOT, &calls, count);
    run_for(ev, 20);
    CHECK_INT(calls, 2);
    check_sleeps(ev);
    end(ev, ends[0]);

    make_sockets(ends);
    calls = 0;
    set_nonblocking(ends[0], 1);
    fill(ends[0]);
    set(ev, ends[0], M_EV_SEND | M_EV_ONESHOT | M_EV_NONBLOCK, &calls, count);
    CHECK(mln_event_timer_set(ev, 10, &ends[1], close_peer) != NULL);
    check_sleeps(ev);
    CHECK_INT(calls, 1);
    end(ev, ends[0]);
}

int main(void)
{
    mln_event_t *ev = new_loop();

    nobody_to_tell(ev);
    somebody_to_tell(ev);
    mln_event_free(ev);
    return 0;
}
