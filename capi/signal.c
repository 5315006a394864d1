/*
 * signal.c - signals whose handlers run in loop context.
 *
 * What the system calls only counts the signal in every loop that listens and wakes it: no lock, no allocation, no call
 * of Go, which from a signal handler would end the process.
 */
#include "loop.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

struct signal_watch {
    struct signal_watch *next;
    int signo;
    ev_sig_handler handler; /* NULL: removed while it was walked over */
    void *data;
    uint64_t number; /* they are counted as they are added */
};

static uint64_t added; /* how many were; under the lock */

/* The loops that listen. A slot is emptied before its loop is freed, and `delivering` tells whether somebody still looks. */
enum { LISTENERS_MAX = 256 };
static _Atomic(mln_event_t *) listeners[LISTENERS_MAX];
static atomic_int delivering;

/*
 * Over all lists of watches: a loop that is done with a signal looks into the lists of the others, and any thread may change them. Never
 * held while a handler runs.
 */
static pthread_mutex_t watches_lock = PTHREAD_MUTEX_INITIALIZER;

/* With all signals blocked: a handler of the program's that interrupted it could leave by siglongjmp, and `delivering` would stay. */
static void on_signal(int signo)
{
    atomic_fetch_add(&delivering, 1);
    for (int i = 0; i < LISTENERS_MAX; ++i) {
        mln_event_t *ev = atomic_load(&listeners[i]);

        if (ev == NULL)
            continue;
        atomic_fetch_add(&ev->signals[signo], 1);
        loop_notify(ev);
    }
    atomic_fetch_sub(&delivering, 1);
}

/* What becomes of a signal that no loop handles any more, where that is not the default. */
static void (*resting[NSIG])(int);

/* What the program had made of a signal before a loop handled it. A child has no loops, but may be ended by the signal. */
static struct sigaction before[NSIG];
static int taken[NSIG]; /* which of these are known */

static int take_signal(int signo, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART | SA_ONSTACK}, now;

    sigfillset(&action.sa_mask);
    if (sigaction(signo, NULL, &now) != 0)
        return -1;
    if (now.sa_handler != on_signal && (now.sa_handler != resting[signo] || now.sa_handler == SIG_DFL)) {
        before[signo] = now; /* first: another thread may fork at any moment */
        taken[signo] = 1;
    }
    return sigaction(signo, &action, NULL);
}

/* No loop handles it any more. Where the program has changed the disposition meanwhile it stays. */
static void release_signal(int signo)
{
    struct sigaction now;

    if (sigaction(signo, NULL, &now) == 0 && now.sa_handler == on_signal)
        (void)take_signal(signo, resting[signo]);
}

