/*
 * connection_send_recv.c - queues, sending and receiving over socket pairs: what was put in comes out, once and in order, and
 * every call reports what it did.
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "mln_connection.h"

#define MARKED 1

/* Two connected connections. */
static mln_tcp_conn_t here, there;

static void connect_pair(void)
{
    int fds[2];

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_INT(mln_tcp_conn_init(&here, fds[0]), 0);
    CHECK_INT(mln_tcp_conn_init(&there, fds[1]), 0);
}

/* The connections do not close descriptors. */
static void close_pair(void)
{
    int fds[2];

    fds[0] = mln_tcp_conn_fd_get(&here);
    fds[1] = mln_tcp_conn_get_fd(&there);
    mln_tcp_conn_destroy(&here);
    mln_tcp_conn_destroy(&there);
    mln_tcp_conn_destroy(&there);
    CHECK_INT(close(fds[0]), 0);
    CHECK_INT(close(fds[1]), 0);
}

static mln_chain_t *memory_node(const char *bytes, size_t size, int marked)
{
    mln_alloc_t *pool = mln_tcp_conn_pool_get(&here);
    mln_chain_t *node = mln_chain_new_with_buf(pool);
    mln_buf_t *b;

    CHECK(node != NULL);
    b = node->buf;
    b->start = b->pos = b->left_pos = (mln_u8ptr_t)mln_alloc_m(pool, size);
    CHECK(b->start != NULL);
    if (size > 0)
        memcpy(b->start, bytes, size);
    b->last = b->end = b->start + size;
    b->in_memory = b->last_buf = 1;
    b->last_in_chain = marked ? 1 : 0;
    return node;
}

static void queue_text(const char *text, int marked)
{
    mln_tcp_conn_append(&here, memory_node(text, strlen(text), marked), M_C_SEND);
}

static int queue_length(mln_tcp_conn_t *tc, int type)
{
    mln_chain_t *node, *last = NULL;
    int n = 0;

    for (node = mln_tcp_conn_head(tc, type); node != NULL; node = node->next) {
        last = node;
        n++;
    }
    CHECK_PTR(mln_tcp_conn_tail(tc, type), last);
    return n;
}

/* The byte at an offset of a long stream. */
static char stream_byte(size_t i)
{
    return (char)(i * 7 + i / 251);
}

/* Takes what `there` has received and checks that it goes on with the stream. */
static size_t take_stream(size_t offset)
{
    mln_chain_t *node;

    while ((node = mln_tcp_conn_pop(&there, M_C_RECV)) != NULL) {
        mln_buf_t *b = node->buf;
        CHECK(b->left_pos == b->pos && b->pos == b->start && b->last == b->end);
        CHECK(b->in_memory == 1 && b->last_buf == 1 && b->in_file == 0 && b->mmap == 0);
        CHECK(mln_buf_size(b) > 0 && mln_buf_size(b) <= 4096);
        for (mln_u8ptr_t p = b->pos; p < b->last; p++)
            CHECK_INT(*p, (mln_u8_t)stream_byte(offset++));
        mln_chain_pool_release(node);
    }
    return offset;
}

/* Receives and compares with a text. */
static void expect_received(const char *text)
{
    char received[8192];
    size_t n = 0;
    mln_chain_t *node;

    CHECK_INT(mln_tcp_conn_set_nonblock(&there, 1), 0);
    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_MEMORY), M_C_NOTYET);
    for (node = mln_tcp_conn_head(&there, M_C_RECV); node != NULL; node = node->next) {
        CHECK(n + (size_t)mln_buf_size(node->buf) < sizeof received);
        memcpy(received + n, node->buf->pos, (size_t)mln_buf_size(node->buf));
        n += (size_t)mln_buf_size(node->buf);
    }
    received[n] = '\0';
    CHECK_STR(received, text);
    mln_chain_pool_release_all(mln_tcp_conn_remove(&there, M_C_RECV));
}

static void release_sent(void)
{
    mln_chain_pool_release_all(mln_tcp_conn_remove(&here, M_C_SENT));
    CHECK(mln_tcp_conn_sent_empty(&here));
}

