/*
 * connection.c - the queues of a connection, sending and receiving (mln_connection.h).
 *
 * Whether a descriptor is blocking is asked of the kernel at every call: others change it, an event loop for one, and a
 * stale answer would make a full socket look like a broken one, or a call wait that must not.
 */
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    VECTORS_MAX = 256,          /* for one system call */
    FILE_SEND_MAX = 0x7ffff000, /* what the kernel sends at most in one call */
    COPY_SIZE = 16 * 1024,      /* for one call, when the kernel cannot send from the file itself */
    MEMORY_PIECE = 4096,        /* what is received at once */
    FILE_PIECE = 8192
};

/* ---- queues ---- */

struct queue {
    mln_chain_t **head, **tail;
};

static struct queue queue_of(mln_tcp_conn_t *tc, int type)
{
    switch (type) {
    case M_C_SEND:
        return (struct queue){&tc->snd_head, &tc->snd_tail};
    case M_C_RECV:
        return (struct queue){&tc->rcv_head, &tc->rcv_tail};
    case M_C_SENT:
        return (struct queue){&tc->sent_head, &tc->sent_tail};
    default:
        errno = EINVAL;
        return (struct queue){NULL, NULL};
    }
}

void mln_tcp_conn_append_chain(mln_tcp_conn_t *tc, mln_chain_t *c_head, mln_chain_t *c_tail, int type)
{
    struct queue queue = queue_of(tc, type);

    if (queue.head == NULL || c_head == NULL)
        return;
    if (c_tail == NULL) {
        for (c_tail = c_head; c_tail->next != NULL; c_tail = c_tail->next)
            ;
    }
    if (*queue.head == NULL)
        *queue.head = c_head;
    else
        (*queue.tail)->next = c_head;
    *queue.tail = c_tail;
}

void mln_tcp_conn_append(mln_tcp_conn_t *tc, mln_chain_t *c, int type)
{
    mln_tcp_conn_append_chain(tc, c, c, type);
}

mln_chain_t *mln_tcp_conn_head(mln_tcp_conn_t *tc, int type)
{
    struct queue queue = queue_of(tc, type);

    return queue.head != NULL ? *queue.head : NULL;
}

mln_chain_t *mln_tcp_conn_get_head(mln_tcp_conn_t *tc, int type)
{
    return mln_tcp_conn_head(tc, type);
}

mln_chain_t *mln_tcp_conn_tail(mln_tcp_conn_t *tc, int type)
{
    struct queue queue = queue_of(tc, type);

    return queue.tail != NULL ? *queue.tail : NULL;
}

mln_chain_t *mln_tcp_conn_get_tail(mln_tcp_conn_t *tc, int type)
{
    return mln_tcp_conn_tail(tc, type);
}

mln_chain_t *mln_tcp_conn_pop(mln_tcp_conn_t *tc, int type)
{
    struct queue queue = queue_of(tc, type);
    mln_chain_t *node;

    if (queue.head == NULL || (node = *queue.head) == NULL)
        return NULL;
    *queue.head = node->next;
    if (node->next == NULL)
        *queue.tail = NULL;
    node->next = NULL;
    return node;
}

mln_chain_t *mln_tcp_conn_remove(mln_tcp_conn_t *tc, int type)
{
    struct queue queue = queue_of(tc, type);
    mln_chain_t *head;

    if (queue.head == NULL)
        return NULL;
    head = *queue.head;
    *queue.head = *queue.tail = NULL;
    return head;
}

void mln_tcp_conn_move_sent(mln_tcp_conn_t *tc)
{
    mln_chain_t *tail = tc->snd_tail;

    mln_tcp_conn_append_chain(tc, mln_tcp_conn_remove(tc, M_C_SEND), tail, M_C_SENT);
}

/* ---- the connection and its descriptor ---- */

/* Looks whether the descriptor is non-blocking. One that is not open fails in the call that is to come. */
static bool is_nonblocking(mln_tcp_conn_t *tc)
{
    int flags = tc->sockfd >= 0 ? fcntl(tc->sockfd, F_GETFL) : -1;

    tc->nonblock = flags != -1 && (flags & O_NONBLOCK) != 0;
    return tc->nonblock;
}

