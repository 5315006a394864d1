/*
 * channel.c - messages over the socket pairs between a master and its workers.
 *
 * Sending appends a frame to the connection's send queue, in C memory; small frames share a block. The loop writes once
 * an iteration and connection, and asks for writability only when the kernel takes no more. A large frame that finds the
 * queue empty is offered to the kernel at once, and only what that does not take is copied. What arrives is read and cut
 * into frames by the engine (core/ipc); this file calls the handlers.
 */
#include "channel.h"

#include "connection.h"
#include "handlers.h"
#include "lock.h"
#include "log.h"
#include "process.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER_SIZE = 2 * sizeof(mln_u32_t), /* length and type */
    BLOCK_SIZE = 64 << 10,               /* what small frames share */
    SPARES_MOST = 16,                    /* blocks that are kept after a burst, for the next one */
    LARGE = 32 << 10,                    /* from this size on a payload is not copied if the kernel takes it at once */
    KERNEL_BUFFER = 1 << 20,             /* asked for; less where the system's limit is lower */
    PASS_RIGHTS = 83                     /* SO_PASSRIGHTS, which the C library's headers need not know yet */
};

/* Guards send queues and lists of unsent channels: any thread may send. Never held while a handler runs. */
static uint32_t *const lock = &process_locks[LOCK_CHANNELS];

static mln_fork_t *self;   /* this process's channel to its master */
static int executed;       /* by a master that this process learnt of from the environment */
static int64_t heartbeat;  /* milliseconds, after which the master takes this process for hung; 0: never */
static mln_fork_t *orphans;  /* closed, to be freed, and of no loop; under the lock */
/*
 * Frame address of this thread's outermost walk through the list of workers, or NULL. It may be one that was left by longjmp or an
 * exception; see walks().
 */
static __thread const char *walk;

/*
 * What is left of channels that ended: another thread that sends may have taken the address of one just before, and is told
 * EPIPE. Of so many the newest are kept. Under the lock.
 */
enum { ENDED_MOST = 256 };
static mln_fork_t *first_ended, *last_ended;
static int ended;
static mln_size_t queue_limit; /* bytes; 0: none */

void channel_set_queue_limit(mln_size_t bytes)
{
    queue_limit = bytes;
}

/*
 * A message of a megabyte is to leave in one system call, where the system's limit allows that; it costs memory only while so much is
 * under way. And the other end must not send descriptors along: nobody here takes them, but the kernel closes them while this process
 * receives, which lasts as long as the sender has prepared it to (SO_LINGER). Linux before 6.16 cannot refuse them; where it can, a
 * channel is not used without. 0, or -1 with errno.
 */
static int set_up_socket(int fd)
{
    static const int size = KERNEL_BUFFER, none = 0;

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return setsockopt(fd, SOL_SOCKET, PASS_RIGHTS, &none, sizeof none) == 0 || errno == ENOPROTOOPT ? 0 : -1;
}

static void release(mln_fork_t *f)
{
    mln_fork_t *oldest = NULL;

    mln_tcp_conn_destroy(&f->conn);
    free(f->priv->rest);
    f->priv->rest = NULL;
    f->priv->next_buried = NULL;
    lock_acquire(lock);
    if (last_ended != NULL)
        last_ended->priv->next_buried = f;
    else
        first_ended = f;
    last_ended = f;
    if (++ended > ENDED_MOST) {
        oldest = first_ended;
        first_ended = oldest->priv->next_buried;
        --ended;
    }
    lock_release(lock);
    if (oldest != NULL) {
        free(oldest->priv);
        free(oldest);
    }
}

/* Makes a channel as good as new, on another descriptor, where it is: the program may hold its address. */
static int renew(mln_fork_t *f, int fd)
{
    struct mln_fork_private_s *priv = f->priv;

    mln_tcp_conn_destroy(&f->conn);
    free(priv->rest);
    *priv = (struct mln_fork_private_s){0};
    *f = (mln_fork_t){.priv = priv, .pid = getpid()};
    return mln_tcp_conn_init(&f->conn, fd);
}

void channel_after_fork_child(void)
{
    walk = NULL;
    executed = 0;
    if (self != NULL) { /* the parent's to its master */
        if (self->conn.sockfd >= 0)
            close(self->conn.sockfd);
        (void)renew(self, -1);
    }
}

