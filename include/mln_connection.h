/**
 * @file mln_connection.h
 * Stream connections: a descriptor with a queue of what was received, of what is to be sent, and of what was sent.
 *
 * What the queues hold are chains of buffers (mln_chain.h), in memory or in files, from the connection's pool (mln_alloc.h). A
 * program receives with mln_tcp_conn_recv() and takes what came with mln_tcp_conn_pop() or mln_tcp_conn_remove(); it appends
 * what it has to say with mln_tcp_conn_append() and sends with mln_tcp_conn_send(). Neither waits on a non-blocking
 * descriptor: a program calls them when its loop (mln_event.h) says that the descriptor is ready.
 *
 * No function locks: a connection belongs to one thread at a time, in any process. None closes the descriptor.
 */
#ifndef __MLN_CONNECTION_H
#define __MLN_CONNECTION_H

#include <sys/socket.h>
#include <sys/types.h>

#include "mln_types.h"
#include "mln_alloc.h"
#include "mln_chain.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The queue of what is to be sent. */
#define M_C_SEND 1
/** The queue of what was received. */
#define M_C_RECV 2
/** The queue of what was sent. */
#define M_C_SENT 3

/** Result of mln_tcp_conn_send(): all data up to a buffer with last_in_chain were sent. */
#define M_C_FINISH 1
/** Result of mln_tcp_conn_send() and mln_tcp_conn_recv(): the kernel takes, or has, no more for now; or there was nothing to do. */
#define M_C_NOTYET 2
/** Result of mln_tcp_conn_send() and mln_tcp_conn_recv(): the call failed; errno says why. */
#define M_C_ERROR 3
/** Result of mln_tcp_conn_recv(): the other end closed the connection. */
#define M_C_CLOSED 4

/** mln_tcp_conn_recv(): receive into memory. */
#define M_C_TYPE_MEMORY ((mln_u32_t)0x1)
/** mln_tcp_conn_recv(): receive into temporary files. */
#define M_C_TYPE_FILE ((mln_u32_t)0x2)
/** mln_tcp_conn_recv(), with M_C_TYPE_FILE: go on with the file of the last buffer in the queue, if it has one. */
#define M_C_TYPE_FOLLOW ((mln_u32_t)0x8)

/** A connection. Programs embed it in structures of their own. */
typedef struct mln_tcp_conn_s {
    mln_alloc_t *pool;      /**< For nodes, buffers and blocks. */
    mln_chain_t *rcv_head;  /**< What was received. */
    mln_chain_t *rcv_tail;  /**< Its last node. */
    mln_chain_t *snd_head;  /**< What is to be sent. */
    mln_chain_t *snd_tail;  /**< Its last node. */
    mln_chain_t *sent_head; /**< What was sent. */
    mln_chain_t *sent_tail; /**< Its last node. */
    int sockfd;             /**< The descriptor, or -1. */
    mln_u32_t nonblock:1;   /**< The descriptor was non-blocking when a function of this header last looked. Today's era. */
} mln_tcp_conn_t;

/**
 * Makes a connection: with a new pool, and with empty queues. Both eras.
 *
 * @param tc     the connection.
 * @param sockfd the descriptor of a stream (socket or pipe), which stays the caller's; may be -1.
 * @return 0, or -1 with errno ENOMEM.
 */
int mln_tcp_conn_init(mln_tcp_conn_t *tc, int sockfd);

/**
 * Releases the queues and the pool. The descriptor stays open; tc stays the caller's. Both eras.
 *
 * @param tc the connection; NULL is allowed, and so is one that was destroyed before.
 */
void mln_tcp_conn_destroy(mln_tcp_conn_t *tc);

/**
 * Appends a chain to a queue. Both eras.
 *
 * @param tc      the connection, which owns the chain from now on.
 * @param c_head  its first node; NULL: nothing is done.
 * @param c_tail  its last node; NULL: it is looked for.
 * @param type    M_C_SEND, M_C_RECV or M_C_SENT; with any other value nothing is done and errno is EINVAL.
 */