static void queues_hold_nodes_in_order(void)
{
    static const int types[] = {M_C_SEND, M_C_RECV, M_C_SENT};
    mln_alloc_t *pool;
    int i;

    connect_pair();
    pool = mln_tcp_conn_get_pool(&here);
    CHECK(pool != NULL);
    for (i = 0; i < 3; i++) {
        mln_chain_t *a = mln_chain_new(pool), *b = mln_chain_new(pool), *c = mln_chain_new(pool);
        int type = types[i];

        CHECK_INT(queue_length(&here, type), 0);
        CHECK_PTR(mln_tcp_conn_pop(&here, type), NULL);
        CHECK_PTR(mln_tcp_conn_remove(&here, type), NULL);
        mln_tcp_conn_append_chain(&here, NULL, NULL, type);
        CHECK_INT(queue_length(&here, type), 0);

        b->next = c;
        mln_tcp_conn_append(&here, a, type);
        mln_tcp_conn_append_chain(&here, b, NULL, type); /* its end is looked for */
        CHECK_INT(queue_length(&here, type), 3);
        CHECK_PTR(mln_tcp_conn_get_head(&here, type), a);
        CHECK_PTR(mln_tcp_conn_get_tail(&here, type), c);
        CHECK_PTR(mln_tcp_conn_pop(&here, type), a);
        CHECK_PTR(a->next, NULL);
        CHECK_PTR(mln_tcp_conn_remove(&here, type), b);
        CHECK_INT(queue_length(&here, type), 0);
        mln_tcp_conn_append_chain(&here, b, c, type);
        CHECK_PTR(mln_tcp_conn_pop(&here, type), b);
        CHECK_PTR(mln_tcp_conn_pop(&here, type), c);
        CHECK_PTR(mln_tcp_conn_tail(&here, type), NULL);

        mln_tcp_conn_append(&here, a, type); /* goes with the connection */
        mln_chain_pool_release(b);
        mln_chain_pool_release(c);
    }
    CHECK(!mln_tcp_conn_send_empty(&here) && !mln_tcp_conn_recv_empty(&here) && !mln_tcp_conn_sent_empty(&here));
    errno = 0;
    CHECK_PTR(mln_tcp_conn_head(&here, 0), NULL);
    CHECK_INT(errno, EINVAL);
    CHECK_PTR(mln_tcp_conn_pop(&here, 4), NULL);
    CHECK_PTR(mln_tcp_conn_remove(&here, -1), NULL);
    mln_tcp_conn_append(&here, NULL, 7);

    mln_tcp_conn_move_sent(&here);
    CHECK(mln_tcp_conn_send_empty(&here));
    CHECK_INT(queue_length(&here, M_C_SENT), 2);
    mln_tcp_conn_move_sent(&here);
    CHECK_INT(queue_length(&here, M_C_SENT), 2);
    close_pair();
    mln_tcp_conn_destroy(NULL);
}

static void the_mode_follows_the_descriptor(void)
{
    int fd, other;

    connect_pair();
    fd = mln_tcp_conn_fd_get(&here);
    other = mln_tcp_conn_fd_get(&there);
    CHECK_INT(here.nonblock, 0);
    CHECK_INT(mln_tcp_conn_set_nonblock(&here, 1), 0);
    CHECK_INT(here.nonblock, 1);
    CHECK_INT(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    mln_tcp_conn_fd_set(&there, fd);
    CHECK_INT(there.nonblock, 1);
    CHECK_INT(mln_tcp_conn_set_nonblock(&here, 0), 0);
    CHECK_INT(here.nonblock, 0);
    CHECK_INT(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);

    /* Without a descriptor there is the bit alone; with a wrong one there is an error. */
    mln_tcp_conn_set_fd(&there, -1);
    CHECK_INT(mln_tcp_conn_fd_get(&there), -1);
    CHECK_INT(there.nonblock, 0);
    CHECK_INT(mln_tcp_conn_set_nonblock(&there, 5), 0);
    CHECK_INT(there.nonblock, 1);
    mln_tcp_conn_fd_set(&there, 1000000);
    CHECK_INT(mln_tcp_conn_set_nonblock(&there, 1), -1);
    CHECK_INT(errno, EBADF);
    CHECK_INT(there.nonblock, 0);
    mln_tcp_conn_destroy(&there);
    mln_tcp_conn_destroy(&here);
    CHECK_INT(fcntl(fd, F_GETFD) != -1, 1);
    CHECK_INT(close(fd), 0);
    CHECK_INT(close(other), 0);
}

static void a_call_ends_at_a_mark(int nonblock)
{
    connect_pair();
    CHECK_INT(mln_tcp_conn_set_nonblock(&here, nonblock), 0);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_NOTYET);
    queue_text("one ", 0);
    queue_text("two", MARKED);
    queue_text("three", MARKED);
    queue_text("four", 0);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    CHECK_INT(queue_length(&here, M_C_SEND), 2);
    CHECK_INT(queue_length(&here, M_C_SENT), 2);
    expect_received("one two");
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    expect_received("three");

    /* Without a mark all is sent, but nothing is finished. */
    CHECK_INT(mln_tcp_conn_send(&here), M_C_NOTYET);
    expect_received("four");
    CHECK(mln_tcp_conn_send_empty(&here));
    CHECK_INT(queue_length(&here, M_C_SENT), 4);
    CHECK_INT(mln_tcp_conn_send_chain(&here, memory_node("five", 4, MARKED)), M_C_FINISH);
    expect_received("five");
    CHECK_INT(mln_tcp_conn_send_chain(&here, NULL), M_C_NOTYET);
    release_sent();
    close_pair();
}