mln_fork_t *channel_new(int fd)
{
    mln_fork_t *f;

    if ((fd >= 0 && set_up_socket(fd) != 0) || (f = calloc(1, sizeof *f)) == NULL)
        return NULL;
    if ((f->priv = calloc(1, sizeof *f->priv)) == NULL || mln_tcp_conn_init(&f->conn, fd) != 0) {
        free(f->priv);
        free(f);
        errno = ENOMEM;
        return NULL;
    }
    return f;
}

static void pause_briefly(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/*
 * Whether the other end has been closed in one direction at most: its process is there. Where the kernel does not say, for want of
 * memory perhaps, it is asked again for a moment; then that is not to be relied upon.
 */
static int half_closed(int fd)
{
    enum { TRIES = 100 };
    struct pollfd state = {.fd = fd};

    for (int tries = 0; poll(&state, 1, 0) < 0;) {
        if (errno == EINTR)
            continue;
        if (++tries == TRIES) {
            log_line(error, "cannot see whether the other end of a connection is there, and take it for gone: %s", strerror(errno));
            return 0;
        }
        pause_briefly();
    }
    return (state.revents & POLLHUP) == 0;
}

/* ---- this process's own ---- */

/*
 * A program that a master has executed is told of its channel twice: by its last argument, and by a variable of the
 * environment, which this library and the Go package understand by themselves. The variable is not for the programs that
 * this one starts in turn: they have another parent. So has one whose master has ended already, and is to see that it has.
 */
static int inherited_channel(void)
{
    const char *text = secure_getenv(CHANNEL_VARIABLE); /* whoever starts a set-user-ID program must not become its master */
    unsigned long long inode;
    struct stat status;
    int fd, master;

    if (text == NULL || sscanf(text, "%*d:%d:%llu:%d:%*d:%" SCNd64, &fd, &inode, &master, &heartbeat) != 4 ||
        fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode) || status.st_ino != inode || (master != getppid() && half_closed(fd)))
        return -1;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    executed = 1;
    return fd;
}

mln_fork_t *channel_self(void)
{
    if (self == NULL && (self = channel_new(-1)) != NULL) {
        self->pid = getpid();
        self->conn.sockfd = inherited_channel();
    }
    return self;
}

int channel_self_set(int fd)
{
    if (channel_self() == NULL || set_up_socket(fd) != 0 || renew(self, fd) != 0)
        return -1;
    self->stype = M_PST_SUP;
    return 0;
}

mln_tcp_conn_t *mln_fork_get_master_connection(void)
{
    mln_fork_t *f = channel_self();

    return f == NULL ? NULL : &f->conn;
}

mln_tcp_conn_t *mln_fork_master_connection_get(void)
{
    return mln_fork_get_master_connection();
}

/* ---- life ---- */

/* A worker that the master cannot reach would be there for ever, for nothing. The master starts another. */
__attribute__((noreturn)) static void unheard(void)
{
    log_line(error, "this worker ends: it cannot watch the connection to the master: %s", strerror(errno));
    exit(127);
}

void channel_bind(mln_event_t *ev)
{
    if (!ev->attach)
        return;
    ev->attach = 0;
    if (self != NULL && self->priv->ev == ev && channel_attach(ev, self) != 0)
        unheard();
}

int channel_attach(mln_event_t *ev, mln_fork_t *f)
{
    const struct engine_table *go;
    struct mln_fork_private_s *priv = f->priv;
    int code;

    if (f == self && loop_is_ours(ev) && !loop_is_bound(ev) && engine_awaits()) {
        channel_detach(f);
        priv->ev = ev;
        ev->serves = ev->attach = 1;
        return 0;
    }
    if ((go = loop_engine(ev)) == NULL)
        return -1;
    if (priv->ev == ev && priv->watched)
        return 0;
    channel_detach(f);
    if ((code = go->channel_attach(ev->handle, f->conn.sockfd, (uintptr_t)f, (uintptr_t)priv->worker, priv->rest,
                                   priv->rest_size)) < 0) {
        errno = -code;
        return -1;
    }
    free(priv->rest);
    priv->rest = NULL;
    priv->rest_size = 0;
    lock_acquire(lock);
    priv->ev = ev;
    priv->watched = 1;
    ev->serves = 1;
    if (mln_tcp_conn_send_empty(&f->conn)) {
        lock_release(lock);
        return 0;
    }
    /* What was queued for another loop, or before there was one. */
    if (!f->priv->unsent) {
        f->priv->unsent = 1;
        f->priv->next_unsent = ev->unsent;
        __atomic_store_n(&ev->unsent, f, __ATOMIC_RELAXED);
    }
    lock_release(lock);
    loop_notify(ev);
    return 0;
}

