/*
 * A worker that is stopped costs its master nothing but the memory of what is sent to it: 200 MB are queued while the
 * master's loop goes on, and arrive when the worker does. The next flood needs no more memory.
 *
 * deadline: 120s
 */
#include "ipc.h"

#include <signal.h>

enum { LOAD = 2000, LAST, READY, FLOODS = 3, LOADS = 200, SIZE = 1000000, PASSED = 3000000 /* what a socket may hold, generously */ };
enum { QUEUED_KIB = LOADS * (SIZE / 1024 + 1), SLACK_KIB = 4096 };

static mln_fork_t *worker;
static int got, ticks, floods;
static long cpu_before, memory_before, memory_most;

/* A loop that tried again and again to write would use all of this time. */
static void tick(mln_event_t *ev, void *data)
{
    if (++ticks < 50) {
        CHECK(mln_event_timer_set(ev, 10, data, tick) != NULL);
        return;
    }
    CHECK(cpu_ms() - cpu_before < 250);
    CHECK(bytes_to_send(&worker->conn) > (size_t)LOADS * SIZE - PASSED);
    if (floods == 1)
        memory_most = memory_before + QUEUED_KIB + QUEUED_KIB / 16;
    CHECK(memory_kib("VmRSS") <= memory_most);
    memory_most = memory_kib("VmRSS") + SLACK_KIB;
    CHECK_INT(kill(worker->pid, SIGCONT), 0);
}

static void flood(mln_event_t *ev)
{
    static char payload[SIZE];

    ++floods;
    ticks = 0;
    CHECK_INT(kill(worker->pid, SIGSTOP), 0);
    for (int i = 0; i < LOADS; ++i) {
        fill(payload, SIZE, (uint64_t)i);
        CHECK_INT(mln_ipc_master_send_prepare(ev, LOAD, payload, SIZE, worker), 0);
    }
    CHECK_INT(mln_ipc_master_send_prepare(ev, LAST, NULL, 0, worker), 0);
    cpu_before = cpu_ms() + 10;
    CHECK(mln_event_timer_set(ev, 10, NULL, tick) != NULL);
}

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    worker = f;
    memory_before = memory_kib("VmRSS");
    flood(ev);
}

static void master_last(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_PTR(f, worker);
    CHECK_INT(bytes_to_send(&worker->conn), 0);
    if (floods == FLOODS)
        mln_event_break_set(ev);
    else
        flood(ev);
}

static void on_load(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    CHECK_INT(len, SIZE);
    CHECK(filled(buf, len, (uint64_t)got));
    ++got;
}

static void worker_last(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_INT(got, LOADS);
    got = 0;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, LAST, NULL, 0), 0);
}

static void begin(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, READY, NULL, 0), 0);
}

int main(void)
{
    mln_event_t *ev;

    handle(READY, on_ready, NULL);
    handle(LOAD, NULL, on_load);
    handle(LAST, master_last, worker_last);
    ev = become_master();
    start_worker(ev, begin);
    dispatch(ev, begin);
    CHECK_INT(floods, FLOODS);
    mln_event_free(ev);
    return 0;
}
