/**
 * @file mln_event.h
 * The event loop: descriptors, timers, signals and a callback, on one thread.
 *
 * A loop is level-triggered. Handlers run inside mln_event_dispatch(), on the thread that called it, with nothing of the
 * engine below them on the stack: they may fork, longjmp or throw. They must not end their thread (pthread_exit): the loop
 * would be its for ever. Any function of this header may be called from any handler, on any descriptor, the one at hand
 * included. An idle loop sleeps; nothing wakes it but what it waits for.
 *
 * Clear a descriptor before you close it. The kernel goes on reporting one that was closed first as long as a child, or
 * another descriptor, refers to the same open file; the loop gets rid of that, at the price of a registration of all others.
 *
 * A loop belongs to the process that made it. In a child, after a fork, it can only be freed: every other call on it
 * returns -1 (or NULL) with errno ESTALE and does nothing.
 *
 * While one thread dispatches, other threads may set and clear descriptors and timers, add and remove handlers of signals, set
 * the callback and break the loop. Nothing protects the program's own data.
 */
#ifndef __MLN_EVENT_H
#define __MLN_EVENT_H

#include "mln_types.h"
#include "mln_rbtree.h"
#include "mln_fheap.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Call the handler while the descriptor is readable, at end of file included. */
#define M_EV_RECV ((mln_u32_t)0x1)
/** Call the handler while the descriptor is writable. */
#define M_EV_SEND ((mln_u32_t)0x2)
/** Call the handler on an error condition. Errors are normally seen through M_EV_RECV. */
#define M_EV_ERROR ((mln_u32_t)0x4)
/** The three directions. */
#define M_EV_RSE_MASK ((mln_u32_t)0x7)
/** Each direction named in the same call is disarmed when it becomes ready, before its handler runs. */
#define M_EV_ONESHOT ((mln_u32_t)0x8)
/** Makes the descriptor non-blocking. */
#define M_EV_NONBLOCK ((mln_u32_t)0x10)
/** Makes the descriptor blocking. */
#define M_EV_BLOCK ((mln_u32_t)0x20)
/** Keeps what earlier calls armed and adds or replaces the named directions. */
#define M_EV_APPEND ((mln_u32_t)0x40)
/** Forgets the descriptor. Only alone. */
#define M_EV_CLR ((mln_u32_t)0x80)
/** Every flag of mln_event_fd_set(). */
#define M_EV_FD_MASK ((mln_u32_t)0xff)
/** mln_event_set_signal(): add a handler. Seed era. */
#define M_EV_SET ((mln_u32_t)0x100)
/** mln_event_set_signal(): remove a handler. Seed era. */
#define M_EV_UNSET ((mln_u32_t)0x200)
/** A timeout: none; one that was set is removed. */
#define M_EV_UNLIMITED (-1)
/** A timeout: left as it is. */
#define M_EV_UNMODIFIED (-2)
/** A size that the original uses; of no meaning here. */
#define M_EV_HASH_LEN 64
/** A size that the original uses; of no meaning here. */
#define M_EV_EPOLL_SIZE 1024

/** A loop. Its contents are private. */
typedef struct mln_event_s mln_event_t;
/** A registration. Its contents are private. */
typedef struct mln_event_desc_s mln_event_desc_t;
/** A timer that has not fired yet. An opaque handle; never dereferenced. */
typedef struct mln_event_timer_s mln_event_timer_t;

/** What an event can be. No function takes or returns it. */
enum mln_event_type {
    M_EV_FD, /**< A ready descriptor. */
    M_EV_TM, /**< An expired timer. */
    M_EV_SIG /**< A signal. */
};

/** Called for a ready descriptor, or one whose timeout passed: the loop, the descriptor, and the data it was set with. */
typedef void (*ev_fd_handler)(mln_event_t *, int, void *);
/** Called for an expired timer: the loop, and the data it was set with. */
typedef void (*ev_tm_handler)(mln_event_t *, void *);
/** Called for a signal, in loop context: the loop, the signal, and the data it was set with. Seed era. */
typedef void (*ev_sig_handler)(mln_event_t *, int, void *);
/** Called once in every iteration of a loop: the loop, and the data it was set with. */
typedef void (*dispatch_callback)(mln_event_t *, void *);

