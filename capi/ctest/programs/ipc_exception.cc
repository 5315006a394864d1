/*
 * A handler of a message may throw, in the master and in a worker: the exception is caught around mln_event_dispatch(), the
 * next dispatch goes on with the message behind it, and none is lost or delivered twice.
 */
#include "ipc.h"

#include <stdexcept>

namespace {

enum { WORD = 2000, ECHO, LAST, WORDS = 2000 };

struct failure : std::runtime_error {
    explicit failure(uint32_t n) : std::runtime_error("of a handler"), number(n) {}
    uint32_t number;
};

int destroyed;

struct guard {
    ~guard() { ++destroyed; }
};

void fail(mln_event_t *, void *, void *buf, mln_u32_t len, void **)
{
    guard here;
    uint32_t number;

    CHECK_INT(len, sizeof number);
    memcpy(&number, buf, sizeof number);
    throw failure(number);
}

/* Dispatches until a handler throws; -1 when the loop was broken. */
long long caught(mln_event_t *ev)
{
    try {
        mln_event_dispatch(ev);
    } catch (const failure &f) {
        return f.number;
    }
    return -1;
}

[[noreturn]] void echo_all(mln_event_t *parents)
{
    mln_event_free(parents);
    mln_event_t *ev = mln_event_new();
    CHECK(ev != NULL);
    mln_fork_worker_events_set(ev);
    for (uint32_t i = 0; i < WORDS; ++i) {
        CHECK_INT(caught(ev), i);
        CHECK_INT(mln_ipc_worker_send_prepare(ev, ECHO, &i, sizeof i), 0);
    }
    CHECK_INT(destroyed, WORDS);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, LAST, NULL, 0), 0);
    CHECK_INT(caught(ev), -1); /* the master ends, and so does this process */
    exit(1);
}

} // namespace

int main()
{
    handle(WORD, NULL, fail);
    handle(ECHO, fail, NULL);
    handle(LAST, break_on_message, NULL);
    mln_event_t *ev = become_master();
    int result = mln_fork_restart(ev);
    CHECK(result >= 0);
    if (result == 0)
        echo_all(ev);
    for (uint32_t i = 0; i < WORDS; ++i)
        CHECK_INT(mln_ipc_master_send_prepare(ev, WORD, &i, sizeof i, last_worker(ev)), 0);
    for (uint32_t i = 0; i < WORDS; ++i)
        CHECK_INT(caught(ev), i);
    CHECK_INT(caught(ev), -1);
    CHECK_INT(destroyed, WORDS);
    mln_event_free(ev);
    return 0;
}