void loop_signal_rest(int signo, void (*handler)(int))
{
    struct sigaction now;

    pthread_mutex_lock(&watches_lock);
    resting[signo] = handler;
    if (sigaction(signo, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        (void)take_signal(signo, handler);
    pthread_mutex_unlock(&watches_lock);
}

static int listen_to_signals(mln_event_t *ev)
{
    mln_event_t *empty;

    for (int i = 0; i < LISTENERS_MAX; ++i)
        if (atomic_load(&listeners[i]) == ev)
            return 0;
    for (int i = 0; i < LISTENERS_MAX; ++i) {
        empty = NULL;
        if (atomic_compare_exchange_strong(&listeners[i], &empty, ev))
            return 0;
    }
    errno = ENOSPC;
    return -1;
}

/* Whether a loop of this process still handles the signal. */
static int watched(int signo)
{
    for (int i = 0; i < LISTENERS_MAX; ++i) {
        mln_event_t *ev = atomic_load(&listeners[i]);

        if (ev == NULL || ev->generation != engine_generation())
            continue;
        for (const struct signal_watch *w = ev->watches; w != NULL; w = w->next)
            if (w->signo == signo && w->handler != NULL)
                return 1;
    }
    return 0;
}

static void sweep(mln_event_t *ev)
{
    struct signal_watch **at = &ev->watches;

    while (*at != NULL) {
        struct signal_watch *w = *at;

        if (w->handler != NULL) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        free(w);
    }
}

static int watch(mln_event_t *ev, int signo, void *data, ev_sig_handler handler)
{
    struct signal_watch **at = &ev->watches, *w;

    if (listen_to_signals(ev) != 0 || (w = malloc(sizeof *w)) == NULL)
        return -1;
    *w = (struct signal_watch){NULL, signo, handler, data, ++added};
    if (take_signal(signo, on_signal) != 0) {
        free(w);
        return -1;
    }
    while (*at != NULL) /* a loop that hears of the signal already waits for the lock */
        at = &(*at)->next;
    *at = w;
    return 0;
}

static int unwatch(mln_event_t *ev, int signo, void *data, ev_sig_handler handler)
{
    for (struct signal_watch *w = ev->watches; w != NULL; w = w->next) {
        if (w->signo != signo || w->handler != handler || w->data != data)
            continue;
        w->handler = NULL;
        if (!ev->watches_walked)
            sweep(ev);
        if (!watched(signo))
            release_signal(signo);
        return 0;
    }
    errno = ENOENT;
    return -1;
}

int mln_event_set_signal(mln_event_t *ev, mln_u32_t flag, int signo, void *data, ev_sig_handler handler)
{
    int result;

    if (loop_engine(ev) == NULL)
        return -1;
    if (signo <= 0 || signo >= NSIG || handler == NULL || (flag != M_EV_SET && flag != M_EV_UNSET)) {
        errno = EINVAL;
        return -1;
    }
    pthread_mutex_lock(&watches_lock);
    result = flag == M_EV_SET ? watch(ev, signo, data, handler) : unwatch(ev, signo, data, handler);
    pthread_mutex_unlock(&watches_lock);
    return result;
}

/* Takes one of the signals that wait: each when its turn comes, because a handler may leave by longjmp, and not by a count that was
   read before, because a handler may dispatch. */
static int take(mln_event_t *ev, int signo)
{
    unsigned waiting = atomic_load(&ev->signals[signo]);

    while (waiting > 0 && !atomic_compare_exchange_weak(&ev->signals[signo], &waiting, waiting - 1))
        ;
    return waiting > 0;
}

/*
 * Calls the handlers of a signal, of those that were there when it began: one that removes itself and adds itself again would never be
 * done. The caller holds the lock, which is free during the calls; nothing is swept meanwhile. 0, without the lock, if this process is
 * another one now.
 */
static int call_handlers(mln_event_t *ev, int signo, uint64_t generation)
{
    uint64_t last = added;

    for (const struct signal_watch *w = ev->watches; w != NULL; w = w->next) {
        ev_sig_handler handler = w->handler;
        void *data = w->data;

        if (w->signo != signo || handler == NULL || w->number > last)
            continue;
        pthread_mutex_unlock(&watches_lock);
        handler(ev, signo, data);
        if (generation != engine_generation())
            return 0;
        pthread_mutex_lock(&watches_lock);
    }
    return 1;
}

void loop_signals_deliver(mln_event_t *ev, uint64_t generation)
{
    pthread_mutex_lock(&watches_lock);
    if (ev->watches != NULL) {
        ++ev->watches_walked;
        for (int signo = 1; signo < NSIG && !loop_finished(ev, generation);) { /* the rest belongs to the next dispatch */
            if (!take(ev, signo))
                ++signo;
            else if (!call_handlers(ev, signo, generation))
                return;
        }
        if (--ev->watches_walked == 0)
            sweep(ev);
    }
    pthread_mutex_unlock(&watches_lock);
}

void loop_signals_forget(mln_event_t *ev)
{
    int ours = ev->generation == engine_generation();

    for (int i = 0; i < LISTENERS_MAX; ++i) {
        mln_event_t *mine = ev;
        atomic_compare_exchange_strong(&listeners[i], &mine, NULL);
    }
    while (atomic_load(&delivering) != 0)
        sched_yield();
    pthread_mutex_lock(&watches_lock);
    for (struct signal_watch *w = ev->watches, *next; w != NULL; w = next) {
        next = w->next;
        if (ours && w->handler != NULL && !watched(w->signo))
            release_signal(w->signo);
        free(w);
    }
    ev->watches = NULL;
    pthread_mutex_unlock(&watches_lock);
}

/* Where a signal has come to rest, that stays: a daemon goes on with what its parent has begun. */
void loop_signals_after_fork_child(void)
{
    struct sigaction now;

    for (int i = 0; i < LISTENERS_MAX; ++i)
        atomic_store(&listeners[i], NULL);
    atomic_store(&delivering, 0);
    watches_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    for (int signo = 1; signo < NSIG; ++signo)
        if (taken[signo] && sigaction(signo, NULL, &now) == 0 && now.sa_handler == on_signal)
            (void)sigaction(signo, &before[signo], NULL);
}