int mln_tcp_conn_init(mln_tcp_conn_t *tc, int sockfd)
{
    *tc = (mln_tcp_conn_t){.pool = mln_alloc_init()};
    mln_tcp_conn_fd_set(tc, sockfd);
    return tc->pool != NULL ? 0 : -1;
}

void mln_tcp_conn_destroy(mln_tcp_conn_t *tc)
{
    if (tc == NULL)
        return;
    mln_chain_pool_release_all(mln_tcp_conn_remove(tc, M_C_SEND));
    mln_chain_pool_release_all(mln_tcp_conn_remove(tc, M_C_RECV));
    mln_chain_pool_release_all(mln_tcp_conn_remove(tc, M_C_SENT));
    mln_alloc_destroy(tc->pool);
    tc->pool = NULL;
}

void mln_tcp_conn_fd_set(mln_tcp_conn_t *tc, int fd)
{
    int saved_errno = errno;

    tc->sockfd = fd;
    (void)is_nonblocking(tc);
    errno = saved_errno;
}

int mln_tcp_conn_set_nonblock(mln_tcp_conn_t *tc, int nonblock)
{
    if (tc->sockfd >= 0) {
        int flags = fcntl(tc->sockfd, F_GETFL);
        int wanted = nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;

        if (flags == -1 || (wanted != flags && fcntl(tc->sockfd, F_SETFL, wanted) == -1))
            return -1;
    }
    tc->nonblock = nonblock != 0;
    return 0;
}

/* ---- sending ---- */

/* How a send queue is sent. */
struct manner {
    bool to_mark; /* as far as the first buffer with last_in_chain, else all */
    bool once;    /* one system call, since a second one could wait */
    bool quiet;   /* neither wait nor raise SIGPIPE, whatever the descriptor's mode is */
};

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

