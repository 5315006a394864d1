/*
 * A handler may leave by longjmp: the loop is dispatched again, by this thread or freed, and has lost nothing.
 */
#include "check.h"
#include "events.h"

#include <setjmp.h>

static jmp_buf place;
static int calls, signals, ends[2];

static void jump(mln_event_t *ev, int fd, void *data)
{
    count_byte(ev, fd, data);
    longjmp(place, 1);
}

static void jump_timer(mln_event_t *ev, void *data)
{
    count_timer(ev, data);
    longjmp(place, 1);
}

static void jump_signal(mln_event_t *ev, int signo, void *data)
{
    (void)ev;
    CHECK_INT(signo, SIGUSR1);
    ++*(int *)data;
    longjmp(place, 1);
}

static void jump_round(mln_event_t *ev, void *data)
{
    mln_event_callback_set(ev, NULL, NULL);
    count_timer(ev, data);
    longjmp(place, 1);
}

/* From a dispatch that a handler made, into that handler. */
static jmp_buf inner_place;

static void jump_inner(mln_event_t *ev, void *data)
{
    count_timer(ev, data);
    longjmp(inner_place, 1);
}

static void dispatch_inside(mln_event_t *ev, void *data)
{
    CHECK(mln_event_timer_set(ev, 0, data, jump_inner) != NULL);
    if (setjmp(inner_place) == 0) {
        mln_event_dispatch(ev);
        CHECK(0);
    }
    ++*(int *)data;
}

/* Dispatches until a handler jumps. */
static void dispatch_until_jump(mln_event_t *ev)
{
    if (setjmp(place) == 0) {
        mln_event_dispatch(ev);
        CHECK(0);
    }
}

int main(void)
{
    mln_event_t *ev;
    int fds;

    mln_event_free(new_loop()); /* the engine has opened what it needs */
    fds = fd_count();
    ev = new_loop();
    make_pipe(ends);
    for (int i = 0; i < 100; ++i)
        put_byte(ends[1]);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, M_EV_UNLIMITED, &calls, jump), 0);
    for (int i = 1; i <= 100; ++i) {
        dispatch_until_jump(ev);
        CHECK_INT(calls, i);
    }
    run_for(ev, 10);
    CHECK_INT(calls, 100);

    for (int i = 0; i < 10; ++i)
        CHECK(mln_event_timer_set(ev, 1, &calls, jump_timer) != NULL);
    for (int i = 1; i <= 10; ++i) {
        dispatch_until_jump(ev);
        CHECK_INT(calls, 100 + i);
    }

    mln_event_callback_set(ev, jump_round, &calls);
    dispatch_until_jump(ev);
    CHECK_INT(calls, 111);

    CHECK_INT(mln_event_set_signal(ev, M_EV_SET, SIGUSR1, &signals, jump_signal), 0);
    for (int i = 0; i < 5; ++i)
        CHECK_INT(raise(SIGUSR1), 0);
    for (int i = 1; i <= 5; ++i) {
        dispatch_until_jump(ev);
        CHECK_INT(signals, i);
    }
    CHECK_INT(mln_event_set_signal(ev, M_EV_UNSET, SIGUSR1, &signals, jump_signal), 0);

    CHECK(mln_event_timer_set(ev, 0, &calls, dispatch_inside) != NULL);
    run_for(ev, 20);
    CHECK_INT(calls, 113);

    /* Freed right after a jump. */
    CHECK(mln_event_timer_set(ev, 0, &calls, jump_timer) != NULL);
    dispatch_until_jump(ev);
    mln_event_free(ev);
    close_both(ends);
    CHECK_INT(fd_count(), fds);
    return 0;
}