void mln_tcp_conn_append_chain(mln_tcp_conn_t *tc, mln_chain_t *c_head, mln_chain_t *c_tail, int type);

/**
 * Appends one node to a queue. Both eras.
 *
 * @param tc   the connection, which owns the node from now on.
 * @param c    the node, whose `next` should be NULL; NULL: nothing is done.
 * @param type as for mln_tcp_conn_append_chain().
 */
void mln_tcp_conn_append(mln_tcp_conn_t *tc, mln_chain_t *c, int type);

/**
 * The first node of a queue, which stays there and the connection's. Today's name.
 *
 * @param tc   the connection.
 * @param type M_C_SEND, M_C_RECV or M_C_SENT.
 * @return the node; NULL if there is none, or with errno EINVAL for a type that is not M_C_SEND, M_C_RECV or M_C_SENT.
 */
mln_chain_t *mln_tcp_conn_head(mln_tcp_conn_t *tc, int type);

/** The seed era's name of mln_tcp_conn_head(). */
mln_chain_t *mln_tcp_conn_get_head(mln_tcp_conn_t *tc, int type);

/** The last node of a queue, which stays there; otherwise as mln_tcp_conn_head(). Today's name. */
mln_chain_t *mln_tcp_conn_tail(mln_tcp_conn_t *tc, int type);

/** The seed era's name of mln_tcp_conn_tail(). */
mln_chain_t *mln_tcp_conn_get_tail(mln_tcp_conn_t *tc, int type);

/**
 * Takes the first node out of a queue. Both eras.
 *
 * @param tc   the connection.
 * @param type M_C_SEND, M_C_RECV or M_C_SENT.
 * @return the node, the caller's from now on, to be released with mln_chain_pool_release(); NULL as for mln_tcp_conn_head().
 */
mln_chain_t *mln_tcp_conn_pop(mln_tcp_conn_t *tc, int type);

/**
 * Takes the whole queue. Both eras.
 *
 * @param tc   the connection.
 * @param type M_C_SEND, M_C_RECV or M_C_SENT.
 * @return its first node, the caller's from now on with all that follow, to be released with mln_chain_pool_release_all();
 *         NULL as for mln_tcp_conn_head().
 */
mln_chain_t *mln_tcp_conn_remove(mln_tcp_conn_t *tc, int type);

/**
 * The descriptor of a connection, -1 if it has none. Today's name.
 *
 * @par Prototype
 * `int mln_tcp_conn_fd_get(mln_tcp_conn_t *tc)`
 */
#define mln_tcp_conn_fd_get(tc) ((tc)->sockfd)
/**
 * The seed era's name of mln_tcp_conn_fd_get().
 *
 * @par Prototype
 * `int mln_tcp_conn_get_fd(mln_tcp_conn_t *tc)`
 */
#define mln_tcp_conn_get_fd(tc) mln_tcp_conn_fd_get(tc)

/**
 * Replaces the descriptor; the old one is not closed. Today's name.
 *
 * @param tc the connection.
 * @param fd the new descriptor, which stays the caller's, or -1. The member `nonblock` is brought up to date.
 */
void mln_tcp_conn_fd_set(mln_tcp_conn_t *tc, int fd);

/**
 * The seed era's name of mln_tcp_conn_fd_set().
 *
 * @par Prototype
 * `void mln_tcp_conn_set_fd(mln_tcp_conn_t *tc, int fd)`
 */
#define mln_tcp_conn_set_fd(tc, fd) mln_tcp_conn_fd_set((tc), (fd))

/**
 * The pool of a connection, for nodes, buffers and blocks. It lives until mln_tcp_conn_destroy(). Today's name.
 *
 * @par Prototype
 * `mln_alloc_t *mln_tcp_conn_pool_get(mln_tcp_conn_t *tc)`
 */
#define mln_tcp_conn_pool_get(tc) ((tc)->pool)
/**
 * The seed era's name of mln_tcp_conn_pool_get().
 *
 * @par Prototype
 * `mln_alloc_t *mln_tcp_conn_get_pool(mln_tcp_conn_t *tc)`
 */
