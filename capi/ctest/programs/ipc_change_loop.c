/*
 * A channel that changes its loop loses nothing: neither messages that were broken off in the middle of a batch, nor the
 * first half of one, nor what is still to be written.
 */
#include "ipc.h"

enum { WORD = 2000, ANSWER, WORDS = 3000, STEP = 37, LARGE = 100000 };

static int got, answers;

static size_t size_of(int i)
{
    return i % 50 == 7 ? LARGE : sizeof i + (size_t)i % 13;
}

static void send_word(mln_event_t *ev, mln_u32_t type, int i)
{
    static char payload[LARGE];

    fill(payload, size_of(i), (uint64_t)i);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, type, payload, size_of(i)), 0);
}

static void begin(mln_event_t *ev)
{
    for (int i = 0; i < WORDS; ++i)
        send_word(ev, WORD, i);
}

/* Each word is sent back as it came. */
static void on_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    CHECK_INT(len, size_of(got));
    CHECK(filled(buf, len, (uint64_t)got));
    CHECK_INT(mln_ipc_master_send_prepare(ev, ANSWER, buf, len, f), 0);
    if (++got % STEP == 0 || got == WORDS)
        mln_event_break_set(ev);
}

static void on_answer(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(len, size_of(answers));
    CHECK(filled(buf, len, (uint64_t)answers));
    if (++answers == WORDS)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, ANSWER, NULL, 0), 0);
}

int main(void)
{
    mln_event_t *ev, *other;

    handle(WORD, on_word, NULL);
    handle(ANSWER, break_on_message, on_answer);
    ev = become_master();
    start_worker(ev, begin);
    while (got < WORDS) {
        dispatch(ev, begin);
        other = mln_event_new();
        CHECK(other != NULL);
        if (got / STEP % 2 == 0) /* the old loop goes first, or afterwards */
            mln_event_free(ev);
        mln_fork_master_events_set(other);
        if (got / STEP % 2 != 0)
            mln_event_free(ev);
        ev = other;
    }
    dispatch(ev, begin);
    CHECK_INT(worker_count(ev), 1);
    mln_event_free(ev);
    return 0;
}
