/**
 * @file mln_fork.h
 * Workers: a master forks them, supervises them and exchanges messages with them over a socket pair each.
 *
 * A plain worker is forked, not executed anew: memory, descriptors and registered handlers of the master at that moment
 * are its own. An exec'ed worker is any program; the number of the descriptor that leads to the master is its last
 * argument, and it speaks the frame format of mln_ipc.h on it.
 *
 * A program that is started by mln_framework.h needs the functions that send, mln_fork_iterate() and mln_fork_t; the
 * framework does the rest. One that goes without calls mln_fork_prepare() and mln_fork(). Then the master calls
 * mln_fork_master_events_set(), each worker mln_fork_worker_events_set(), each with a loop of its own, which it dispatches.
 *
 * Unless said otherwise these functions belong to the thread that dispatches the loop; sending is open to all threads, and no point where
 * a thread is cancelled.
 */
#ifndef __MLN_FORK_H
#define __MLN_FORK_H

#include "mln_types.h"
#include "mln_connection.h"
#include "mln_event.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What `state` of a mln_fork_t is: no frame is half-way through the original's parser. */
#define STATE_IDLE 0
/** The original's other state; of no meaning here. */
#define STATE_LENGTH 1
/** Size of a frame's type in bytes. */
#define M_F_TYPELEN sizeof(mln_u32_t)
/** Size of a frame's length in bytes. */
#define M_F_LENLEN sizeof(mln_u32_t)
/** A size that the original uses; of no meaning here. */
#define M_IPC_HASH_BUCKETS 64
/** A mask that the original uses; of no meaning here. */
#define M_IPC_HASH_MASK 0x3f

/** What happens when a worker ends. */
enum proc_state_type {
    M_PST_DFL = 0, /**< Nothing. */
    M_PST_SUP = 1  /**< Another takes its place: at once the first time, then with growing waits while it keeps failing. */
};

/** What a worker runs. */
enum proc_exec_type {
    M_PET_DFL = 0, /**< The master's image, forked. */
    M_PET_EXE = 1  /**< A program of its own. */
};

/** A worker, as its master sees it; in a worker: the worker itself. */
typedef struct mln_fork_s mln_fork_t;

/**
 * Handles a message.
 *
 * @param ev        the loop that received it.
 * @param f_ptr     a mln_fork_t *: in the master the worker that sent it; in a worker the worker itself, whose `conn` is
 *                  the connection to the master.
 * @param buf       the payload, aligned to 8 bytes, not terminated; the library's, valid during the call. Must not be read
 *                  when len is 0.
 * @param len       size of the payload in bytes.
 * @param udata_ptr a slot of this process and message type: what the handler stores there comes back next time. Never
 *                  freed by the library.
 */
typedef void (*ipc_handler)(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr);
/** Called in a child right after the fork, with the data it was set with. See mln_set_resource_clear_handler(). */
typedef void (*clr_handler)(void *);
/** Called for each worker by mln_fork_scan_all(), which tells what the result means. The seed era's name. */
typedef int (*scan_handler)(mln_event_t *, mln_fork_t *, void *);
/** Called for each worker by mln_fork_iterate(), which tells what the result means. Today's name. */
typedef int (*fork_iterate_handler)(mln_event_t *, mln_fork_t *, void *);

/** The handler of one type of message. */
typedef struct mln_ipc_handler_s {
    ipc_handler handler; /**< Called for the message. */
    void *data;          /**< The slot that is passed as udata_ptr. */
    mln_u32_t type;      /**< The type. */
} mln_ipc_handler_t;

/** How a worker is to be started. Not needed by programs. */
struct mln_fork_attr {
    mln_s8ptr_t *args;           /**< Arguments of an exec'ed worker. */
    mln_u32_t n_args;            /**< Their number. */
    int fd;                      /**< The channel. */
    pid_t pid;                   /**< The process. */
    enum proc_exec_type etype;   /**< What it runs. */
    enum proc_state_type stype;  /**< What happens when it ends. */
};

