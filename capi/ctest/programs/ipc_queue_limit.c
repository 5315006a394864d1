/*
 * With ipc_queue_limit in the configuration, sending to a worker that does not read is refused with EAGAIN when so much
 * is queued, and possible again when it reads; a message larger than the limit goes alone. What is refused costs no memory.
 */
#include "ipc.h"

#include <signal.h>

#include "framework.h"

enum { LOAD = 2000, COUNT, READY, LIMIT = 1000000, SIZE = 30000, HEADER = 8, REFUSED = 1000 };

static int sent, got, rounds;
static char larger[3 * LIMIT];
static mln_fork_t *worker_of_master;

/* Sends until it is refused. */
static void send_all(mln_event_t *ev, mln_fork_t *f)
{
    static char payload[SIZE];
    long memory;
    int result;

    fill(larger, sizeof larger, 0);
    memory = memory_kib("VmRSS");

    for (int i = 0; i < 2 * LIMIT / SIZE; ++i) {
        fill(payload, SIZE, (uint64_t)sent);
        errno = 0;
        if ((result = mln_ipc_master_send_prepare(ev, LOAD, payload, SIZE, f)) != 0)
            break;
        ++sent;
        CHECK(bytes_to_send(&f->conn) <= LIMIT);
    }
    CHECK_INT(result, -1);
    CHECK_INT(errno, EAGAIN);
    CHECK(bytes_to_send(&f->conn) > LIMIT - SIZE - HEADER);
    /* A smaller one may fit still, and one of any size does not. */
    for (int i = 0; i < REFUSED; ++i) {
        CHECK_INT(mln_ipc_master_send_prepare(ev, LOAD, larger, i % 2 == 0 ? LIMIT : SIZE, f), -1);
        CHECK_INT(errno, EAGAIN);
    }
    CHECK(memory_kib("VmRSS") <= memory + 2 * LIMIT / 1024);
}

/* The loop has written what the socket takes; there is room again, but for that much only. */
static void send_more(mln_event_t *ev, void *data)
{
    (void)data;
    send_all(ev, worker_of_master);
    CHECK_INT(kill(worker_of_master->pid, SIGCONT), 0);
}

static void ask(mln_event_t *ev, void *data)
{
    if (bytes_to_send(&worker_of_master->conn) > 0)
        CHECK(mln_event_timer_set(ev, 5, data, ask) != NULL);
    else
        CHECK_INT(mln_ipc_master_send_prepare(ev, COUNT, NULL, 0, worker_of_master), 0);
}

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    worker_of_master = f;
    CHECK_INT(kill(worker_of_master->pid, SIGSTOP), 0);
    send_all(ev, f);
    CHECK(mln_event_timer_set(ev, 50, NULL, send_more) != NULL);
    CHECK(mln_event_timer_set(ev, 51, NULL, ask) != NULL);
}

static void on_load(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    CHECK(filled(buf, len, (uint64_t)got));
    ++got;
}

static void worker_count_asked(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, COUNT, &got, sizeof got), 0);
}

static void on_count(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int n;

    (void)udata;
    CHECK_INT(len, sizeof n);
    memcpy(&n, buf, sizeof n);
    CHECK_INT(n, sent);
    if (rounds++ > 0) {
        mln_event_break_set(ev);
        return;
    }
    fill(larger, sizeof larger, (uint64_t)sent++);
    CHECK_INT(mln_ipc_master_send_prepare(ev, LOAD, larger, sizeof larger, f), 0);
    CHECK_INT(mln_ipc_master_send_prepare(ev, LOAD, larger, 0, f), -1);
    CHECK_INT(errno, EAGAIN);
    ask(ev, NULL);
}

static int prepare(void)
{
    mln_conf_item_t item;

    configure_workers(1);
    memset(&item, 0, sizeof item);
    item.type = CONF_INT;
    item.val.i = LIMIT;
    configure("ipc_queue_limit", &item);
    handle(LOAD, NULL, on_load);
    handle(COUNT, on_count, worker_count_asked);
    handle(READY, on_ready, NULL);
    return 0;
}

static void begin(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, READY, NULL, 0), 0);
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, NULL, begin};

    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(rounds, 2);
    remove_log();
    return 0;
}