/* The caller holds the lock. */
static void forget_unsent(mln_fork_t *f)
{
    mln_fork_t **at;

    if (!f->priv->unsent)
        return;
    f->priv->unsent = 0;
    if (f->priv->ev == NULL)
        return;
    for (at = &f->priv->ev->unsent; *at != NULL; at = &(*at)->priv->next_unsent) {
        if (*at == f) {
            *at = f->priv->next_unsent;
            return;
        }
    }
}

static void detach(mln_fork_t *f, void **rest, mln_size_t *size)
{
    mln_event_t *ev = f->priv->ev;
    uint32_t frame = UINT32_MAX;
    const struct engine_table *go;

    if (ev == NULL)
        return;
    if (ev->sender == f) {
        ev->sender = NULL;
        frame = ev->next_frame;
    }
    if (loop_is_bound(ev) && (go = loop_engine(ev)) != NULL)
        go->channel_detach(ev->handle, f->conn.sockfd, (uintptr_t)f, frame, rest, size);
    if (size != NULL && *size != 0 && *rest == NULL) {
        log_line(error, "%zu bytes of messages from process %ld are lost, of which the handlers were not called: out of memory",
                 (size_t)*size, (long)f->pid);
        *size = 0;
    }
    lock_acquire(lock);
    forget_unsent(f);
    f->priv->ev = NULL;
    f->priv->watched = f->priv->blocked = 0;
    lock_release(lock);
}

void channel_detach(mln_fork_t *f)
{
    /* Left as they are where no loop had it: then they are what the last one left. */
    detach(f, &f->priv->rest, &f->priv->rest_size);
}

void channel_close(mln_fork_t *f)
{
    mln_event_t *ev = f->priv->ev;
    mln_fork_t **list = ev != NULL ? &ev->buried : &orphans;

    lock_acquire(lock);
    f->priv->gone = 1; /* first: from now on no thread can put anything into its queue */
    f->priv->tail = f->priv->others_tail = NULL;
    forget_unsent(f);
    lock_release(lock);
    detach(f, NULL, NULL);
    lock_acquire(lock);
    close(f->conn.sockfd); /* under the lock: the child of a fork in another thread closes it if it has it, and nothing else */
    f->conn.sockfd = -1;
    f->priv->next_buried = *list;
    *list = f;
    lock_release(lock);
}

/* The stack grows down: a walk whose frame is not above another one's has ended without returning. */
void channel_walk_begin(const char *frame)
{
    if (walk == NULL || walk <= frame)
        walk = frame;
}

void channel_walk_end(const char *frame)
{
    if (walk == frame)
        walk = NULL;
}

/* Whether this outermost dispatch, which no handler has been called by right now, is part of a walk. */
static bool walks(const mln_event_t *ev)
{
    if (walk != NULL && walk <= ev->outermost)
        walk = NULL;
    return walk != NULL;
}

static mln_fork_t *take_buried(mln_fork_t **list)
{
    mln_fork_t *f;

    lock_acquire(lock);
    if ((f = *list) != NULL)
        *list = f->priv->next_buried;
    lock_release(lock);
    return f;
}

void channel_bury(mln_event_t *ev)
{
    mln_fork_t *f;

    if ((ev->buried == NULL && orphans == NULL) || walks(ev))
        return;
    while ((f = take_buried(&ev->buried)) != NULL || (f = take_buried(&orphans)) != NULL)
        release(f);
}

void channel_loop_gone(mln_event_t *ev)
{
    mln_fork_t *f;

    if (self != NULL && self->priv->ev == ev)
        channel_detach(self);
    while ((f = take_buried(&ev->buried)) != NULL)
        release(f);
}

/* ---- sending ---- */

/*
 * The thread that dispatches a loop sends most of its messages, and takes no lock for most of those: as long as its last
 * block has room. Other threads have blocks of their own. A block of theirs behind it ends that, so that what one thread
 * sent before another one is what arrives first.
 */
static inline bool dispatches(const mln_event_t *ev)
{
    return __atomic_load_n(&ev->outermost, __ATOMIC_ACQUIRE) != NULL &&
           pthread_equal(__atomic_load_n(&ev->dispatcher, __ATOMIC_RELAXED), pthread_self());
}