/** Programs read `pid`, `conn`, `args`, `n_args`, `etype` and `stype`; they write nothing. */
struct mln_fork_s {
    struct mln_fork_s *prev;    /**< List of workers. */
    struct mln_fork_s *next;    /**< List of workers. */
    mln_s8ptr_t *args;          /**< Arguments of an exec'ed worker, else NULL. */
    mln_tcp_conn_t conn;        /**< The socket pair, treated as a TCP connection. */
    pid_t pid;                  /**< The worker's process. */
    mln_u32_t n_args;           /**< Number of arguments, without the descriptor's. */
    mln_u32_t state;            /**< Always STATE_IDLE. */
    mln_u32_t msg_len;          /**< Payload size of the message at hand, in bytes. */
    mln_u32_t msg_type;         /**< Type of the message at hand. */
    mln_size_t error_bytes;     /**< Bytes of messages that were dropped because no handler knows their type. */
    void *msg_content;          /**< Payload of the message at hand; valid while its handler runs. */
    enum proc_exec_type etype;  /**< What it runs. */
    enum proc_state_type stype; /**< What happens when it ends. */
    mln_size_t msg_buf_size;    /**< The original's; always 0 here. */
    struct mln_fork_private_s *priv; /**< private */
};

/**
 * Makes this process a master: ignores SIGPIPE unless the program handles it, and takes over the handlers of all messages
 * that are compiled in or registered. Today's name. A worker that comes to have workers of its own calls it, too: the handlers
 * for messages to a master were dropped when it was forked.
 *
 * It also loads what the children of this process will run on. A program that forks by itself calls it before, if its
 * children use this library and another of its threads may be inside the dynamic loader at the moment of a fork.
 *
 * @return 0, or -1 with errno set: EDEADLK after five seconds in which another thread did not get done with the same, as it would
 *         not where this one is in the constructor of a library that is being loaded.
 */
int mln_fork_prepare(void);

/** The seed era's name of mln_fork_prepare(). */
int mln_pre_fork(void);

/**
 * Starts the workers that the configuration asks for: `worker_proc` plain ones, and the programs of the domain
 * `proc_exec` (or `exec_proc`). One that cannot be started is logged, and is started later by the
 * loop that comes to watch the workers (a program only if it is to be kept alive). Today's name.
 *
 * A configuration that cannot be obeyed (worker_proc not an integer of 0 or more, a program without a name) ends the
 * process with status 1 and a message.
 *
 * @return 1 in the master, 0 in a worker, -1 with errno set.
 */
int mln_fork(void);

/**
 * The seed era's name of mln_fork().
 *
 * @par Prototype
 * `int do_fork(void)`
 */
#define do_fork mln_fork

/**
 * Starts a program as a worker. Only standard input, output, error and the channel reach it. It ignores the signals that this program
 * ignores, but for those that the library does, SIGPIPE above all.
 *
 * @param stype     whether it is started again when it ends.
 * @param args      heap array of n_args strings; args[0] is the path for execv(). If the call succeeds it is owned by the
 *                  library and freed when the worker is gone for good (the array, not the strings).
 * @param n_args    number of strings.
 * @param master_ev the loop that receives its messages and notices its end; NULL: none yet.
 * @return 0, also when the program turns out not to be executable, which is logged with the cause (and tried again later
 *         if it is supervised); -1 with errno when no process could be made (EINVAL: no program is named), and then the
 *         array stays the caller's.
 */
int mln_fork_spawn(enum proc_state_type stype, mln_s8ptr_t *args, mln_u32_t n_args, mln_event_t *master_ev);

/**
 * Forks one plain, supervised worker. The child returns from this call, as from fork().
 *
 * @param master_ev as for mln_fork_spawn().
 * @return 1 in the master, 0 in the child, -1 with errno set: ESTALE for the loop of another process, else why there can be
 *         no process.
 */
int mln_fork_restart(mln_event_t *master_ev);

/**
 * Calls a handler for each worker, in the order in which they were started. Workers may end and start meanwhile; those
 * that start are not visited.
 *
 * @param ev      passed on.
 * @param handler called with ev, the worker and data; a result below 0 ends the walk. NULL: nothing is done.
 * @param data    passed on; the caller's.
 * @return 0, or -1 when a handler ended it.
 */
int mln_fork_scan_all(mln_event_t *ev, scan_handler handler, void *data);

/** Today's name of mln_fork_scan_all(). */
int mln_fork_iterate(mln_event_t *ev, fork_iterate_handler handler, void *data);

/**
 * The connection of a worker to its master.
 *
 * @return the connection, which the library owns, never NULL; in a process that has no master its descriptor is -1.
 */
mln_tcp_conn_t *mln_fork_get_master_connection(void);

/** Today's name of mln_fork_get_master_connection(). */
mln_tcp_conn_t *mln_fork_master_connection_get(void);

/**
 * In the master: this loop receives the messages of all workers that there are, and of those that come to take their places, and
 * notices their end. One that is started later without a loop has none before the next call.
 *
 * @param ev the loop, one of this process.
 */
