/*
 * messages.c - two processes, with the C API: each message is sent by a call of its own and comes to a call of its
 * handler. Options and results are those of the floor's program of this name.
 */
#include "processes.h"

enum { DATA = 2000, ACK, GO, RESULT };

/* How many bytes are sent in one go. */
enum { PIECE = 256 << 10 };

static size_t size;
static uint64_t count, acknowledge, warm;
static int direction, ping;

static int in_worker;
static mln_fork_t *worker;
static char *message;
static struct samples samples;

static uint64_t due;                  /* of the stream at hand: how many messages */
static uint64_t sent, acknowledged;   /* of those */
static uint64_t received, start, time_taken;
static int results;                   /* how many ends are through with it */

static void send_to_other(mln_event_t *ev, mln_u32_t type, void *bytes, size_t n)
{
    if (in_worker)
        MUST(mln_ipc_worker_send_prepare(ev, type, bytes, n));
    else
        MUST(mln_ipc_master_send_prepare(ev, type, bytes, n, worker));
}

/* ---- round trips ---- */

static void ask(mln_event_t *ev)
{
    stamp(message, size, sent++);
    start = now();
    send_to_other(ev, DATA, message, size);
}

static void on_answer(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    check(buf, len, size, sent - 1);
    if (sent > warm)
        samples_add(&samples, now() - start);
    if (sent == count + warm)
        mln_event_break_set(ev);
    else
        ask(ev);
}

static void on_question(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    check(buf, len, size, received++);
    send_to_other(ev, DATA, buf, len);
}

/* ---- streams ---- */

static int sends(void)
{
    return (direction & (in_worker ? UP : DOWN)) != 0;
}

static int receives(void)
{
    return (direction & (in_worker ? DOWN : UP)) != 0;
}

static void send_some(mln_event_t *ev)
{
    uint64_t until = due;

    if (acknowledge != 0 && until > acknowledged + acknowledge)
        until = acknowledged + acknowledge;
    for (; sent < until; ++sent) {
        if (sent == 0)
            stamp_time(message, now());
        stamp(message, size, sent);
        send_to_other(ev, DATA, message, size);
    }
}

/* In pieces, whenever the socket can take more: so the other end receives meanwhile, and little has to be queued. */
static void send_piece(mln_event_t *ev, int writable, void *data)
{
    mln_tcp_conn_t *connection = in_worker ? mln_fork_master_connection_get() : &worker->conn;
    uint64_t most = sent + (size >= PIECE ? 1 : PIECE / size), all = due;

    (void)data;
    if (mln_tcp_conn_send_empty(connection)) {
        due = most < due ? most : due;
        send_some(ev);
        due = all;
    }
    if (sent == due) {
        MUST(mln_event_fd_set(ev, writable, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL));
        close(writable);
    }
}

static void send_pieces(mln_event_t *ev)
{
    /* A descriptor of its own: on the connection's the loop itself waits for this. */
    int writable = dup(in_worker ? mln_fork_master_connection_get()->sockfd : worker->conn.sockfd);

    MUST(writable);
    MUST(mln_event_fd_set(ev, writable, M_EV_SEND | M_EV_NONBLOCK, M_EV_UNLIMITED, NULL, send_piece));
}

static void begin_stream(mln_event_t *ev, uint64_t n)
{
    due = n;
    sent = acknowledged = received = 0;
    time_taken = 0;
    results = 0;
    if (!in_worker)
        send_to_other(ev, GO, &n, sizeof n);
    if (!sends())
        return;
    if (acknowledge != 0)
        send_some(ev);
    else
        send_pieces(ev);
}

static void on_go(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    uint64_t n;

    (void)f;
    (void)udata;
    EXPECT(len == sizeof n);
    memcpy(&n, buf, sizeof n);
    begin_stream(ev, n);
}

/* In the master: an end has received all that was due. */
static void finished(mln_event_t *ev, uint64_t time)
{
    time_taken = time > time_taken ? time : time_taken;
    if (++results < (direction == BOTH ? 2 : 1))
        return;
    if (due == warm)
        begin_stream(ev, count);
    else
        mln_event_break_set(ev);
}

static void on_result(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    uint64_t time;

    (void)f;
    (void)udata;
    EXPECT(len == sizeof time);
    memcpy(&time, buf, sizeof time);
    finished(ev, time);
}

static void on_data(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    EXPECT(receives());
    check(buf, len, size, received);
    if (received++ == 0)
        start = stamped_time(buf);
    if (acknowledge != 0 && received % acknowledge == 0)
        send_to_other(ev, ACK, &received, sizeof received);
    if (received == due) {
        uint64_t time = now() - start;

        if (in_worker)
            send_to_other(ev, RESULT, &time, sizeof time);
        else
            finished(ev, time);
    }
}

static void on_ack(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    EXPECT(len == sizeof acknowledged);
    memcpy(&acknowledged, buf, sizeof acknowledged);
    EXPECT(acknowledged == sent);
    send_some(ev);
}

static void start_work(mln_event_t *ev)
{
    (void)ev;
    in_worker = 1;
}

int main(int argc, char **argv)
{
    mln_event_t *ev;

    begin(argc, argv);
    ping = option_is(argc, argv, "do", "ping");
    size = (size_t)option(argc, argv, "size", 64);
    count = (uint64_t)option(argc, argv, "count", 10000);
    acknowledge = (uint64_t)option(argc, argv, "acknowledge", 0);
    direction = (int)option(argc, argv, "direction", DOWN);
    warm = count / 10;
    message = calloc(1, size);
    handle(DATA, ping ? on_answer : on_data, ping ? on_question : on_data);
    handle(ACK, on_ack, on_ack);
    handle(GO, NULL, on_go);
    handle(RESULT, on_result, NULL);
    ev = become_master();
    start_worker(ev, start_work);
    worker = last_worker(ev);
    if (ping)
        ask(ev);
    else
        begin_stream(ev, warm);
    run_master(ev, start_work);
    if (ping)
        report_samples(&samples);
    else
        report_stream(count * (direction == BOTH ? 2 : 1), time_taken);
    report_end();
    return 0;
}
