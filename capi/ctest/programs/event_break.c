/*
 * A break ends dispatch after the handler that runs, from wherever it is asked for: the seed era's once, today's until
 * it is reset. What was pending is served by the next dispatch.
 */
#include "check.h"
#include "events.h"

#include <pthread.h>

static mln_event_t *loop;
static int calls, ends[2], others[2];

static void keep_broken(mln_event_t *ev, void *data)
{
    if (data != NULL)
        ++*(int *)data;
    mln_event_break_set(ev);
}

static void break_once(mln_event_t *ev, int fd, void *data)
{
    count(ev, fd, data);
    mln_event_set_break(ev);
}

static void count_round(mln_event_t *ev, void *data)
{
    count_timer(ev, data);
}

static void cleared_or_kept(mln_event_t *ev)
{
    int rounds = 0;

    calls = 0;
    CHECK(mln_event_timer_set(ev, 0, NULL, stop) != NULL);
    mln_event_dispatch(ev);
    CHECK(mln_event_timer_set(ev, 5, &calls, keep_broken) != NULL);
    mln_event_dispatch(ev); /* the first one's flag is gone */
    CHECK_INT(calls, 1);

    /* The callback runs once, and nothing else. */
    CHECK(mln_event_timer_set(ev, 0, &calls, count_timer) != NULL);
    mln_event_callback_set(ev, count_round, &rounds);
    usleep(2000);
    for (int i = 1; i <= 3; ++i) {
        mln_event_dispatch(ev);
        CHECK_INT(rounds, i);
    }
    CHECK_INT(calls, 1);
    mln_event_break_reset(ev);
    run_for(ev, 10);
    CHECK_INT(calls, 2);

    /* Before dispatch. */
    rounds = 0;
    mln_event_set_break(ev);
    mln_event_dispatch(ev);
    CHECK_INT(rounds, 1);
    mln_event_callback_set(ev, NULL, NULL);
    if (rounds == 1)
        mln_event_break_set(ev); /* a statement, in if and else */
    else
        mln_event_break_reset(ev);
    mln_event_dispatch(ev);
    mln_event_break_reset(ev);
}

/* Of two that are ready together, the second is called by the second dispatch; both are one-shot, so that none can be
   reported again. */
static void the_rest_is_kept(mln_event_t *ev)
{
    calls = 0;
    make_pipe(ends);
    make_pipe(others);
    put_byte(ends[1]);
    put_byte(others[1]);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV | M_EV_ONESHOT, M_EV_UNLIMITED, &calls, break_once), 0);
    CHECK_INT(mln_event_fd_set(ev, others[0], M_EV_RECV | M_EV_ONESHOT, M_EV_UNLIMITED, &calls, break_once), 0);
    mln_event_dispatch(ev);
    CHECK_INT(calls, 1);
    mln_event_dispatch(ev);
    CHECK_INT(calls, 2);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    CHECK_INT(mln_event_fd_set(ev, others[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close_both(ends);
    close_both(others);

    /* Timers likewise. */
    for (int i = 0; i < 5; ++i)
        CHECK(mln_event_timer_set(ev, 1, &calls, keep_broken) != NULL);
    usleep(5000);
    for (int i = 1; i <= 5; ++i) {
        mln_event_dispatch(ev);
        CHECK_INT(calls, 2 + i);
        mln_event_break_reset(ev);
    }
}

static void *break_later(void *data)
{
    usleep(20000);
    if (data != NULL)
        mln_event_break_set(loop);
    else
        mln_event_set_break(loop);
    return NULL;
}

/* The loop has nothing that would ever wake it. */
static void by_another_thread(mln_event_t *ev)
{
    pthread_t thread;

    for (int i = 0; i < 10; ++i) {
        CHECK_INT(pthread_create(&thread, NULL, break_later, i % 2 ? ev : NULL), 0);
        mln_event_dispatch(ev);
        CHECK_INT(pthread_join(thread, NULL), 0);
        mln_event_break_reset(ev);
    }
}

static void on_alarm(int signo)
{
    int saved = errno;

    CHECK_INT(signo, SIGALRM);
    mln_event_set_break(loop);
    errno = saved;
}

static void by_a_signal_handler(mln_event_t *ev)
{
    struct itimerval soon = {{0, 0}, {0, 20000}};
    int busy = 0;

    CHECK(mln_event_signal_set(SIGALRM, on_alarm) != SIG_ERR);
    for (int i = 0; i < 5; ++i) {
        CHECK_INT(setitimer(ITIMER_REAL, &soon, NULL), 0);
        mln_event_dispatch(ev);
    }
    /* And while it is busy. */
    make_pipe(ends);
    put_byte(ends[1]);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, M_EV_UNLIMITED, &busy, count), 0);
    CHECK_INT(setitimer(ITIMER_REAL, &soon, NULL), 0);
    mln_event_dispatch(ev);
    CHECK(busy > 10);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close_both(ends);
}

/* A handler that dispatches its own loop: the inner dispatch returns, the outer one goes on. */
static void inner(mln_event_t *ev, void *data)
{
    run_for(ev, 5);
    ++*(int *)data;
}

static void nested(mln_event_t *ev)
{
    int returned = 0;

    calls = 0;
    CHECK(mln_event_timer_set(ev, 0, &returned, inner) != NULL);
    CHECK(mln_event_timer_set(ev, 20, &calls, count_timer) != NULL);
    run_for(ev, 40);
    CHECK_INT(returned, 1);
    CHECK_INT(calls, 1);
}

int main(void)
{
    loop = new_loop();
    cleared_or_kept(loop);
    the_rest_is_kept(loop);
    by_another_thread(loop);
    by_a_signal_handler(loop);
    nested(loop);
    mln_event_free(loop);
    return 0;
}
