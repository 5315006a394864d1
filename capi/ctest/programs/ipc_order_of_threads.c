/*
 * What is sent arrives in that order, whoever sends it: the loop's own thread, another one with which it takes turns, and
 * after the program itself has sent what is queued.
 */
#include "ipc.h"

#include <pthread.h>
#include <semaphore.h>

enum { NUMBER = 2000, LAST, READY, ROUNDS = 5000 };

static sem_t to_other, to_loop;
static mln_event_t *loop;
static mln_fork_t *worker;
static int next_number, got;

static void send_number(void)
{
    CHECK_INT(mln_ipc_master_send_prepare(loop, NUMBER, &next_number, sizeof next_number, worker), 0);
    ++next_number;
}

static void *other(void *data)
{
    (void)data;
    for (int round = 0; round < ROUNDS; ++round) {
        CHECK_INT(sem_wait(&to_other), 0);
        for (int i = round % 5; i > 0; --i)
            send_number();
        CHECK_INT(sem_post(&to_loop), 0);
    }
    return NULL;
}

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    pthread_t thread;

    (void)buf;
    (void)len;
    (void)udata;
    loop = ev;
    worker = f;
    CHECK_INT(sem_init(&to_other, 0, 0), 0);
    CHECK_INT(sem_init(&to_loop, 0, 0), 0);
    CHECK_INT(pthread_create(&thread, NULL, other, NULL), 0);
    for (int round = 0; round < ROUNDS; ++round) {
        for (int i = round % 7; i > 0; --i)
            send_number();
        while (round % 11 == 0 && !mln_tcp_conn_send_empty(&worker->conn) && mln_tcp_conn_send(&worker->conn) == M_C_FINISH)
            ; /* all of it, or as much as the kernel takes */
        for (int i = round % 3; i > 0; --i)
            send_number();
        CHECK_INT(sem_post(&to_other), 0);
        CHECK_INT(sem_wait(&to_loop), 0);
    }
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(mln_ipc_master_send_prepare(ev, LAST, &next_number, sizeof next_number, f), 0);
}

static void on_number(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int number;

    (void)ev;
    (void)f;
    (void)udata;
    CHECK_INT(len, sizeof number);
    memcpy(&number, buf, sizeof number);
    CHECK_INT(number, got);
    ++got;
}

static void worker_last(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int sent;

    (void)f;
    (void)len;
    (void)udata;
    memcpy(&sent, buf, sizeof sent);
    CHECK_INT(got, sent);
    CHECK(got > ROUNDS);
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
    handle(NUMBER, NULL, on_number);
    handle(LAST, break_on_message, worker_last);
    ev = become_master();
    start_worker(ev, begin);
    dispatch(ev, begin);
    mln_event_free(ev);
    return 0;
}
