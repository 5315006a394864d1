/*
 * Four threads set and clear descriptors and timers, change the callback and break the loop that a fifth dispatches, and
 * no event is lost. Threads add and remove handlers of signals, while the loop calls these.
 */
#include "check.h"
#include "events.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 4, ROUNDS = 1000 };

struct worker {
    mln_event_t *ev;
    pthread_t thread;
    int ends[2];
    atomic_int reads, timers, wrong;
};

static atomic_int working = THREADS;
static atomic_int callbacks;

static void receive(mln_event_t *ev, int fd, void *data)
{
    struct worker *w = data;
    char byte;

    (void)ev;
    if (read(fd, &byte, 1) == 1)
        atomic_fetch_add(&w->reads, 1);
    else
        atomic_fetch_add(&w->wrong, 1);
}

static void expired(mln_event_t *ev, void *data)
{
    (void)ev;
    atomic_fetch_add(&((struct worker *)data)->timers, 1);
}

static void far(mln_event_t *ev, void *data)
{
    (void)ev;
    atomic_fetch_add(&((struct worker *)data)->wrong, 1);
}

static void called(mln_event_t *ev, void *data)
{
    (void)ev;
    atomic_fetch_add((atomic_int *)data, 1);
}

static void wait_until(const atomic_int *counter, int value)
{
    while (atomic_load(counter) < value)
        usleep(100);
}

/* Each step waits until the loop has done what the one before asked for: the loop may be asleep or busy by then. */
static void *work(void *data)
{
    struct worker *w = data;
    mln_event_timer_t *timer;

    for (int i = 0; i < ROUNDS; ++i) {
        put_byte(w->ends[1]);
        if (mln_event_fd_set(w->ev, w->ends[0], M_EV_RECV, 60000, w, receive) != 0)
            atomic_fetch_add(&w->wrong, 1);
        timer = mln_event_timer_set(w->ev, 60000, w, far);
        if (timer == NULL || mln_event_timer_set(w->ev, i % 3, w, expired) == NULL)
            atomic_fetch_add(&w->wrong, 1);
        wait_until(&w->reads, i + 1);
        if (i % 4 == 0) /* a direction that the sleeping loop does not watch yet */
            (void)mln_event_fd_set(w->ev, w->ends[0], 0, M_EV_UNMODIFIED, NULL, NULL);
        if (i % 4 == 1)
            (void)mln_event_fd_set(w->ev, w->ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL);
        if (i % 8 == 2)
            mln_event_callback_set(w->ev, called, &callbacks);
        if (i % 8 == 6)
            mln_event_callback_set(w->ev, NULL, NULL);
        wait_until(&w->timers, i + 1);
        mln_event_timer_cancel(w->ev, timer);
        if (i % 16 == 0)
            mln_event_set_break(w->ev);
    }
    atomic_fetch_sub(&working, 1);
    mln_event_set_break(w->ev);
    return NULL;
}

/* The loop is asleep when each of these is asked for, and nothing else would wake it. */
static void *ask_the_sleeping(void *data)
{
    static atomic_int rounds;
    struct worker *w = data;
    mln_event_timer_t *timer;

    usleep(30000);
    CHECK(mln_event_timer_set(w->ev, 0, w, expired) != NULL);
    wait_until(&w->timers, 1);
    usleep(30000);
    put_byte(w->ends[1]);
    /* The kernel watches it already, for another direction. */
    CHECK_INT(mln_event_fd_set(w->ev, w->ends[0], M_EV_RECV | M_EV_APPEND, M_EV_UNLIMITED, w, receive), 0);
    wait_until(&w->reads, 1);
    usleep(30000);
    mln_event_fd_timeout_handler_set(w->ev, w->ends[0], w, receive);
    CHECK_INT(mln_event_fd_set(w->ev, w->ends[0], M_EV_SEND | M_EV_NONBLOCK, 0, w, never), 0);
    wait_until(&w->wrong, 1); /* the timeout's: there is no byte */
    usleep(30000);
    mln_event_callback_set(w->ev, called, &rounds);
    wait_until(&rounds, 1);
    mln_event_callback_set(w->ev, NULL, NULL);
    CHECK((timer = mln_event_timer_set(w->ev, 50, NULL, never_timer)) != NULL);
    usleep(10000);
    mln_event_timer_cancel(w->ev, timer);
    usleep(60000);
    mln_event_set_break(w->ev);
    return NULL;
}

