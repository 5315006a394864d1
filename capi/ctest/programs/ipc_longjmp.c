/*
 * A handler of a message may leave by longjmp, in the master and in a worker: the next dispatch goes on with the message
 * behind it, and none is lost or delivered twice.
 */
#include "ipc.h"

#include <setjmp.h>

enum { WORD = 2000, ECHO, LAST, WORDS = 2000 };

static jmp_buf place;
static uint32_t number; /* of the message whose handler has jumped */

static void jump(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    CHECK_INT(len, sizeof number);
    memcpy(&number, buf, sizeof number);
    longjmp(place, 1);
}

/* Dispatches until a handler jumps or the loop is broken; 1 if one has jumped. */
static int jumped(mln_event_t *ev)
{
    if (setjmp(place) != 0)
        return 1;
    mln_event_dispatch(ev);
    return 0;
}

__attribute__((noreturn)) static void echo_all(mln_event_t *parents)
{
    mln_event_t *ev;

    mln_event_free(parents);
    CHECK((ev = mln_event_new()) != NULL);
    mln_fork_worker_events_set(ev);
    for (uint32_t i = 0; i < WORDS; ++i) {
        CHECK(jumped(ev));
        CHECK_INT(number, i);
        CHECK_INT(mln_ipc_worker_send_prepare(ev, ECHO, &i, sizeof i), 0);
    }
    CHECK_INT(mln_ipc_worker_send_prepare(ev, LAST, NULL, 0), 0);
    CHECK(!jumped(ev)); /* the master ends, and so does this process */
    exit(1);
}

int main(void)
{
    mln_event_t *ev;
    int result;

    handle(WORD, NULL, jump);
    handle(ECHO, jump, NULL);
    handle(LAST, break_on_message, NULL);
    ev = become_master();
    CHECK((result = mln_fork_restart(ev)) >= 0);
    if (result == 0)
        echo_all(ev);
    for (uint32_t i = 0; i < WORDS; ++i)
        CHECK_INT(mln_ipc_master_send_prepare(ev, WORD, &i, sizeof i, last_worker(ev)), 0);
    for (uint32_t i = 0; i < WORDS; ++i) {
        CHECK(jumped(ev));
        CHECK_INT(number, i);
    }
    CHECK(!jumped(ev));
    mln_event_free(ev);
    return 0;
}