/* What is in one piece costs the kernel less than a vector of it. */
static ssize_t send_vectors(int fd, struct iovec *vectors, size_t count)
{
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};

    return count == 1 ? send(fd, vectors->iov_base, vectors->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
                      : sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t write_vectors(int fd, struct iovec *vectors, size_t count, bool quiet)
{
    ssize_t n;

    do {
        n = quiet ? send_vectors(fd, vectors, count) : writev(fd, vectors, (int)count);
    } while (n == -1 && errno == EINTR);
    return n;
}

/* Writes from a file by way of memory. */
static ssize_t copy_file(int fd, const mln_buf_t *buf, size_t size, bool quiet)
{
    char bytes[COPY_SIZE];
    struct iovec vector = {.iov_base = bytes};
    ssize_t n;

    do {
        n = pread(buf->file->fd, bytes, size < sizeof bytes ? size : sizeof bytes, buf->file_left_pos);
    } while (n == -1 && errno == EINTR);
    if (n <= 0)
        return n;
    vector.iov_len = (size_t)n;
    return write_vectors(fd, &vector, 1, quiet);
}

static ssize_t write_file(int fd, const mln_buf_t *buf, bool quiet)
{
    size_t size = (size_t)mln_buf_left_size(buf);
    ssize_t n;

    if (buf->file == NULL) {
        errno = EBADF;
        return -1;
    }
    if (quiet) /* sendfile has no flags */
        return copy_file(fd, buf, size, quiet);
    do {
        off_t offset = buf->file_left_pos;
        n = sendfile(fd, buf->file->fd, &offset, size < FILE_SEND_MAX ? size : FILE_SEND_MAX);
    } while (n == -1 && errno == EINTR);
    if (n == -1 && (errno == EINVAL || errno == ENOSYS)) /* not every file system can, nor every descriptor */
        return copy_file(fd, buf, size, quiet);
    return n;
}

/* Sends from the file buffer at the head. */
static ssize_t send_file(mln_tcp_conn_t *tc, const struct manner *how)
{
    mln_buf_t *buf = tc->snd_head->buf;
    ssize_t n = write_file(tc->sockfd, buf, how->quiet);

    if (n > 0)
        buf->file_left_pos += n;
    if (n == 0)
        errno = ENODATA; /* the file has become shorter: the message cannot be completed any more */
    return n;
}

/* Sends the memory buffers at the head. */
static ssize_t send_memory(mln_tcp_conn_t *tc, const struct manner *how)
{
    struct iovec vectors[VECTORS_MAX];
    size_t count = 0, left;
    ssize_t n;

    for (mln_chain_t *node = tc->snd_head; node != NULL && count < VECTORS_MAX; node = node->next) {
        mln_buf_t *buf = node->buf;

        if (mln_buf_left_size(buf) > 0) {
            if (buf->in_file)
                break;
            vectors[count++] = (struct iovec){buf->left_pos, (size_t)mln_buf_left_size(buf)};
        }
        if (how->to_mark && buf != NULL && buf->last_in_chain)
            break;
    }

    n = write_vectors(tc->sockfd, vectors, count, how->quiet);
    if (n == 0)
        errno = EIO;
    if (n <= 0)
        return n;
    left = (size_t)n;
    for (mln_chain_t *node = tc->snd_head; left > 0; node = node->next) {
        size_t size = mln_buf_left_size(node->buf) > 0 ? (size_t)mln_buf_left_size(node->buf) : 0;
        size_t sent = size < left ? size : left;

        if (sent > 0)
            node->buf->left_pos += sent;
        left -= sent;
    }
    return n;
}

/* Moves what is sent from the head of the queue to the sent ones. True if it stopped behind a mark. */
static bool settle(mln_tcp_conn_t *tc, const struct manner *how)
{
    mln_chain_t *node;

    while ((node = tc->snd_head) != NULL && mln_buf_left_size(node->buf) <= 0) {
        (void)mln_tcp_conn_pop(tc, M_C_SEND);
        mln_tcp_conn_append(tc, node, M_C_SENT);
        if (how->to_mark && node->buf != NULL && node->buf->last_in_chain)
            return true;
    }
    return false;
}

static int transmit(mln_tcp_conn_t *tc, const struct manner *how)
{
    for (bool called = false;; called = true) {
        ssize_t n;

        if (settle(tc, how))
            return M_C_FINISH;
        if (tc->snd_head == NULL)
            return how->to_mark ? M_C_NOTYET : M_C_FINISH;
        if (called && how->once)
            return M_C_NOTYET;
        n = tc->snd_head->buf->in_file ? send_file(tc, how) : send_memory(tc, how);
        if (n == -1 && would_block())
            return M_C_NOTYET;
        if (n <= 0)
            return M_C_ERROR;
    }
}

int mln_tcp_conn_send(mln_tcp_conn_t *tc)
{
    if (tc->snd_head == NULL)
        return M_C_NOTYET;
    return transmit(tc, &(struct manner){.to_mark = true, .once = !is_nonblocking(tc)});
}

int connection_send_nosignal(mln_tcp_conn_t *tc)
{
    return transmit(tc, &(struct manner){.quiet = true});
}

int mln_tcp_conn_send_chain(mln_tcp_conn_t *tc, mln_chain_t *chain)
{
    mln_tcp_conn_append_chain(tc, chain, NULL, M_C_SEND);
    return mln_tcp_conn_send(tc);
}

/* ---- receiving ---- */

static ssize_t read_piece(int fd, void *bytes, size_t size)
{
    ssize_t n;

    do {
        n = read(fd, bytes, size);
    } while (n == -1 && errno == EINTR);
    return n;
}

/* Releases what was prepared for a piece that did not come, and keeps errno. */
static ssize_t give_up(mln_chain_t *node, ssize_t n)
{
    int saved_errno = errno;

    mln_chain_pool_release(node);
    errno = saved_errno;
    return n;
}

/* All memory is taken before the read, so that no byte is read that could not be kept. */
static ssize_t receive_memory(mln_tcp_conn_t *tc)
{
    mln_chain_t *node = mln_chain_new_with_buf(tc->pool);
    mln_buf_t *buf;
    ssize_t n;

    if (node == NULL)
        return -1;
    buf = node->buf;
    buf->in_memory = buf->last_buf = 1;
    if ((buf->start = mln_alloc_m(tc->pool, MEMORY_PIECE)) == NULL)
        return give_up(node, -1);
    if ((n = read_piece(tc->sockfd, buf->start, MEMORY_PIECE)) <= 0)
        return give_up(node, n);
    buf->left_pos = buf->pos = buf->start;
    buf->last = buf->end = buf->start + n;
    mln_tcp_conn_append(tc, node, M_C_RECV);
    return n;
}

static int write_at(int fd, const char *bytes, size_t size, off_t offset)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, bytes, size, offset);

        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return -1;
        }
        bytes += n;
        size -= (size_t)n;
        offset += n;
    }
    return 0;
}