static void nodes_without_data_count_as_sent(int nonblock)
{
    int i;

    connect_pair();
    CHECK_INT(mln_tcp_conn_set_nonblock(&here, nonblock), 0);

    /* Only such nodes. */
    mln_tcp_conn_append(&here, mln_chain_new(mln_tcp_conn_pool_get(&here)), M_C_SEND);
    queue_text("", 0);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_NOTYET);
    CHECK_INT(queue_length(&here, M_C_SENT), 2);
    queue_text("", MARKED);
    queue_text("next", MARKED);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    CHECK_INT(queue_length(&here, M_C_SEND), 1);
    expect_received("");

    /* Among others. */
    for (i = 0; i < 3; i++) {
        queue_text("", 0);
        mln_tcp_conn_append(&here, mln_chain_new(mln_tcp_conn_pool_get(&here)), M_C_SEND);
        queue_text("x", 0);
    }
    queue_text("", MARKED);
    queue_text("not this", 0);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    expect_received("next");
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    expect_received("xxx");
    CHECK_INT(queue_length(&here, M_C_SEND), 1);
    close_pair();
}

static void many_small_buffers_go_out(void)
{
    enum { BUFFERS = 1000 };
    char byte;
    size_t offset;
    int calls = 0, result, nonblock;

    connect_pair();
    for (nonblock = 0; nonblock < 2; nonblock++) {
        CHECK_INT(mln_tcp_conn_set_nonblock(&here, nonblock), 0);
        CHECK_INT(mln_tcp_conn_set_nonblock(&there, 1), 0);
        for (offset = 0; offset < BUFFERS; offset++) {
            byte = stream_byte(offset);
            mln_tcp_conn_append(&here, memory_node(&byte, 1, offset == BUFFERS - 1), M_C_SEND);
        }
        calls = 0;
        do {
            result = mln_tcp_conn_send(&here);
            calls++;
        } while (result == M_C_NOTYET && calls < BUFFERS);
        CHECK_INT(result, M_C_FINISH);
        CHECK_INT(calls, nonblock ? 1 : (BUFFERS + 255) / 256);
        CHECK_INT(queue_length(&here, M_C_SENT), BUFFERS);
        release_sent();
        CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_MEMORY), M_C_NOTYET);
        CHECK_INT(take_stream(0), BUFFERS);
    }
    close_pair();
}

/* A message larger than the socket's buffer: finished when its last byte is sent, and not before. */
static void a_large_message_is_finished_at_its_end(void)
{
    enum { SIZE = 3000000, PIECE = 1000 };
    static char stream[SIZE];
    size_t offset, received = 0;
    int result, rounds = 0, pieces;

    for (offset = 0; offset < SIZE; offset++)
        stream[offset] = stream_byte(offset);
    for (pieces = 0; pieces < 2; pieces++) {
        connect_pair();
        CHECK_INT(mln_tcp_conn_set_nonblock(&here, 1), 0);
        CHECK_INT(mln_tcp_conn_set_nonblock(&there, 1), 0);
        for (offset = 0; offset < SIZE; offset += pieces ? PIECE : SIZE)
            mln_tcp_conn_append(&here, memory_node(stream + offset, pieces ? PIECE : SIZE, 0), M_C_SEND);
        mln_tcp_conn_tail(&here, M_C_SEND)->buf->last_in_chain = 1;

        received = 0;
        rounds = 0;
        while ((result = mln_tcp_conn_send(&here)) == M_C_NOTYET) {
            CHECK(!mln_tcp_conn_send_empty(&here));
            CHECK(mln_buf_left_size(mln_tcp_conn_tail(&here, M_C_SEND)->buf) > 0);
            CHECK_INT(mln_tcp_conn_send(&here), M_C_NOTYET); /* still full */
            CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_MEMORY), M_C_NOTYET);
            offset = received;
            received = take_stream(received);
            CHECK(received > offset);
            rounds++;
        }
        CHECK_INT(result, M_C_FINISH);
        CHECK(rounds > 1);
        CHECK(mln_tcp_conn_send_empty(&here));
        CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_MEMORY), M_C_NOTYET);
        CHECK_INT(take_stream(received), SIZE);
        close_pair();
    }
}