/* Whether a block is still in the send queue, at its end. A program may have sent the queue itself. */
static inline bool is_last(const mln_fork_t *f, const mln_buf_t *buf)
{
    const mln_chain_t *node = __atomic_load_n(&f->conn.snd_tail, __ATOMIC_ACQUIRE);

    return node != NULL && node->buf == buf;
}

static inline mln_size_t room_in(const mln_buf_t *buf)
{
    return (mln_size_t)(buf->end - buf->last);
}

static inline void put_frame(mln_buf_t *buf, mln_u32_t type, const void *payload, mln_size_t len)
{
    mln_u32_t header[2] = {(mln_u32_t)(sizeof type + len), type};

    memcpy(buf->last, header, HEADER_SIZE);
    if (len != 0)
        memcpy(buf->last + HEADER_SIZE, payload, len);
    buf->last += HEADER_SIZE + len;
}

/* A new block at the end of the send queue that takes `size` bytes. The caller holds the lock. */
static mln_buf_t *add_block(mln_fork_t *f, mln_size_t size)
{
    struct mln_fork_private_s *priv = f->priv;
    mln_size_t capacity = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    mln_chain_t *node;
    mln_buf_t *buf;

    if (capacity == BLOCK_SIZE && priv->spare != NULL) {
        node = priv->spare;
        priv->spare = node->next;
        node->next = NULL;
        --priv->spares;
    } else {
        mln_alloc_t *pool = mln_tcp_conn_pool_get(&f->conn);

        if ((node = mln_chain_new_with_buf(pool)) == NULL)
            return NULL;
        buf = node->buf;
        if ((buf->start = mln_alloc_m(pool, capacity)) == NULL) {
            mln_chain_pool_release(node);
            return NULL;
        }
        buf->left_pos = buf->pos = buf->last = buf->start;
        buf->end = buf->start + capacity;
        buf->in_memory = buf->last_buf = buf->last_in_chain = 1;
    }
    mln_tcp_conn_append(&f->conn, node, M_C_SEND);
    return node->buf;
}

/* A block at the end of the send queue that takes `size` more bytes from this thread. The caller holds the lock. */
static mln_buf_t *room_for(mln_fork_t *f, mln_size_t size, bool own)
{
    mln_buf_t **tail = own ? &f->priv->tail : &f->priv->others_tail, *buf = *tail;

    if (buf != NULL && is_last(f, buf) && room_in(buf) >= size)
        return buf;
    if ((buf = add_block(f, size)) != NULL)
        *tail = buf;
    return buf;
}

/* Keeps the blocks that were sent; blocks of which fewer are needed now than before go one at a time. */
static void recycle(mln_fork_t *f)
{
    struct mln_fork_private_s *priv = f->priv;
    mln_chain_t *node;
    unsigned used = 0;

    while ((node = mln_tcp_conn_pop(&f->conn, M_C_SENT)) != NULL) {
        mln_buf_t *buf = node->buf;

        if (buf != NULL && buf == priv->tail)
            priv->tail = NULL;
        if (buf != NULL && buf == priv->others_tail)
            priv->others_tail = NULL;
        if (buf == NULL || priv->spares == SPARES_MOST || !buf->in_memory || buf->end - buf->start != BLOCK_SIZE) {
            mln_chain_pool_release(node);
            continue;
        }
        buf->left_pos = buf->pos = buf->last = buf->start;
        node->next = priv->spare;
        priv->spare = node;
        ++priv->spares;
        ++used;
    }
    if (used > 0 && used < priv->spares) {
        node = priv->spare;
        priv->spare = node->next;
        node->next = NULL;
        --priv->spares;
        mln_chain_pool_release(node);
    }
}

/*
 * Puts a large frame into an empty queue, less what the kernel takes of it at once, which is not copied. The memory comes
 * first: half a frame that is out cannot be taken back. An error of the kernel's is left to the loop to find.
 */