/**
 * Makes a loop.
 *
 * Today's name; mln_event_init() is the seed era's.
 *
 * @return the loop, to be freed with mln_event_free(); NULL with errno set when descriptors or memory ran out.
 */
mln_event_t *mln_event_new(void);

/**
 * Makes a loop. Seed era.
 *
 * @param is_main non-zero for the main loop. All loops are alike here, and all receive signals.
 * @return as mln_event_new().
 */
mln_event_t *mln_event_init(mln_u32_t is_main);

/**
 * Frees a loop with its registrations and timers. Closes no descriptor of the program. Any process that has the pointer
 * may call it: a child frees its parent's loop this way.
 *
 * @param ev the loop; NULL is allowed. Called from one of its own handlers, it breaks the loop and frees it afterwards: when the
 *           outermost dispatch returns. Where that was left by longjmp or an exception the loop is to be freed once more, outside.
 */
void mln_event_free(mln_event_t *ev);

/** The seed era's name of mln_event_free(). */
void mln_event_destroy(mln_event_t *ev);

/**
 * Runs the loop until it is broken.
 *
 * One iteration is: the callback; expired timers; ready descriptors, for each RECV before SEND before ERROR; descriptors
 * whose timeout passed; and a wait. After each handler the break flag is examined. What is pending then is kept for the
 * next dispatch.
 *
 * If a handler forks, or a supervised worker is started again, dispatch returns in the child.
 *
 * @param ev the loop. A second thread that dispatches it waits for the first to return.
 */
void mln_event_dispatch(mln_event_t *ev);

/**
 * Registers a descriptor, changes its registration, or forgets it.
 *
 * Without M_EV_APPEND what was armed before is dropped; a timeout handler survives. Each direction has the handler and
 * data of the call that named it last. A timeout belongs to the descriptor: any activity on it ends the timeout, which
 * has to be set again. Descriptors that never block, such as regular files, are always ready.
 *
 * @param ev         the loop.
 * @param fd         the descriptor, which stays the caller's.
 * @param flag       M_EV_* flags, or M_EV_CLR alone. Without M_EV_NONBLOCK and M_EV_BLOCK the descriptor is made
 *                   blocking, unless M_EV_APPEND is given for one that is registered.
 * @param timeout_ms milliseconds from now, M_EV_UNLIMITED or M_EV_UNMODIFIED.
 * @param data       passed to the handler; the caller's.
 * @param fd_handler the handler of the named directions; NULL means that readiness is swallowed.
 * @return 0, or -1 with errno: EINVAL for flags that exclude each other, EBADF for a descriptor that is not open, ESTALE
 *         for the loop of another process. Forgetting what is not registered is no error.
 */
int mln_event_fd_set(mln_event_t *ev, int fd, mln_u32_t flag, int timeout_ms, void *data, ev_fd_handler fd_handler);

/** The seed era's name of mln_event_fd_set(). */
int mln_event_set_fd(mln_event_t *ev, int fd, mln_u32_t flag, int timeout_ms, void *data, ev_fd_handler fd_handler);

/**
 * Sets what is called when the timeout of a descriptor passes; armed directions stay armed.
 *
 * @param ev              the loop.
 * @param fd              a registered descriptor; for any other nothing happens.
 * @param data            passed to the handler; the caller's.
 * @param timeout_handler the handler; NULL: nothing is called.
 */
void mln_event_fd_timeout_handler_set(mln_event_t *ev, int fd, void *data, ev_fd_handler timeout_handler);

/** The seed era's name of mln_event_fd_timeout_handler_set(). */
void mln_event_set_fd_timeout_handler(mln_event_t *ev, int fd, void *data, ev_fd_handler timeout_handler);