/* Receives into the file of *last, or into a new one if that is NULL; *last becomes the new buffer, which owns the file. */
static ssize_t receive_file(mln_tcp_conn_t *tc, mln_buf_t **last)
{
    mln_chain_t *node = mln_chain_new_with_buf(tc->pool);
    char bytes[FILE_PIECE];
    mln_buf_t *buf;
    ssize_t n;

    if (node == NULL)
        return -1;
    buf = node->buf;
    if (*last != NULL) {
        buf->shadow = *last; /* until the piece is there, the file is not this one's to close */
        buf->file = (*last)->file;
        buf->file_left_pos = buf->file_pos = (*last)->file_last;
    } else if ((buf->file = mln_file_tmp_open(tc->pool)) == NULL) {
        return give_up(node, -1);
    }
    buf->in_file = buf->last_buf = 1;
    if ((n = read_piece(tc->sockfd, bytes, sizeof bytes)) <= 0)
        return give_up(node, n);
    if (write_at(buf->file->fd, bytes, (size_t)n, buf->file_pos) != 0)
        return give_up(node, -1);
    buf->file_last = buf->file_pos + n;
    buf->shadow = NULL;
    if (*last != NULL)
        (*last)->shadow = buf;
    *last = buf;
    mln_tcp_conn_append(tc, node, M_C_RECV);
    return n;
}

/* The buffer whose file M_C_TYPE_FOLLOW goes on with: the last received one, if it owns a file. */
static mln_buf_t *followed(mln_tcp_conn_t *tc)
{
    mln_buf_t *buf = tc->rcv_tail != NULL ? tc->rcv_tail->buf : NULL;

    if (buf == NULL || !buf->in_file || buf->temporary || buf->shadow != NULL || buf->file == NULL || !buf->file->is_tmp)
        return NULL;
    return buf;
}

/*
 * What one call takes at most from a descriptor that does not block. A peer that sends as fast as this process reads would
 * keep it here, and have it take memory, for as long as it likes. Loops are level-triggered: the rest brings the next call.
 */
enum { RECEIVE_MOST = 4 << 20 };

int mln_tcp_conn_recv(mln_tcp_conn_t *tc, mln_u32_t flag)
{
    bool in_file = flag != M_C_TYPE_MEMORY;
    bool follow = flag == (M_C_TYPE_FILE | M_C_TYPE_FOLLOW);
    bool nonblocking = is_nonblocking(tc);
    mln_buf_t *last = follow ? followed(tc) : NULL;
    size_t received = 0;
    ssize_t n;

    if (in_file && !follow && flag != M_C_TYPE_FILE) {
        errno = EINVAL;
        return M_C_ERROR;
    }
    do {
        n = in_file ? receive_file(tc, &last) : receive_memory(tc);
        received += n > 0 ? (size_t)n : 0;
    } while (n > 0 && nonblocking && received < RECEIVE_MOST);
    if (n > 0 || (n == -1 && would_block()))
        return M_C_NOTYET;
    return n == 0 ? M_C_CLOSED : M_C_ERROR;
}
