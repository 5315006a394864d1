/*
 * What a worker wrote before it ended, in whatever way, arrives before its end is acted on: many small messages, and one
 * that takes several reads; also when each is answered, and the answers find nobody.
 */
#include "ipc.h"

#include <signal.h>

enum { HELLO = 2000, GO, SMALL, LARGE, ANSWER, MANY = 2000, SIZE = 150000, WAYS = 4 };

static int way; /* how the worker of this moment ends */
static int small, large, refused;
static pid_t speaker;

static void begin(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
}

/* The predecessor of one that says hello has been heard to the end. */
static void on_hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)buf;
    (void)len;
    (void)udata;
    CHECK_INT(worker_count(ev), 1);
    if (speaker != 0) {
        CHECK(f->pid != speaker);
        CHECK_INT(small, MANY);
        CHECK_INT(large, 1);
        small = large = 0;
        if (++way == WAYS) {
            mln_event_break_set(ev);
            return;
        }
    }
    speaker = f->pid;
    CHECK_INT(mln_ipc_master_send_prepare(ev, GO, &way, sizeof way, f), 0);
}

static void end(mln_event_t *ev, void *data)
{
    char *frame;

    if (bytes_to_send(mln_fork_get_master_connection()) > 0) { /* not all is written yet */
        CHECK(mln_event_timer_set(ev, 1, data, end) != NULL);
        return;
    }
    switch ((intptr_t)data) {
    case 0:
        exit(0);
    case 1:
        _exit(3);
    case 2:
        raise(SIGKILL);
        break;
    default: /* half a message is not one */
        frame = calloc(1, SIZE + 8);
        CHECK(frame != NULL);
        write_bytes(mln_fork_get_master_connection()->sockfd, frame, (size_t)(put_frame(frame, SMALL, frame, 4) - frame) - 1);
        raise(SIGSEGV);
    }
}

static void on_go(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    static char payload[SIZE];
    int mode;

    (void)f;
    (void)udata;
    CHECK_INT(len, sizeof mode);
    memcpy(&mode, buf, sizeof mode);
    (void)signal(SIGSEGV, SIG_DFL);
    for (int i = 0; i < MANY; ++i)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, SMALL, &i, sizeof i), 0);
    fill(payload, SIZE, SIZE);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, LARGE, payload, SIZE), 0);
    CHECK(mln_event_timer_set(ev, 0, (void *)(intptr_t)mode, end) != NULL);
}

static void on_small(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    int i;

    (void)udata;
    CHECK_INT(f->pid, speaker);
    CHECK_INT(worker_count(ev), 1);
    CHECK_INT(len, sizeof i);
    memcpy(&i, buf, sizeof i);
    CHECK_INT(i, small);
    if (++small == 1) /* so that the rest and the end of the process are there together */
        usleep(100000);
    if (mln_ipc_master_send_prepare(ev, ANSWER, buf, len, f) == 0)
        return;
    CHECK_INT(errno, EPIPE);
    ++refused;
}

static void on_large(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)ev;
    (void)udata;
    CHECK_INT(f->pid, speaker);
    CHECK_INT(small, MANY);
    CHECK_INT(len, SIZE);
    CHECK(filled(buf, len, SIZE));
    ++large;
}

int main(void)
{
    mln_event_t *ev;

    handle(HELLO, on_hello, NULL);
    handle(GO, NULL, on_go);
    handle(SMALL, on_small, NULL);
    handle(LARGE, on_large, NULL);
    ev = become_master();
    start_worker(ev, begin);
    dispatch(ev, begin);
    CHECK_INT(way, WAYS);
    CHECK(refused > 0);
    mln_event_free(ev);
    return 0;
}
