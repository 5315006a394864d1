/*
 * A secondary thread is the master, forking from its loop while other threads send to its workers.
 * deadline: 60s
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <pthread.h>
#include <stdatomic.h>

enum { WORKERS = 8, SENDERS = 3, EACH = 20000, NUMBER = 3000, SUM };

struct number {
    int sender, value;
};

static mln_event_t *loop;
static mln_fork_t *first_worker; /* lives as long as the test */
static atomic_int may_send, sending;
static pid_t master;
static int started, greetings, sums;

/* ---- in a worker ---- */

static int received[SENDERS], total;

static void numbered(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct number n;

    (void)f_ptr;
    (void)udata;
    CHECK_INT(len, sizeof n);
    memcpy(&n, buf, sizeof n);
    CHECK_INT(n.value, received[n.sender]); /* each sender's in their order */
    ++received[n.sender];
    if (++total == SENDERS * EACH)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, SUM, &total, sizeof total), 0);
}

static void work(void)
{
    mln_event_t *ev = mln_event_new();
    int zero = 0;

    CHECK(ev != NULL);
    CHECK_INT(gettid(), getpid()); /* whatever thread forked: here it is the only one of the program */
    mln_fork_worker_events_set(ev);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, SUM, &zero, sizeof zero), 0);
    mln_event_dispatch(ev);
    _exit(2);
}

/* ---- in the master ---- */

static void stop_if_done(mln_event_t *ev)
{
    if (greetings == WORKERS && sums == 1)
        mln_event_break_set(ev);
}

static void summed(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    CHECK_INT(len, sizeof(int));
    if (*(int *)buf == 0) {
        ++greetings;
    } else {
        CHECK_PTR(f_ptr, first_worker);
        ++sums;
    }
    stop_if_done(ev);
}

static int take_first(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    *(mln_fork_t **)data = f;
    return -1;
}

static void fork_one(mln_event_t *ev, void *data)
{
    int result = mln_fork_restart(ev);

    (void)data;
    CHECK(result >= 0);
    if (result == 0)
        return;
    if (started++ == 0) {
        CHECK_INT(mln_fork_iterate(ev, take_first, &first_worker), -1);
        atomic_store(&may_send, 1);
        while (atomic_load(&sending) < SENDERS)
            usleep(100);
    }
    if (started < WORKERS)
        CHECK(mln_event_timer_set(ev, 3, NULL, fork_one) != NULL);
}

static void *send_numbers(void *arg)
{
    struct number n = {(int)(long)arg, 0};

    while (!atomic_load(&may_send))
        usleep(100);
    atomic_fetch_add(&sending, 1);
    for (; n.value < EACH; ++n.value) {
        CHECK_INT(mln_ipc_master_send_prepare(loop, NUMBER, &n, sizeof n, first_worker), 0);
        if (n.value % 1000 == 0)
            usleep(1000);
    }
    return NULL;
}

static void *run_master(void *arg)
{
    (void)arg;
    CHECK((loop = mln_event_new()) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK(mln_event_timer_set(loop, 1, NULL, fork_one) != NULL);
    mln_event_dispatch(loop);
    if (getpid() != master)
        work();
    CHECK(gettid() != getpid());
    return NULL;
}

int main(void)
{
    pthread_t senders[SENDERS], thread;

    master = getpid();
    mln_log_logger_set(NULL);
    CHECK(mln_ipc_handler_register(NUMBER, NULL, numbered, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(SUM, summed, NULL, NULL, NULL) != NULL);
    for (long i = 0; i < SENDERS; ++i)
        CHECK_INT(pthread_create(&senders[i], NULL, send_numbers, (void *)i), 0);
    CHECK_INT(pthread_create(&thread, NULL, run_master, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    for (int i = 0; i < SENDERS; ++i)
        CHECK_INT(pthread_join(senders[i], NULL), 0);
    CHECK_INT(started, WORKERS);
    CHECK_INT(sums, 1);
    return 0;
}
