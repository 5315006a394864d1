/*
 * Payloads of every size are aligned to 8 bytes, whatever came before them in the stream.
 */
#include "ipc.h"

enum { WORD = 2000, LAST, MOST = 71, ROUNDS = 20 };

static int got;

static mln_u32_t size_of(int i)
{
    return (mln_u32_t)(i * 37 % (MOST + 1));
}

static void on_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    CHECK_INT((uintptr_t)buf % 8, 0);
    CHECK_INT(len, size_of(got));
    CHECK(filled(buf, len, (uint64_t)got));
    ++got;
}

static void echo(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    on_word(ev, f, buf, len, udata);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, WORD, buf, len), 0);
}

static void echo_last(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, LAST, buf, len), 0);
}

int main(void)
{
    mln_event_t *ev;
    char payload[MOST];

    handle(WORD, on_word, echo);
    handle(LAST, break_on_message, echo_last);
    ev = become_master();
    start_worker(ev, NULL);
    for (int i = 0; i < ROUNDS * (MOST + 1); ++i) {
        fill(payload, size_of(i), (uint64_t)i);
        CHECK_INT(mln_ipc_master_send_prepare(ev, WORD, payload, size_of(i), last_worker(ev)), 0);
    }
    CHECK_INT(mln_ipc_master_send_prepare(ev, LAST, NULL, 0, last_worker(ev)), 0);
    dispatch(ev, NULL);
    CHECK_INT(got, ROUNDS * (MOST + 1));
    mln_event_free(ev);
    return 0;
}
