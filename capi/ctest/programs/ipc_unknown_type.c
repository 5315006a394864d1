/*
 * Messages of a type without a handler are dropped and counted in error_bytes, on both sides; those around them arrive.
 */
#include "ipc.h"

enum { KNOWN = 2000, LAST, UNKNOWN = 3000, ROUNDS = 600, HEADER = 8 };

static const size_t sizes[] = {0, 1, 12, 1000, 100000};
static int got;

/* Sends known messages with two of an unknown type before each. Returns how many bytes are to be dropped. */
static size_t send_all(mln_event_t *ev, mln_fork_t *f, int master)
{
    static char payload[100000];
    size_t dropped = 0;

    for (int i = 0; i < ROUNDS; ++i) {
        for (int k = 0; k < 3; ++k) {
            size_t size = k < 2 ? sizes[(i + k) % 5] : sizeof i;
            void *bytes = k < 2 ? (void *)payload : (void *)&i;
            mln_u32_t type = k < 2 ? UNKNOWN + (mln_u32_t)i % 7 : KNOWN;

            CHECK_INT(master ? mln_ipc_master_send_prepare(ev, type, bytes, size, f)
                             : mln_ipc_worker_send_prepare(ev, type, bytes, size), 0);
            dropped += k < 2 ? HEADER + size : 0;
        }
    }
    return dropped;
}

static void on_known(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int i;

    (void)ev;
    (void)f;
    (void)udata;
    CHECK_INT(len, sizeof i);
    memcpy(&i, buf, sizeof i);
    CHECK_INT(i, got);
    ++got;
}

/* The number of bytes that the sender knows to be dropped comes last. */
static void verify(const mln_fork_t *f, const void *buf, mln_u32_t len)
{
    size_t dropped;

    CHECK_INT(got, ROUNDS);
    CHECK_INT(len, sizeof dropped);
    memcpy(&dropped, buf, sizeof dropped);
    CHECK_INT(f->error_bytes, dropped);
}

static void worker_last(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    size_t dropped;

    (void)udata;
    verify(f, buf, len);
    dropped = send_all(ev, NULL, 0);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, LAST, &dropped, sizeof dropped), 0);
}

static void master_last(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    verify(f, buf, len);
    mln_event_break_set(ev);
}

int main(void)
{
    mln_event_t *ev;
    size_t dropped;

    handle(KNOWN, on_known, on_known);
    handle(LAST, master_last, worker_last);
    handle(UNKNOWN, NULL, NULL); /* known to have none */
    ev = become_master();
    start_worker(ev, NULL);
    dropped = send_all(ev, last_worker(ev), 1);
    CHECK_INT(mln_ipc_master_send_prepare(ev, LAST, &dropped, sizeof dropped, last_worker(ev)), 0);
    dispatch(ev, NULL);
    CHECK_INT(got, ROUNDS);
    mln_event_free(ev);
    return 0;
}