#define mln_tcp_conn_get_pool(tc) mln_tcp_conn_pool_get(tc)

/**
 * Non-zero if there is nothing to be sent. Both eras.
 *
 * @par Prototype
 * `int mln_tcp_conn_send_empty(mln_tcp_conn_t *tc)`
 */
#define mln_tcp_conn_send_empty(tc) ((tc)->snd_head == NULL)
/**
 * Non-zero if nothing was received that has not been taken. Both eras.
 *
 * @par Prototype
 * `int mln_tcp_conn_recv_empty(mln_tcp_conn_t *tc)`
 */
#define mln_tcp_conn_recv_empty(tc) ((tc)->rcv_head == NULL)
/**
 * Non-zero if nothing was sent that has not been taken. Both eras.
 *
 * @par Prototype
 * `int mln_tcp_conn_sent_empty(mln_tcp_conn_t *tc)`
 */
#define mln_tcp_conn_sent_empty(tc) ((tc)->sent_head == NULL)

/**
 * Makes the descriptor non-blocking or blocking, and sets `nonblock` accordingly. Today's era.
 *
 * @param tc       the connection. Without a descriptor, only `nonblock` is set.
 * @param nonblock 0: blocking; any other value: non-blocking.
 * @return 0, or -1 with errno of fcntl(), and then nothing changed.
 */
int mln_tcp_conn_set_nonblock(mln_tcp_conn_t *tc, int nonblock);

/**
 * Moves all that is to be sent behind what was sent, without sending it. Today's era.
 *
 * @param tc the connection.
 */
void mln_tcp_conn_move_sent(mln_tcp_conn_t *tc);

/**
 * Appends a chain to what is to be sent, then does as mln_tcp_conn_send(). Today's era.
 *
 * @param tc    the connection, which owns the chain from now on.
 * @param chain its first node; NULL: none.
 * @return as mln_tcp_conn_send().
 */
int mln_tcp_conn_send_chain(mln_tcp_conn_t *tc, mln_chain_t *chain);

/**
 * Sends what is to be sent, up to the first buffer with last_in_chain, and moves what was sent completely to the sent queue,
 * from where nothing is released before mln_tcp_conn_destroy(). A buffer that was sent in part keeps its place. Nodes
 * without data count as sent.
 *
 * With a non-blocking descriptor all is done that the kernel takes; with a blocking one, one system call is made. The mode
 * is asked of the kernel at every call. SIGPIPE is not suppressed. Both eras.
 *
 * @param tc the connection.
 * @return M_C_FINISH: a buffer with last_in_chain was sent completely. M_C_NOTYET: the kernel takes no more, or the queue was
 *         or became empty without such a buffer, or the one system call did not reach it. M_C_ERROR with errno: of
 *         the system call; ENODATA for a file that has become shorter than its buffer says; EBADF for a buffer whose
 *         file is NULL.
 */
int mln_tcp_conn_send(mln_tcp_conn_t *tc);

/**
 * Receives: appends what came to the receive queue, a node for each piece of at most 4096 bytes in memory or 8192 bytes in a
 * file. Pieces that one call put into a file share it: a piece's shadow is the next one, and the last owns the file, so
 * that they are to be released in their order.
 *
 * With a non-blocking descriptor all is received that is there, up to 4 MiB; with a blocking one, one piece is waited for. The
 * mode is asked of the kernel at every call. Both eras.
 *
 * @param tc   the connection.
 * @param flag M_C_TYPE_MEMORY, M_C_TYPE_FILE, or M_C_TYPE_FILE | M_C_TYPE_FOLLOW.
 * @return M_C_NOTYET: what was there is received, if anything. M_C_CLOSED: end of file; the queue may have data that
 *         came before it. M_C_ERROR with errno: of the system call, ENOMEM, or EINVAL for other flags; the queue may
 *         have data too.
 */
int mln_tcp_conn_recv(mln_tcp_conn_t *tc, mln_u32_t flag);

#ifdef __cplusplus
}
#endif

#endif
