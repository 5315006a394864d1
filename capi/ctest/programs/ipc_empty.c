/*
 * A message without payload arrives, in both directions, as length 0 and a pointer that is not NULL, in its place among
 * others.
 */
#include "ipc.h"

enum { EMPTY = 2000, BYTE, ROUNDS = 100 };

static int empties, bytes;

static void on_empty(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    CHECK(buf != NULL);
    CHECK_INT((uintptr_t)buf % 8, 0);
    CHECK_INT(len, 0);
    ++empties;
}

/* Each is sent between two empty ones. */
static void on_byte(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    CHECK_INT(len, 1);
    CHECK_INT(*(unsigned char *)buf, bytes);
    ++bytes;
    CHECK_INT(empties, 2 * bytes - 1);
}

static void answer(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    static unsigned char n;

    on_byte(ev, f, buf, len, udata);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, EMPTY, NULL, 0), 0);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, BYTE, &n, 1), 0);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, EMPTY, &n, 0), 0);
    ++n;
}

static void count(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    on_empty(ev, f, buf, len, udata);
    if (empties == 2 * ROUNDS)
        mln_event_break_set(ev);
}

int main(void)
{
    mln_event_t *ev;
    mln_fork_t *f;

    handle(EMPTY, count, on_empty);
    handle(BYTE, on_byte, answer);
    ev = become_master();
    start_worker(ev, NULL);
    f = last_worker(ev);
    for (unsigned char i = 0; i < ROUNDS; ++i) {
        CHECK_INT(mln_ipc_master_send_prepare(ev, EMPTY, NULL, 0, f), 0);
        CHECK_INT(mln_ipc_master_send_prepare(ev, BYTE, &i, 1, f), 0);
        CHECK_INT(mln_ipc_master_send_prepare(ev, EMPTY, &i, 0, f), 0);
    }
    dispatch(ev, NULL);
    CHECK_INT(bytes, ROUNDS);
    CHECK_INT(empties, 2 * ROUNDS);
    mln_event_free(ev);
    return 0;
}