static void sleeping_loop_is_woken(mln_event_t *ev)
{
    static struct worker w;

    w.ev = ev;
    make_sockets(w.ends);
    set_nonblocking(w.ends[0], 1);
    fill(w.ends[0]);
    CHECK_INT(mln_event_fd_set(ev, w.ends[0], M_EV_SEND | M_EV_NONBLOCK, M_EV_UNLIMITED, NULL, never), 0);
    CHECK_INT(pthread_create(&w.thread, NULL, ask_the_sleeping, &w), 0);
    mln_event_dispatch(ev);
    CHECK_INT(pthread_join(w.thread, NULL), 0);
    CHECK_INT(mln_event_fd_set(ev, w.ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close_both(w.ends);
}

/* ---- handlers of signals ---- */

enum { SIGNALLERS = 2, HANDLERS = 4, CHANGES = 300 };

struct signaller {
    mln_event_t *ev;
    pthread_t thread;
    int signo;
    atomic_int heard;
};

static atomic_int signallers = SIGNALLERS;

static void hear(mln_event_t *ev, int signo, void *data)
{
    (void)ev;
    (void)signo;
    atomic_fetch_add((atomic_int *)data, 1);
}

/* What was added hears of the next signal, and what was removed of none that comes later. */
static void *change_handlers(void *data)
{
    struct signaller *s = data;
    atomic_int others[HANDLERS] = {0};

    for (int i = 0; i < CHANGES; ++i) {
        int heard = atomic_load(&s->heard);

        for (int k = 0; k < HANDLERS; ++k)
            CHECK_INT(mln_event_set_signal(s->ev, M_EV_SET, s->signo, &others[k], hear), 0);
        CHECK_INT(mln_event_set_signal(s->ev, M_EV_SET, s->signo, &s->heard, hear), 0);
        for (int k = 0; k < HANDLERS; ++k)
            CHECK_INT(mln_event_set_signal(s->ev, M_EV_UNSET, s->signo, &others[k], hear), 0);
        CHECK_INT(raise(s->signo), 0);
        wait_until(&s->heard, heard + 1);
        CHECK_INT(mln_event_set_signal(s->ev, M_EV_UNSET, s->signo, &s->heard, hear), 0);
    }
    for (int k = 0; k < HANDLERS; ++k)
        CHECK_INT(atomic_load(&others[k]), 0);
    if (atomic_fetch_sub(&signallers, 1) == 1)
        mln_event_break_set(s->ev);
    return NULL;
}

static void handlers_of_signals_change(mln_event_t *ev)
{
    static struct signaller all[SIGNALLERS];

    for (int i = 0; i < SIGNALLERS; ++i) {
        all[i].ev = ev;
        all[i].signo = i == 0 ? SIGUSR1 : SIGUSR2;
        CHECK_INT(pthread_create(&all[i].thread, NULL, change_handlers, &all[i]), 0);
    }
    mln_event_dispatch(ev);
    mln_event_break_reset(ev);
    for (int i = 0; i < SIGNALLERS; ++i)
        CHECK_INT(pthread_join(all[i].thread, NULL), 0);
}

int main(void)
{
    static struct worker workers[THREADS];
    mln_event_t *ev = new_loop();
    int dispatches = 0;

    sleeping_loop_is_woken(ev);
    handlers_of_signals_change(ev);
    for (int i = 0; i < THREADS; ++i) {
        workers[i].ev = ev;
        make_pipe(workers[i].ends);
        CHECK_INT(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (; atomic_load(&working) > 0; ++dispatches)
        mln_event_dispatch(ev);
    for (int i = 0; i < THREADS; ++i) {
        CHECK_INT(pthread_join(workers[i].thread, NULL), 0);
        CHECK_INT(atomic_load(&workers[i].reads), ROUNDS);
        CHECK_INT(atomic_load(&workers[i].timers), ROUNDS);
        CHECK_INT(atomic_load(&workers[i].wrong), 0);
    }
    CHECK(dispatches > 1);
    CHECK(atomic_load(&callbacks) > 0);
    mln_event_free(ev);
    for (int i = 0; i < THREADS; ++i)
        close_both(workers[i].ends);

    /* As many loops as threads, each on its own. */
    for (int i = 0; i < THREADS; ++i)
        CHECK((workers[i].ev = mln_event_new()) != NULL);
    for (int i = 0; i < THREADS; ++i) {
        run_for(workers[i].ev, 5);
        mln_event_free(workers[i].ev);
    }
    return 0;
}
