/*
 * loop.h - the C side of an event loop, shared by the files that add to it: event.c (descriptors, timers, dispatch),
 * signal.c (signals in loop context), channel.c (messages), worker.c (processes).
 */
#ifndef MLN_LOOP_H
#define MLN_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "engine.h"
#include "mln_event.h"
#include "mln_fork.h"

struct signal_watch;

struct mln_event_s {
    uint64_t generation; /* of the process that the loop belongs to */
    int64_t handle;      /* the engine's name of it; -1 as long as the engine was not needed */
    int fds[ENGINE_LOOP_DESCRIPTORS]; /* epoll, wake-up, and others */
    atomic_int broken;   /* 0, or which kind of break was asked for */
    int doomed;          /* to be freed when its dispatch returns */
    pthread_mutex_t callback_lock;
    dispatch_callback callback;
    void *callback_data;

    pthread_mutex_t turn; /* held by the thread that dispatches, once for each dispatch; recursive */
    pthread_t dispatcher; /* that thread, while `outermost` is set */
    char *outermost;      /* frame address of the outermost dispatch, or NULL */
    int depth;            /* dispatches that have not returned; more than there are, when some ended by longjmp */

    mln_fork_t *sender;     /* whose messages of step.frames are being delivered */
    uint32_t next_frame;    /* the first of them that no handler has seen */
    mln_fork_t *unsent;     /* channels with bytes to be written; under the channel lock */
    mln_fork_t *buried;     /* closed channels, to be freed when no handler can be using them; likewise */
    int failed;             /* it was broken because it cannot go on, or too many workers have failed */
    int attach;             /* this process's channel, as soon as the engine knows the loop */
    int announce;           /* the master is to be told when this loop is first dispatched */
    int serves;             /* it has had to do with a channel or a worker */

    struct signal_watch *watches; /* handlers of signals, in the order in which they were added; under a lock of signal.c */
    atomic_int watches_walked;    /* they are being called: none is freed */
    atomic_uint signals[NSIG];    /* delivered and not yet handled */

    struct mln_event_s *prev, *next; /* the loops of this process */
    struct step step;
};

/* The engine, if the loop is one of this process; else NULL with errno set. An engine that was put off is started. */
const struct engine_table *loop_engine(mln_event_t *ev);

/* Whether the loop is one of this process; else errno is set. This needs no engine. */
int loop_is_ours(const mln_event_t *ev);

/* Whether the engine knows the loop. */
int loop_is_bound(const mln_event_t *ev);

/* Makes sure that the loop looks at what the C side has for it before it sleeps, or wakes it. Safe in signal handlers. */
void loop_notify(mln_event_t *ev);

/* Whether its dispatch has to return: it was broken, or this process is not the one that began the dispatch. */
int loop_finished(const mln_event_t *ev, uint64_t generation);

/* Calls the handlers of signals that were delivered. */
void loop_signals_deliver(mln_event_t *ev, uint64_t generation);
void loop_signals_forget(mln_event_t *ev);
void loop_signals_after_fork_child(void);

/* From now on the handler is called for the signal where no loop handles it, in signal context, unless the program does or ignores it. */
void loop_signal_rest(int signo, void (*handler)(int));

/* Around a fork. In the child the parent's loops are nobody's: their descriptors are closed. */
int loop_handles_messages(void); /* in any thread; between the two */
void loop_after_fork_child(void);

#endif