/**
 * Sets a timer that fires once. Timers are kept on the monotonic clock and fire in the order of their deadlines, equal
 * ones in the order in which they were set. A handler may set a new one.
 *
 * @param ev         the loop.
 * @param msec       milliseconds from now.
 * @param data       passed to the handler; the caller's.
 * @param tm_handler the handler; NULL means that nothing is called.
 * @return the timer, for mln_event_timer_cancel(), which the loop owns; NULL with errno: EINVAL for a NULL loop, ESTALE for
 *         the loop of another process.
 */
mln_event_timer_t *mln_event_timer_set(mln_event_t *ev, mln_u32_t msec, void *data, ev_tm_handler tm_handler);

/**
 * Sets a timer that cannot be taken back; otherwise as mln_event_timer_set(). Seed era.
 *
 * @param ev         the loop.
 * @param msec       milliseconds from now.
 * @param data       passed to the handler; the caller's.
 * @param tm_handler the handler; NULL means that nothing is called.
 * @return 0, or -1 with errno as mln_event_timer_set().
 */
int mln_event_set_timer(mln_event_t *ev, mln_u32_t msec, void *data, ev_tm_handler tm_handler);

/**
 * Takes a timer back. One that has fired or was cancelled before is left alone.
 *
 * @param ev    the loop.
 * @param timer what mln_event_timer_set() returned.
 */
void mln_event_timer_cancel(mln_event_t *ev, mln_event_timer_t *timer);

/**
 * Adds or removes a handler of a signal that is called in loop context. Seed era.
 *
 * Several handlers for a signal and several loops are served, in the order in which they were added; each delivered signal is
 * one call. One that is added by a handler hears of the next signal. When the last handler of a signal is removed, its disposition
 * becomes the default, unless the program has set another meanwhile. In a child made by fork it is what it was before the first was
 * added.
 *
 * May be called from any thread, and not from a handler in signal context. A handler that another thread than the loop's removes may
 * be running, or about to, when that returns.
 *
 * @param ev      the loop.
 * @param flag    M_EV_SET or M_EV_UNSET.
 * @param signo   the signal.
 * @param data    passed to the handler; with handler it names what M_EV_UNSET removes.
 * @param handler the handler.
 * @return 0, or -1 with errno: EINVAL for other flags or signals, ENOENT for removing what was not added, ENOSPC where 256 loops of the
 *         process handle signals already.
 */
int mln_event_set_signal(mln_event_t *ev, mln_u32_t flag, int signo, void *data, ev_sig_handler handler);

/**
 * Sets a signal's disposition, as signal() does: the handler runs in signal context, on any thread of the program, where only
 * async-signal-safe functions may be called; of this header those are mln_event_break_set() and mln_event_set_break(). The
 * disposition is the process's, and may be set from any thread. Today's era.
 *
 * @par Prototype
 * `void (*mln_event_signal_set(int signo, void (*handler)(int)))(int)`
 *
 * @return as signal().
 */
#define mln_event_signal_set signal

/**
 * Breaks a loop: its dispatch returns after the handler that is running. The flag is cleared by that return. Seed era.
 * May be called from any thread and from signal handlers.
 *
 * @param ev the loop.
 */
void mln_event_set_break(mln_event_t *ev);

/**
 * Breaks a loop: its dispatch returns after the handler that is running, and so does every later one, until
 * mln_event_break_reset(). Today's era. May be called from any thread and from signal handlers.
 *
 * @param ev the loop.
 */
void mln_event_break_set(mln_event_t *ev);

/**
 * Clears the break flag. Today's era.
 *
 * @param ev the loop.
 */
void mln_event_break_reset(mln_event_t *ev);

/**
 * Sets the callback that runs at the beginning of every iteration. There is one a loop. A loop that sleeps while another
 * thread sets it begins an iteration for it.
 *
 * @param ev      the loop.
 * @param dc      the callback; NULL removes it.
 * @param dc_data passed to it; the caller's.
 */
void mln_event_callback_set(mln_event_t *ev, dispatch_callback dc, void *dc_data);

/** The seed era's name of mln_event_callback_set(). */
void mln_event_set_callback(mln_event_t *ev, dispatch_callback dc, void *dc_data);

#ifdef __cplusplus
}
#endif

#endif