static void put_large_frame(mln_fork_t *f, mln_buf_t *buf, mln_u32_t type, const void *payload, mln_size_t len)
{
    mln_u32_t header[2] = {(mln_u32_t)(sizeof type + len), type};
    struct iovec parts[2] = {{header, HEADER_SIZE}, {(void *)payload, len}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = sendmsg(f->conn.sockfd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < HEADER_SIZE) { /* the header's last bytes belong to those that are copied */
        put_frame(buf, type, payload, len);
        buf->left_pos += n > 0 ? n : 0;
        return;
    }
    buf->left_pos += n;
    memcpy(buf->left_pos, (const char *)payload + (n - HEADER_SIZE), HEADER_SIZE + len - (mln_size_t)n);
    buf->last += HEADER_SIZE + len;
}

static int append_frame(mln_fork_t *f, mln_u32_t type, const void *payload, mln_size_t len, bool own)
{
    mln_buf_t *buf;
    bool alone;

    if (f->priv->gone || f->priv->deaf || f->priv->finishing) {
        errno = EPIPE;
        return -1;
    }
    if (queue_limit != 0 && f->priv->queued != 0 && f->priv->queued + HEADER_SIZE + len > queue_limit) {
        errno = EAGAIN;
        return -1;
    }
    alone = mln_tcp_conn_send_empty(&f->conn);
    if ((buf = room_for(f, HEADER_SIZE + len, own)) == NULL) {
        errno = ENOMEM;
        return -1;
    }
    if (alone && len >= LARGE)
        put_large_frame(f, buf, type, payload, len);
    else
        put_frame(buf, type, payload, len);
    if (mln_buf_left_size(buf) == 0) { /* all of it is out */
        mln_tcp_conn_move_sent(&f->conn);
        recycle(f);
    } else {
        f->priv->queued += HEADER_SIZE + len;
    }
    return 0;
}

/* The way through the lock. */
static int queue_frame(mln_event_t *ev, mln_u32_t type, const void *payload, mln_size_t len, mln_fork_t *f, bool own)
{
    int result;

    lock_acquire(lock);
    result = append_frame(f, type, payload, len, own);
    if (result == 0 && !mln_tcp_conn_send_empty(&f->conn) && !f->priv->unsent && !f->priv->blocked) {
        f->priv->unsent = 1;
        if (f->priv->ev == NULL)
            f->priv->ev = ev;
        ev = f->priv->ev;
        ev->serves = 1;
        f->priv->next_unsent = ev->unsent;
        __atomic_store_n(&ev->unsent, f, __ATOMIC_RELAXED);
        loop_notify(ev);
    }
    lock_release(lock);
    return result;
}

static inline int send_frame(mln_event_t *ev, mln_u32_t type, const void *payload, mln_size_t len, mln_fork_t *f)
{
    mln_buf_t *tail;
    bool own;

    if (len > engine_max_payload()) { /* the other end would take it for a broken stream */
        errno = EMSGSIZE;
        return -1;
    }
    if (!loop_is_ours(ev))
        return -1;
    own = f->priv->ev == ev && dispatches(ev);
    /* Whoever puts a block there has seen to it that it is going to be written. */
    if (own && (tail = f->priv->tail) != NULL && is_last(f, tail) && room_in(tail) >= HEADER_SIZE + len && queue_limit == 0) {
        put_frame(tail, type, payload, len);
        return 0;
    }
    return queue_frame(ev, type, payload, len, f, own);
}

int mln_ipc_master_send_prepare(mln_event_t *ev, mln_u32_t type, void *buf, mln_size_t len, mln_fork_t *f_child)
{
    return send_frame(ev, type, buf, len, f_child);
}

int mln_ipc_worker_send_prepare(mln_event_t *ev, mln_u32_t type, void *msg, mln_size_t len)
{
    mln_fork_t *f = self != NULL ? self : channel_self();

    if (f == NULL || f->conn.sockfd < 0) {
        errno = ENOTCONN;
        return -1;
    }
    return send_frame(ev, type, msg, len, f);
}

static mln_size_t bytes_queued(mln_fork_t *f)
{
    mln_size_t n = 0;

    for (mln_chain_t *node = mln_tcp_conn_head(&f->conn, M_C_SEND); node != NULL; node = node->next)
        n += mln_buf_left_size(node->buf);
    return n;
}

/* Whether the kernel is short of memory. That passes; a lost message does not come back. */
static bool is_scarce(int error_number)
{
    return error_number == ENOBUFS || error_number == ENOMEM;
}

/*
 * Writes as much as the kernel takes. The caller holds the lock. After M_C_ERROR and M_C_NOTYET errno tells why, and after the former
 * *lost how many bytes went with it.
 */
static int write_out(mln_fork_t *f, mln_size_t *lost)
{
    int result = connection_send_nosignal(&f->conn), error_number = errno;

    recycle(f);
    if (result == M_C_ERROR && is_scarce(error_number))
        result = M_C_NOTYET;
    if (result == M_C_ERROR) {
        *lost = bytes_queued(f);
        /* What the other end sent before it went away is still to be read: its end of file ends the channel. */
        f->priv->deaf = 1;
        f->priv->tail = f->priv->others_tail = NULL;
        mln_chain_pool_release_all(mln_tcp_conn_remove(&f->conn, M_C_SEND));
    }
    /* Without a limit nobody asks, and the queue may be long. */
    f->priv->queued = result == M_C_NOTYET && queue_limit != 0 ? bytes_queued(f) : 0;
    errno = error_number;
    return result;
}

/* The other end is there, and can be told nothing any more. Nobody would ever see an end of that: it is made here. */
static void give_up(mln_fork_t *f, int error_number)
{
    if (f == self) {
        log_line(error, "this worker ends: nothing can be sent to the master: %s", strerror(error_number));
        exit(127);
    }
    log_line(error, "worker %ld is asked to end: nothing can be sent to it: %s", (long)f->pid, strerror(error_number));
    if (f->priv->worker != NULL)
        worker_deaf(f->priv->worker);
}

/*
 * Lets a worker see the end of what is sent to it. What the kernel refuses is tried once more, in the next iteration; then the log says
 * why the worker is made to end by a signal, when the time is over that it has.
 */
static void end_stream(mln_event_t *ev, mln_fork_t *f, const struct engine_table *go)
{
    int error_number;

    if (shutdown(f->conn.sockfd, SHUT_WR) == 0)
        return;
    error_number = errno;
    if (f->priv->end_refused++ == 0 && go != NULL && go->channel_want_write(ev->handle, f->conn.sockfd, (uintptr_t)f, 0) >= 0)
        return;
    log_line(error, "worker %ld cannot be told that there is no more work for it: %s", (long)f->pid, strerror(error_number));
}

static void write_channel(mln_event_t *ev, mln_fork_t *f)
{
    /* Before the loop is bound nothing is waited for: what is left is written then. */
    const struct engine_table *go = loop_is_bound(ev) ? loop_engine(ev) : NULL;
    mln_size_t lost = 0;
    int result, error_number;
    bool is_short, tells, waits, finishing;

    lock_acquire(lock);
    result = write_out(f, &lost);
    error_number = errno;
    finishing = f->priv->finishing; /* it shares a byte with what other threads set */
    is_short = result == M_C_NOTYET && is_scarce(error_number);
    tells = is_short && !f->priv->is_short;
    f->priv->is_short = is_short;
    waits = result == M_C_NOTYET && go != NULL && go->channel_want_write(ev->handle, f->conn.sockfd, (uintptr_t)f, is_short) >= 0;
    f->priv->blocked = waits;
    if (!waits) /* whoever sends the next message sees to it that it is written */
        f->priv->tail = NULL;
    lock_release(lock);
    /* Said without the lock: a logger of the program's own may send. */
    if (result == M_C_ERROR && half_closed(f->conn.sockfd))
        give_up(f, error_number);
    else if (result == M_C_ERROR && error_number != EPIPE && error_number != ECONNRESET)
        log_line(error, "%zu bytes for process %ld cannot be sent: %s", lost, (long)f->pid, strerror(error_number));
    if (tells)
        log_line(error, "nothing can be sent to process %ld, which is tried again: %s", (long)f->pid, strerror(error_number));
    if (result == M_C_NOTYET && !waits && go != NULL)
        log_line(error, "cannot wait for process %ld to take more; the next message will try again", (long)f->pid);
    if (result != M_C_NOTYET && finishing)
        end_stream(ev, f, go);
}

void channel_finish(mln_event_t *ev, mln_fork_t *f)
{
    lock_acquire(lock);
    f->priv->finishing = 1;
    f->priv->tail = NULL; /* nothing more goes into it */
    lock_release(lock);
    write_channel(ev, f);
}

void channel_flush(mln_event_t *ev)
{
    mln_fork_t *f, *next;

    /* What threads send from now on has to wait for the next time: they could keep the loop here. */
    lock_acquire(lock);
    f = ev->unsent;
    ev->unsent = NULL;
    lock_release(lock);
    for (; f != NULL; f = next) {
        lock_acquire(lock);
        next = f->priv->next_unsent;
        f->priv->unsent = 0;
        lock_release(lock);
        write_channel(ev, f);
    }
}

void channel_writable(mln_event_t *ev, mln_fork_t *f)
{
    write_channel(ev, f);
}

/* ---- receiving ---- */

void channel_deliver(mln_event_t *ev, uint64_t generation)
{
    struct step *step = &ev->step;
    struct handler *handler = NULL;
    mln_fork_t *f = NULL;

    if (step->kind == STEP_FRAMES && ev->sender == NULL && ev->next_frame == 0)
        ev->sender = (mln_fork_t *)step->target;
    if (loop_finished(ev, generation))
        return;
    while (ev->sender != NULL && ev->next_frame < step->count) {
        const struct frame *frame;

        if (atomic_load_explicit(&ev->broken, memory_order_relaxed) != 0)
            return;
        frame = &step->frames[ev->next_frame++];
        /* Mostly it is that of the message before. It may have been taken away meanwhile, but it does not move. */
        if (f != ev->sender || handler == NULL || handler->type != frame->type || handler->function == NULL) {
            f = ev->sender;
            handler = handlers_find(f == self ? HANDLERS_WORKER : HANDLERS_MASTER, frame->type);
        }
        if (handler == NULL) {
            f->error_bytes += HEADER_SIZE + frame->length;
            continue;
        }
        f->msg_type = frame->type;
        f->msg_len = frame->length;
        f->msg_content = (void *)frame->data;
        if (step->handling < step->outermost) /* the dispatch that it arrived in was broken, and was inside another */
            step->outermost = step->handling;
        ++step->handling;
        handler->function(ev, f, f->msg_content, frame->length, handler->slot);
        if (generation != engine_generation())
            return;
        --step->handling;
    }
    ev->sender = NULL;
    ev->next_frame = 0;
    step->count = 0;
}

/* ---- receiving without the engine ---- */

enum { DIRECT_EVENTS_MAX = 64 };

static struct direct *direct_of(struct step *step, const struct epoll_event *event)
{
    struct direct *direct = &step->direct[(uint32_t)event->data.fd % STEP_DIRECT_MAX];

    if (event->events != EPOLLIN || __atomic_load_n(&direct->data, __ATOMIC_ACQUIRE) != event->data.u64)
        return NULL;
    return direct;
}

/* Receives what has come, and delivers it if it is one message. Returns whether it was; otherwise the channel is the engine's again. */
static int receive_directly(mln_event_t *ev, struct direct *direct, int fd, uint64_t generation)
{
    struct step *step = &ev->step;
    struct frame frame = {.data = (uintptr_t)step->message + HEADER_SIZE};
    ssize_t n = recv(fd, step->message, sizeof step->message, MSG_DONTWAIT);
    uint32_t counted = 0;

    if (n >= HEADER_SIZE) {
        memcpy(&counted, step->message, sizeof counted);
        memcpy(&frame.type, step->message + sizeof counted, sizeof frame.type);
        frame.length = (uint32_t)n - HEADER_SIZE;
    }
    if (n < HEADER_SIZE || counted != sizeof frame.type + frame.length || frame.length > step->direct_limit) {
        if (n > 0) {
            step->arrived = (int32_t)n;
            step->arrived_from = direct->channel;
        }
        __atomic_store_n(&direct->data, 0, __ATOMIC_RELEASE);
        return 0;
    }
    ev->sender = (mln_fork_t *)direct->channel;
    ev->next_frame = 0;
    step->kind = STEP_NONE;
    step->frames[0] = frame;
    step->count = 1;
    channel_deliver(ev, generation);
    return 1;
}

int channel_receive_directly(mln_event_t *ev, uint64_t generation)
{
    struct step *step = &ev->step;
    struct epoll_event events[DIRECT_EVENTS_MAX]; /* a dispatch in a handler brings others */
    struct direct *direct;
    int n = step->collected;

    if (n == 0 || n > DIRECT_EVENTS_MAX || step->handling != 0 || ev->sender != NULL)
        return 0;
    for (int i = 0; i < n; ++i)
        if (direct_of(step, &step->events[i]) == NULL)
            return 0;
    memcpy(events, step->events, (size_t)n * sizeof *events);
    step->collected = 0;
    /* Those that are left, because of what handlers have done, the kernel reports once more. */
    for (int i = 0; i < n && !loop_finished(ev, generation); ++i)
        if ((direct = direct_of(step, &events[i])) != NULL && !receive_directly(ev, direct, events[i].data.fd, generation))
            return 0;
    return 1;
}

/* ---- how this process is ---- */

/* How often a worker gives a sign of life in the time after which it would be taken for hung. */
enum { BEATS = 4 };

static void tell_master(mln_event_t *ev, char what)
{
    if (self != NULL && self->conn.sockfd >= 0 && send_frame(ev, ENGINE_CONTROL, &what, 1, self) != 0 && errno != EPIPE)
        log_line(warn, "the master cannot be told how this worker is: %s", strerror(errno));
}

static void beat(mln_event_t *ev, void *data)
{
    int64_t every = (heartbeat + BEATS - 1) / BEATS;

    (void)data;
    if (mln_tcp_conn_send_empty(&self->conn)) /* what moves is a sign of life itself */
        tell_master(ev, ENGINE_CONTROL_BEAT);
    if (mln_event_timer_set(ev, every > UINT32_MAX ? UINT32_MAX : (mln_u32_t)every, NULL, beat) == NULL)
        log_line(error, "this worker cannot give signs of life, and will be taken for hung: %s", strerror(errno));
}

void channel_announce(mln_event_t *ev)
{
    if (!ev->announce)
        return;
    ev->announce = 0;
    tell_master(ev, ENGINE_CONTROL_READY);
    if (heartbeat != 0)
        beat(ev, NULL);
}

/* The master has asked this process to end. What it sent is written first; if that takes too long the master will see to it. */
__attribute__((noreturn)) static void leave(mln_fork_t *f)
{
    struct pollfd writable = {.fd = f->conn.sockfd, .events = POLLOUT};
    mln_size_t lost;
    int result;

    for (;;) {
        lock_acquire(lock);
        result = write_out(f, &lost);
        lock_release(lock);
        if (result != M_C_NOTYET)
            break;
        if (is_scarce(errno))
            pause_briefly();
        else
            (void)poll(&writable, 1, -1);
    }
    log_line(none, "the master has no more work for this process");
    exit(0);
}

/* The master is gone: so is what this process was for. */
static void master_gone(const char *cause)
{
    if (cause[0] != '\0')
        log_line(report, "the master is gone: %s", cause);
    else
        log_line(report, "the master is gone");
    exit(127);
}

void channel_closed(mln_event_t *ev, mln_fork_t *f, const char *cause)
{
    struct worker *w = f->priv->worker;

    (void)ev;
    if (f == self && cause[0] == '\0' && half_closed(f->conn.sockfd))
        leave(f);
    if (f == self)
        master_gone(cause);
    if (cause[0] != '\0')
        log_line(error, "the channel to worker %ld is closed: %s", (long)f->pid, cause);
    worker_channel_closed(w, cause[0] != '\0');
}

static void receive_now(mln_event_t *ev, int fd, mln_fork_t *f)
{
    const struct engine_table *go = loop_engine(ev);
    uint64_t generation = engine_generation();

    if (go == NULL || f == NULL || f->priv->gone)
        return;
    if ((f->priv->worker != NULL ? worker_watch(f->priv->worker, ev) : channel_attach(ev, f)) != 0)
        return;
    channel_deliver(ev, generation); /* what is at hand comes first */
    if (loop_finished(ev, generation) || ev->sender != NULL || f->priv->gone)
        return;
    go->channel_receive(ev->handle, fd, (uintptr_t)f);
    if (ev->step.kind == STEP_FRAMES)
        channel_deliver(ev, generation);
    else if (ev->step.kind == STEP_CLOSED)
        channel_closed(ev, f, ev->step.text);
    else if (ev->step.kind == STEP_TELL)
        worker_tell(f->priv->worker, ev->step.text);
}

void mln_ipc_fd_handler_master(mln_event_t *ev, int fd, void *data)
{
    receive_now(ev, fd, data);
}

void mln_ipc_fd_handler_worker(mln_event_t *ev, int fd, void *data)
{
    (void)data;
    receive_now(ev, fd, channel_self());
}

void mln_fork_worker_set_events(mln_event_t *ev)
{
    mln_fork_t *f = channel_self();

    if (f == NULL || f->conn.sockfd < 0)
        return;
    if (!executed)
        heartbeat = engine_settings()->heartbeat;
    if (!loop_is_ours(ev))
        log_line(error, "cannot watch the connection to the master: %s", strerror(errno));
    else if (channel_attach(ev, f) != 0)
        unheard();
    else if (executed || engine_settings()->start_timeout != 0 || heartbeat != 0)
        ev->announce = 1;
}

void mln_fork_worker_events_set(mln_event_t *ev)
{
    mln_fork_worker_set_events(ev);
}
