/*
 * A break in the middle of messages that arrived together ends the dispatch there and then; the next one goes on with
 * the very next message.
 */
#include "ipc.h"

enum { WORD = 2000, WORDS = 20000 };

static int got, breaks, expect_break;
static pid_t sender;

static void begin(mln_event_t *ev)
{
    for (int i = 0; i < WORDS; ++i)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, WORD, &i, sizeof i), 0);
}

/* After single messages, whole batches (of 256) and around them, and everything between. */
static int breaks_at(int i)
{
    return i < 600 || i % 256 < 3 || i % 256 > 253 || i % 1000 == 17 || i == WORDS - 1;
}

static void on_word(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    int i;

    (void)udata;
    CHECK_INT(expect_break, 0);
    CHECK_INT(f->pid, sender);
    CHECK_INT(len, sizeof i);
    memcpy(&i, buf, sizeof i);
    CHECK_INT(i, got);
    ++got;
    if (!breaks_at(i))
        return;
    expect_break = 1;
    ++breaks;
    if (i % 2 == 0)
        mln_event_break_set(ev);
    else
        mln_event_set_break(ev);
}

int main(void)
{
    int expected = 0;
    mln_event_t *ev;

    handle(WORD, on_word, NULL);
    ev = become_master();
    start_worker(ev, begin);
    sender = last_worker(ev)->pid;
    while (got < WORDS) {
        dispatch(ev, begin);
        CHECK_INT(expect_break, 1);
        CHECK(breaks_at(got - 1));
        expect_break = 0;
        mln_event_break_reset(ev);
    }
    for (int i = 0; i < WORDS; ++i)
        expected += breaks_at(i);
    CHECK_INT(breaks, expected);
    mln_event_free(ev);
    return 0;
}