/* An event loop changes the mode of a descriptor without the connection being told. */
static void a_mode_changed_by_others_is_noticed(void)
{
    static char stream[1000000];
    int flags, i;

    connect_pair();
    flags = fcntl(mln_tcp_conn_fd_get(&here), F_GETFL);
    CHECK_INT(fcntl(mln_tcp_conn_fd_get(&here), F_SETFL, flags | O_NONBLOCK), 0);
    CHECK_INT(here.nonblock, 0);
    for (i = 0; i < 300; i++)
        queue_text("x", i == 299); /* more than one system call takes */
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    CHECK_INT(mln_tcp_conn_recv(&here, M_C_TYPE_MEMORY), M_C_NOTYET);
    CHECK_INT(here.nonblock, 1);
    mln_tcp_conn_append(&here, memory_node(stream, sizeof stream, MARKED), M_C_SEND);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_NOTYET);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_NOTYET);

    /* And the other way round: one piece, instead of waiting for ever for the end. */
    CHECK_INT(fcntl(mln_tcp_conn_fd_get(&here), F_SETFL, flags), 0);
    CHECK_INT(write(mln_tcp_conn_fd_get(&there), "back", 4), 4);
    CHECK_INT(mln_tcp_conn_recv(&here, M_C_TYPE_MEMORY), M_C_NOTYET);
    CHECK_INT(here.nonblock, 0);
    CHECK_INT(mln_buf_size(mln_tcp_conn_head(&here, M_C_RECV)->buf), 4);
    close_pair();
}

static void receiving_reports_the_end_behind_the_data(void)
{
    static char stream[10000];
    size_t i;

    for (i = 0; i < sizeof stream; i++)
        stream[i] = stream_byte(i);
    connect_pair();
    CHECK_INT(write(mln_tcp_conn_fd_get(&here), stream, sizeof stream), sizeof stream);

    /* Blocking: piece by piece. */
    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_MEMORY), M_C_NOTYET);
    CHECK_INT(queue_length(&there, M_C_RECV), 1);
    CHECK_INT(mln_buf_size(mln_tcp_conn_head(&there, M_C_RECV)->buf), 4096);

    CHECK_INT(mln_tcp_conn_set_nonblock(&there, 1), 0);
    CHECK_INT(shutdown(mln_tcp_conn_fd_get(&here), SHUT_WR), 0);
    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_MEMORY), M_C_CLOSED);
    CHECK_INT(queue_length(&there, M_C_RECV), 3);
    CHECK_INT(take_stream(0), sizeof stream);
    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_MEMORY), M_C_CLOSED);
    CHECK_INT(mln_tcp_conn_set_nonblock(&there, 0), 0);
    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_MEMORY), M_C_CLOSED);
    CHECK(mln_tcp_conn_recv_empty(&there));
    close_pair();
}

