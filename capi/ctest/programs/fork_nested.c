/*
 * Workers that are masters themselves, five deep: each exchanges messages with its parent and its own worker, and with
 * the first master all of them end.
 * deadline: 60s
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

enum { DEPTH = 5, TURNS = 50, HELLO = 3000, PING, PONG, DONE };

struct hello {
    pid_t pid, parent;
    int level, descriptors, workers;
};

static int level;         /* 0: the first master */
static int descriptors;   /* of the worker above, as it said */
static int turns, hellos, done_below;

static int count(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    CHECK(f->pid > 0);
    ++*(int *)data;
    return 0;
}

static int worker_count(mln_event_t *ev)
{
    int n = 0;

    CHECK_INT(mln_fork_iterate(ev, count, &n), 0);
    return n;
}

/* ---- as a master ---- */

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    struct hello h;
    int turn = 0;

    (void)udata;
    CHECK_INT(len, sizeof h);
    memcpy(&h, buf, sizeof h);
    CHECK_INT(h.pid, f->pid);
    CHECK_INT(h.parent, getpid());
    CHECK_INT(h.level, level + 1);
    CHECK_INT(h.workers, 0);
    CHECK_INT(++hellos, 1); /* it was never started again */
    /* Nothing of a worker's ancestors stays open, however deep it is. */
    if (level >= 1)
        CHECK_INT(h.descriptors, descriptors);
    CHECK_INT(mln_ipc_master_send_prepare(ev, PING, &turn, sizeof turn, f), 0);
}

static void ponged(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    int turn;

    (void)udata;
    CHECK_INT(len, sizeof turn);
    memcpy(&turn, buf, sizeof turn);
    CHECK_INT(turn, turns);
    ++turns;
    if (++turn < TURNS)
        CHECK_INT(mln_ipc_master_send_prepare(ev, PING, &turn, sizeof turn, f_ptr), 0);
}

static void finished(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    int below;

    (void)f_ptr;
    (void)udata;
    CHECK_INT(len, sizeof below);
    memcpy(&below, buf, sizeof below);
    CHECK_INT(below, DEPTH - level - 1);
    CHECK_INT(turns, TURNS);
    CHECK_INT(worker_count(ev), 1);
    CHECK_INT(child_count(), 1);
    done_below = below + 1;
    if (level == 0)
        mln_event_break_set(ev);
    else
        CHECK_INT(mln_ipc_worker_send_prepare(ev, DONE, &done_below, sizeof done_below), 0);
}

/* ---- as a worker ---- */

static void pinged(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    int turn, none_below = 0;

    (void)udata;
    CHECK_INT(((mln_fork_t *)f_ptr)->pid, getpid());
    CHECK_INT(len, sizeof turn);
    memcpy(&turn, buf, sizeof turn);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, PONG, buf, len), 0);
    if (turn == TURNS - 1 && level == DEPTH)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, DONE, &none_below, sizeof none_below), 0);
}

/* ---- as both ---- */

static void fork_next(mln_event_t *ev, void *data)
{
    pid_t parent = getpid();
    int result = mln_fork_restart(ev);

    (void)data;
    CHECK(result >= 0);
    CHECK_INT(result == 0, getpid() != parent);
    if (result == 1) {
        CHECK_INT(worker_count(ev), 1);
        return;
    }
    CHECK_INT(worker_count(ev), 0);
    ++level;
    turns = hellos = 0;
}

static void run_level(void)
{
    mln_event_t *ev = mln_event_new();
    int mine = level;

    CHECK(ev != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    if (level > 0) {
        struct hello h = {getpid(), getppid(), level, fd_count(), worker_count(ev)};

        descriptors = h.descriptors;
        CHECK(mln_fork_master_connection_get()->sockfd >= 0);
        mln_fork_worker_events_set(ev);
        CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, &h, sizeof h), 0);
    }
    if (level < DEPTH)
        CHECK(mln_event_timer_set(ev, 0, NULL, fork_next) != NULL);
    mln_event_dispatch(ev);
    mln_event_free(ev); /* in a child: its parent's */
    if (level == mine)
        CHECK_INT(level, 0);
    else
        CHECK_INT(level, mine + 1);
}

int main(void)
{
    mln_log_logger_set(NULL);
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(PING, NULL, pinged, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(PONG, ponged, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(DONE, finished, NULL, NULL, NULL) != NULL);
    do
        run_level();
    while (done_below == 0);
    CHECK_INT(level, 0);
    CHECK_INT(done_below, DEPTH);
    return 0;
}
