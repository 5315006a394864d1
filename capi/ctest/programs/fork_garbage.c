/*
 * The runtime below a loop collects its garbage while its monitor rests, in a master and in a worker, which has one processor: calls
 * that leave garbage take no more memory in the end than in the beginning, and none of them hangs. A second thread that calls the
 * library while the first one waits is not kept waiting.
 */
#include "ipc.h"
#include "processes.h"

#include <pthread.h>

enum { ROUND = 500, ROUNDS = 40, DONE = 3000, MOST_KIB = 16384 };

static int rounds;
static unsigned long long first_resident;
static mln_event_t *loop;

static void make_garbage(mln_event_t *ev, void *data)
{
    void (*done)(mln_event_t *) = *(void (**)(mln_event_t *))data;

    for (int i = 0; i < ROUND; ++i) {
        mln_event_t *other = mln_event_new();

        CHECK(other != NULL);
        CHECK(mln_event_timer_set(other, 1000, NULL, make_garbage) != NULL);
        mln_event_free(other);
    }
    if (++rounds == ROUNDS / 4)
        first_resident = status_number(0, "VmRSS", 10);
    if (rounds < ROUNDS) {
        CHECK(mln_event_timer_set(ev, 1, data, make_garbage) != NULL); /* a wait, before which the monitor is asked to rest */
        return;
    }
    CHECK(status_number(0, "VmRSS", 10) <= first_resident + MOST_KIB);
    done(ev);
}

static void stop(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

static void *call(void *data)
{
    usleep(50000); /* by then the loop waits */
    CHECK(mln_event_timer_set(loop, 0, NULL, stop) != NULL);
    return data;
}

static void in_master_done(mln_event_t *ev)
{
    mln_event_break_set(ev);
}

static void in_worker_done(mln_event_t *ev)
{
    pthread_t thread;

    loop = ev;
    CHECK_INT(pthread_create(&thread, NULL, call, NULL), 0);
    mln_event_dispatch(ev);
    CHECK_INT(pthread_join(thread, NULL), 0);
    mln_event_break_reset(ev);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, DONE, NULL, 0), 0);
}

static void begin(mln_event_t *ev)
{
    static void (*done)(mln_event_t *) = in_worker_done;

    rounds = 0;
    CHECK(mln_event_timer_set(ev, 1, &done, make_garbage) != NULL);
}

static void on_done(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    mln_event_break_set(ev);
}

int main(void)
{
    static void (*done)(mln_event_t *) = in_master_done;
    mln_event_t *ev;

    handle(DONE, on_done, NULL);
    ev = become_master();
    mln_fork_master_events_set(ev);
    CHECK(mln_event_timer_set(ev, 1, &done, make_garbage) != NULL);
    mln_event_dispatch(ev);
    mln_event_break_reset(ev);
    start_worker(ev, begin);
    dispatch(ev, begin);
    mln_event_free(ev);
    return 0;
}