static void failures_are_errors_with_a_cause(void)
{
    mln_tcp_conn_t none;
    mln_alloc_t *full, *pool;

    connect_pair();
    CHECK_INT(mln_tcp_conn_init(&none, -1), 0);
    CHECK_INT(mln_tcp_conn_recv(&none, M_C_TYPE_MEMORY), M_C_ERROR);
    CHECK_INT(errno, EBADF);
    CHECK_INT(mln_tcp_conn_send(&none), M_C_NOTYET);
    mln_tcp_conn_append(&none, memory_node("x", 1, MARKED), M_C_SEND);
    CHECK_INT(mln_tcp_conn_send(&none), M_C_ERROR);
    CHECK_INT(errno, EBADF);
    CHECK(!mln_tcp_conn_send_empty(&none));
    mln_tcp_conn_destroy(&none);

    CHECK_INT(mln_tcp_conn_recv(&here, 0), M_C_ERROR);
    CHECK_INT(errno, EINVAL);
    CHECK_INT(mln_tcp_conn_recv(&here, M_C_TYPE_MEMORY | M_C_TYPE_FILE), M_C_ERROR);
    CHECK_INT(mln_tcp_conn_recv(&here, M_C_TYPE_FOLLOW), M_C_ERROR);
    CHECK_INT(mln_tcp_conn_recv(&here, 0x10), M_C_ERROR);

    /* Memory is short: nothing is read, nothing leaks, and it goes on when there is memory again. */
    pool = there.pool;
    full = mln_alloc_init(NULL, 200);
    CHECK_INT(write(mln_tcp_conn_fd_get(&here), "kept", 4), 4);
    there.pool = full;
    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_MEMORY), M_C_ERROR);
    CHECK_INT(errno, ENOMEM);
    CHECK_INT(mln_alloc_available_capacity(full), 200);
    there.pool = pool;
    mln_alloc_destroy(full);
    expect_received("kept");

    /* The other end is gone. */
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    CHECK_INT(shutdown(mln_tcp_conn_fd_get(&there), SHUT_RDWR), 0);
    queue_text("x", MARKED);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_ERROR);
    CHECK_INT(errno, EPIPE);
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    close_pair();
}

static void sigpipe_is_the_programs_business(void)
{
    int status;
    pid_t pid;

    connect_pair();
    CHECK_INT(shutdown(mln_tcp_conn_fd_get(&there), SHUT_RDWR), 0);
    queue_text("x", MARKED);
    pid = fork();
    CHECK(pid != -1);
    if (pid == 0) {
        mln_tcp_conn_send(&here);
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    CHECK_INT(WTERMSIG(status), SIGPIPE);
    close_pair();
}

static int alarm_fd;
static volatile sig_atomic_t alarms;

/* The second alarm ends the wait that the first one interrupted. */
static void on_alarm(int signo)
{
    (void)signo;
    if (++alarms == 2 && write(alarm_fd, "late", 4) != 4)
        _exit(3);
}

static void an_interrupted_call_goes_on(void)
{
    struct sigaction action;
    struct itimerval timer, off;

    connect_pair();
    alarm_fd = mln_tcp_conn_fd_get(&here);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm; /* without SA_RESTART */
    CHECK_INT(sigaction(SIGALRM, &action, NULL), 0);
    memset(&timer, 0, sizeof timer);
    memset(&off, 0, sizeof off);
    timer.it_value.tv_usec = timer.it_interval.tv_usec = 20000;
    CHECK_INT(setitimer(ITIMER_REAL, &timer, NULL), 0);
    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_MEMORY), M_C_NOTYET);
    CHECK_INT(setitimer(ITIMER_REAL, &off, NULL), 0);
    CHECK_INT(mln_buf_size(mln_tcp_conn_head(&there, M_C_RECV)->buf), 4);
    CHECK_INT(memcmp(mln_tcp_conn_head(&there, M_C_RECV)->buf->pos, "late", 4), 0);
    close_pair();
}

static void pipes_are_streams_too(void)
{
    int fds[2];

    CHECK_INT(pipe(fds), 0);
    CHECK_INT(mln_tcp_conn_init(&here, fds[1]), 0);
    CHECK_INT(mln_tcp_conn_init(&there, fds[0]), 0);
    queue_text("through a pipe", MARKED);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    expect_received("through a pipe");
    close_pair();
}

int main(void)
{
    int before = fd_count();

    queues_hold_nodes_in_order();
    the_mode_follows_the_descriptor();
    a_call_ends_at_a_mark(0);
    a_call_ends_at_a_mark(1);
    nodes_without_data_count_as_sent(0);
    nodes_without_data_count_as_sent(1);
    many_small_buffers_go_out();
    a_large_message_is_finished_at_its_end();
    a_mode_changed_by_others_is_noticed();
    receiving_reports_the_end_behind_the_data();
    failures_are_errors_with_a_cause();
    sigpipe_is_the_programs_business();
    an_interrupted_call_goes_on();
    pipes_are_streams_too();
    CHECK_INT(fd_count(), before);
    return 0;
}
