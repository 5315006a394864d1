/*
 * A handler of a message may dispatch in its turn: further messages arrive meanwhile, in order, its own one stays as it
 * is, and memory is not gathered.
 *
 * deadline: 60s
 */
#include "ipc.h"

enum { WORD = 2000, DEEPER, UP, LAST, DEPTH = 3, EACH = 2000, WORDS = 2 * DEPTH * EACH, SIZE = 20000, MOST_KIB = 40 << 10 };

static int got, depth;
static long resident;

/* Down DEPTH levels with many words before each way down and each way up. */
static void begin(mln_event_t *ev)
{
    static char payload[SIZE];
    int number = 0;

    for (int turn = 0; turn < 2 * DEPTH; ++turn) {
        for (int i = 0; i < EACH; ++i, ++number) {
            size_t size = (size_t)(i * 7919 % SIZE);

            fill(payload, size, (uint64_t)number);
            CHECK_INT(mln_ipc_worker_send_prepare(ev, WORD, payload, size), 0);
        }
        fill(payload, SIZE, (uint64_t)turn);
        CHECK_INT(mln_ipc_worker_send_prepare(ev, turn < DEPTH ? DEEPER : UP, payload, SIZE), 0);
    }
    CHECK_INT(mln_ipc_worker_send_prepare(ev, LAST, NULL, 0), 0);
}

static void on_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    CHECK_INT(len, got % EACH * 7919 % SIZE);
    CHECK(filled(buf, len, (uint64_t)got));
    if (++got % 100 == 0)
        CHECK(memory_kib("VmRSS") - resident < MOST_KIB);
}

static void on_deeper(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int level = depth++;

    (void)f;
    (void)udata;
    CHECK_INT(got, depth * EACH);
    CHECK_INT(len, SIZE);
    CHECK(filled(buf, len, (uint64_t)level));
    mln_event_dispatch(ev);
    CHECK_INT(depth, level);
    CHECK_INT(len, SIZE);
    CHECK(filled(buf, len, (uint64_t)level));
    CHECK_INT(got, WORDS - level * EACH);
}

static void on_up(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK(filled(buf, len, (uint64_t)(2 * DEPTH - depth)));
    --depth;
    mln_event_set_break(ev); /* this level alone */
}

int main(void)
{
    mln_event_t *ev;

    handle(WORD, on_word, NULL);
    handle(DEEPER, on_deeper, NULL);
    handle(UP, on_up, NULL);
    handle(LAST, break_on_message, NULL);
    ev = become_master();
    start_worker(ev, begin);
    resident = memory_kib("VmRSS");
    dispatch(ev, begin);
    CHECK_INT(got, WORDS);
    CHECK_INT(depth, 0);
    mln_event_free(ev);
    return 0;
}