void mln_fork_master_set_events(mln_event_t *ev);

/** Today's name of mln_fork_master_set_events(). */
void mln_fork_master_events_set(mln_event_t *ev);

/**
 * In a worker: this loop receives the master's messages. When the master is gone the process ends with status 127, after
 * the messages that arrived before.
 *
 * @param ev the loop.
 */
void mln_fork_worker_set_events(mln_event_t *ev);

/** Today's name of mln_fork_worker_set_events(). */
void mln_fork_worker_events_set(mln_event_t *ev);

/**
 * Sets the one function that is called in every child right after its fork, also before a program is executed: the place to
 * release what workers are not to have. Set it before the fork, in the process that forks; workers inherit it.
 *
 * @param handler the function; NULL removes it.
 * @param data    passed to it; the caller's.
 */
void mln_set_resource_clear_handler(clr_handler handler, void *data);

/** Today's name of mln_set_resource_clear_handler(). */
void mln_fork_resource_clear_handler_set(clr_handler handler, void *data);

/**
 * Sets the handler of a type of message that workers send. At any time; inherited by later workers. Seed era.
 *
 * @param ih stays the caller's and must live on; its `data` is the slot. A second one for the same type is refused with
 *           a line in the log.
 */
void mln_set_master_ipc_handler(mln_ipc_handler_t *ih);

/** As mln_set_master_ipc_handler(), but for messages that the master sends to workers. Seed era. */
void mln_set_worker_ipc_handler(mln_ipc_handler_t *ih);

/**
 * Sets the handler of a type of message that workers send, in place of an earlier one. At any time. Today's era.
 *
 * @param type    the type.
 * @param handler the handler; NULL: such messages are dropped.
 * @param data    what the slot starts with; the caller's.
 * @return 0, or -1 with errno ENOMEM.
 */
int mln_fork_master_ipc_handler_set(mln_u32_t type, ipc_handler handler, void *data);

/** As mln_fork_master_ipc_handler_set(), but for messages that the master sends to workers. Today's era. */
int mln_fork_worker_ipc_handler_set(mln_u32_t type, ipc_handler handler, void *data);

/**
 * Reads what a worker sent and calls the handlers: what the loop does by itself after mln_fork_master_set_events().
 *
 * @param ev   the loop.
 * @param fd   the worker's descriptor.
 * @param data the mln_fork_t *.
 */
void mln_ipc_fd_handler_master(mln_event_t *ev, int fd, void *data);

/** As mln_ipc_fd_handler_master(), in a worker for what the master sent. */
void mln_ipc_fd_handler_worker(mln_event_t *ev, int fd, void *data);

/**
 * Treats a worker as gone: its channel is closed, and a process that does not end by itself within a second is killed. A
 * supervised one is started again. May be called from the worker's own message handler.
 *
 * @param ev the loop.
 * @param f  the worker; not to be used afterwards.
 * @param fd its descriptor.
 */
void mln_socketpair_close_handler(mln_event_t *ev, mln_fork_t *f, int fd);

/** Today's name of mln_socketpair_close_handler(). */
void mln_fork_socketpair_close_handler(mln_event_t *ev, mln_fork_t *f, int fd);

/**
 * Sends a message to a worker: copies it and returns; the bytes go out from the loop. Messages to one worker arrive in
 * the order in which they were sent.
 *
 * @param ev      the loop.
 * @param type    the type.
 * @param buf     the payload; the caller's.
 * @param len     its size in bytes; 0 is allowed.
 * @param f_child the worker.
 * @return 0, or -1 with errno: EMSGSIZE above the configured limit, ENOMEM, EPIPE when the worker is gone, EAGAIN when
 *         its queue is full (only where `ipc_queue_limit` is configured), ESTALE for the loop of another process.
 */
int mln_ipc_master_send_prepare(mln_event_t *ev, mln_u32_t type, void *buf, mln_size_t len, mln_fork_t *f_child);

/**
 * Sends a message to the master, as mln_ipc_master_send_prepare() does to a worker.
 *
 * @param ev   the loop.
 * @param type the type.
 * @param msg  the payload; the caller's.
 * @param len  its size in bytes.
 * @return as mln_ipc_master_send_prepare(); ENOTCONN in a process that has no master.
 */
int mln_ipc_worker_send_prepare(mln_event_t *ev, mln_u32_t type, void *msg, mln_size_t len);

#ifdef __cplusplus
}
#endif

#include "mln_ipc.h"

#endif
