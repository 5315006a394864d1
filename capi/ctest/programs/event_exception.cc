/*
 * A handler may throw: the exception is caught around mln_event_dispatch(), and the loop goes on being usable.
 */
#include "check.h"
#include "events.h"

#include <stdexcept>
#include <string>

#include "mln_connection.h"
#include "mln_ipc.h"

namespace {

struct failure : std::runtime_error {
    explicit failure(int n) : std::runtime_error("failure " + std::to_string(n)), number(n) {}
    int number;
};

int destroyed;

struct guard {
    ~guard() { ++destroyed; }
};

void throw_byte(mln_event_t *ev, int fd, void *data)
{
    guard here;
    int *calls = static_cast<int *>(data);

    count_byte(ev, fd, data);
    throw failure(*calls);
}

void throw_timer(mln_event_t *, void *data)
{
    guard here;
    throw failure(++*static_cast<int *>(data));
}

void throw_signal(mln_event_t *, int signo, void *data)
{
    guard here;
    CHECK_INT(signo, SIGUSR1);
    throw failure(++*static_cast<int *>(data));
}

void throw_round(mln_event_t *ev, void *data)
{
    guard here;
    mln_event_callback_set(ev, NULL, NULL);
    throw failure(++*static_cast<int *>(data));
}

void throw_timeout(mln_event_t *, int, void *data)
{
    guard here;
    throw failure(++*static_cast<int *>(data));
}

int caught(mln_event_t *ev)
{
    try {
        mln_event_dispatch(ev);
    } catch (const failure &f) {
        return f.number;
    }
    return 0;
}

/* Reads through a connection of the library, in a handler that throws what it read. */
void throw_message(mln_event_t *, int, void *data)
{
    mln_tcp_conn_t *conn = static_cast<mln_tcp_conn_t *>(data);
    std::string text;

    int result = mln_tcp_conn_recv(conn, M_C_TYPE_MEMORY);
    CHECK(result == M_C_NOTYET || result == M_C_CLOSED);
    for (mln_chain_t *c = mln_tcp_conn_head(conn, M_C_RECV); c != NULL; c = c->next)
        text.append(reinterpret_cast<const char *>(c->buf->left_pos), mln_buf_left_size(c->buf));
    throw std::runtime_error(text);
}

void through_a_connection(mln_event_t *ev)
{
    mln_tcp_conn_t conn;
    int ends[2];

    make_sockets(ends);
    CHECK_INT(mln_tcp_conn_init(&conn, ends[0]), 0);
    CHECK_INT(write(ends[1], "hello", 5), 5);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV | M_EV_NONBLOCK, M_EV_UNLIMITED, &conn, throw_message), 0);
    std::string message;
    try {
        mln_event_dispatch(ev);
    } catch (const std::runtime_error &e) {
        message = e.what();
    }
    CHECK_STR(message.c_str(), "hello");
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    mln_tcp_conn_destroy(&conn);
    close_both(ends);
}

} // namespace

int main()
{
    int fds, calls = 0, ends[2];
    mln_event_t *ev;

    mln_event_free(new_loop()); /* the engine has opened what it needs */
    fds = fd_count();
    ev = new_loop();
    make_pipe(ends);
    for (int i = 0; i < 100; ++i)
        put_byte(ends[1]);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, M_EV_UNLIMITED, &calls, throw_byte), 0);
    for (int i = 1; i <= 100; ++i)
        CHECK_INT(caught(ev), i);
    CHECK(mln_event_timer_set(ev, 0, &calls, throw_timer) != NULL);
    CHECK_INT(caught(ev), 101);
    CHECK_INT(destroyed, 101);
    run_for(ev, 10);
    CHECK_INT(calls, 101);

    CHECK_INT(mln_event_set_signal(ev, M_EV_SET, SIGUSR1, &calls, throw_signal), 0);
    for (int i = 0; i < 5; ++i)
        CHECK_INT(raise(SIGUSR1), 0);
    for (int i = 1; i <= 5; ++i) /* each delivery, one by one */
        CHECK_INT(caught(ev), 101 + i);
    CHECK_INT(mln_event_set_signal(ev, M_EV_UNSET, SIGUSR1, &calls, throw_signal), 0);
    mln_event_callback_set(ev, throw_round, &calls);
    CHECK_INT(caught(ev), 107);
    mln_event_fd_timeout_handler_set(ev, ends[0], &calls, throw_timeout);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV | M_EV_APPEND, 1, &calls, throw_byte), 0);
    CHECK_INT(caught(ev), 108);
    CHECK_INT(destroyed, 108);
    run_for(ev, 10);
    CHECK_INT(calls, 108);
    through_a_connection(ev);
    CHECK(mln_ipc_handler_register(7777, NULL, NULL, NULL, NULL) != NULL);
    CHECK(mln_event_timer_set(ev, 0, &calls, throw_timer) != NULL);
    CHECK_INT(caught(ev), 109);
    mln_event_free(ev);
    close_both(ends);
    CHECK_INT(fd_count(), fds);
    return 0;
}
