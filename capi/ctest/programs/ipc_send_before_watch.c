/*
 * What is sent before a loop was told to watch the channel arrives, and so does the answer: sending does not pass for
 * watching. So does what was sent by way of a loop that was freed since.
 *
 * env: MALLOC_PERTURB_=165
 */
#include "ipc.h"

enum { HELLO = 2000, ANSWER };

static int hellos, answers, in_worker;

static void on_hello(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    CHECK_INT(len, 6);
    CHECK_STR(buf, "hello");
    ++hellos;
    CHECK_INT(in_worker ? mln_ipc_worker_send_prepare(ev, ANSWER, buf, len)
                        : mln_ipc_master_send_prepare(ev, ANSWER, buf, len, f), 0);
    if (!in_worker && hellos == 1 && answers == 2)
        mln_event_break_set(ev);
}

static void on_answer(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(len, 6);
    CHECK_STR(buf, "hello");
    ++answers;
    if (!in_worker && hellos == 1 && answers == 2)
        mln_event_break_set(ev);
}

static void refuse(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    CHECK(!"an answer in time");
}

int main(void)
{
    static char hello[] = "hello";
    mln_event_t *ev, *other;
    int result;

    handle(HELLO, on_hello, on_hello);
    handle(ANSWER, on_answer, on_answer);
    ev = become_master();
    result = mln_fork_restart(NULL);
    CHECK(result >= 0);
    if (result == 0) {
        mln_event_free(ev);
        ev = mln_event_new();
        CHECK(ev != NULL);
        CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, hello, sizeof hello), 0);
        mln_fork_worker_events_set(ev);
        in_worker = 1;
        mln_event_dispatch(ev); /* until the master is gone */
        return 1;
    }
    CHECK_INT(mln_ipc_master_send_prepare(ev, HELLO, hello, sizeof hello, last_worker(ev)), 0);
    other = mln_event_new();
    CHECK(other != NULL);
    mln_event_free(ev);
    ev = other;
    CHECK_INT(mln_ipc_master_send_prepare(ev, HELLO, hello, sizeof hello, last_worker(ev)), 0);
    mln_fork_master_events_set(ev);
    CHECK(mln_event_timer_set(ev, 5000 * check_slowness(), NULL, refuse) != NULL);
    mln_event_dispatch(ev);
    CHECK_INT(answers, 2);
    mln_event_free(ev);
    return 0;
}
