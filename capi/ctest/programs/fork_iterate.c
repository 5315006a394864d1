/*
 * The walk over the workers: in the order of their start, until a handler says stop, over workers that end and start
 * meanwhile, and over nothing in a worker. A worker that ends is there until the walk is done, and is freed then, also where a handler
 * has left the walk by longjmp.
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <setjmp.h>

enum { WORKERS = 5, HELLO = 3000 };

struct walk {
    int visits, stop_at; /* 0: never */
    pid_t pids[4 * WORKERS];
};

static int hellos;

static int look(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct walk *w = data;

    CHECK(ev != NULL);
    w->pids[w->visits++] = f->pid;
    return w->visits == w->stop_at ? -7 : w->visits; /* what is not below 0 goes on */
}

static int close_self_and_next(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct walk *w = data;
    mln_fork_t *next = f->next;

    w->pids[w->visits++] = f->pid;
    if (w->visits == 2) {
        mln_socketpair_close_handler(ev, f, mln_tcp_conn_fd_get(&f->conn));
        CHECK(next != NULL);
        mln_socketpair_close_handler(ev, next, mln_tcp_conn_fd_get(&next->conn));
    }
    return 0;
}

static int close_all(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct walk *w = data;

    w->pids[w->visits++] = f->pid;
    mln_fork_socketpair_close_handler(ev, f, mln_tcp_conn_fd_get(&f->conn));
    return 0;
}

static void run_worker(void)
{
    mln_event_t *own = mln_event_new();
    struct walk w = {0, 0, {0}};

    CHECK(own != NULL);
    CHECK_INT(mln_fork_iterate(own, look, &w), 0);
    CHECK_INT(mln_fork_scan_all(own, look, &w), 0);
    CHECK_INT(w.visits, 0);
    mln_fork_worker_events_set(own);
    CHECK_INT(mln_ipc_worker_send_prepare(own, HELLO, NULL, 0), 0);
    mln_event_dispatch(own);
    _exit(2);
}

static void start_worker(mln_event_t *ev)
{
    int result = mln_fork_restart(ev);

    CHECK(result >= 0);
    if (result == 0)
        run_worker();
}

static int start_one_each(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct walk *w = data;

    w->pids[w->visits++] = f->pid;
    start_worker(ev);
    return 0;
}

/* Two walks, one inside the other. */
static int walk_inside(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct walk inner = {0, 0, {0}};

    CHECK_INT(mln_fork_iterate(ev, look, &inner), 0);
    CHECK_INT(inner.visits, WORKERS);
    CHECK_INT(inner.pids[((struct walk *)data)->visits++], f->pid);
    return 0;
}

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
    ++hellos;
}

static void stop(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

/* In the worker that this process becomes when one is started again by the loop, it does not return. */
static void dispatch_for(mln_event_t *ev, mln_u32_t ms)
{
    pid_t self = getpid();

    CHECK(mln_event_timer_set(ev, ms, NULL, stop) != NULL);
    mln_event_dispatch(ev);
    if (getpid() != self)
        run_worker();
    mln_event_break_reset(ev);
}

/* What is freed is looked at: the memory of so few is kept for threads that send too late. */
static int is_freed(mln_fork_t *f)
{
    return mln_tcp_conn_pool_get(&f->conn) == NULL;
}

static int close_and_dispatch(mln_event_t *ev, mln_fork_t *f, void *data)
{
    *(mln_fork_t **)data = f;
    mln_socketpair_close_handler(ev, f, mln_tcp_conn_fd_get(&f->conn));
    dispatch_for(ev, 10);
    CHECK(!is_freed(f));
    return -1;
}

static jmp_buf place;

static int close_and_jump(mln_event_t *ev, mln_fork_t *f, void *data)
{
    *(mln_fork_t **)data = f;
    mln_socketpair_close_handler(ev, f, mln_tcp_conn_fd_get(&f->conn));
    longjmp(place, 1);
}

static void walk_and_jump(mln_event_t *ev, void *data)
{
    mln_fork_iterate(ev, close_and_jump, data);
}

static void dispatch_until_jump(mln_event_t *ev, mln_fork_t **closed)
{
    pid_t self = getpid();

    if (setjmp(place) == 0) {
        CHECK(mln_event_timer_set(ev, 0, closed, walk_and_jump) != NULL);
        mln_event_dispatch(ev);
        CHECK(getpid() != self);
        run_worker();
    }
}

int main(void)
{
    mln_event_t *ev = mln_event_new();
    mln_fork_t *closed;
    struct walk first = {0, 0, {0}}, w;
    int grown;

    CHECK(ev != NULL);
    mln_log_logger_set(NULL);
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK_INT(mln_fork_iterate(ev, look, &first), 0);
    CHECK_INT(first.visits, 0);
    for (int i = 0; i < WORKERS; ++i)
        start_worker(ev);

    CHECK_INT(mln_fork_iterate(ev, look, &first), 0);
    CHECK_INT(first.visits, WORKERS);
    for (int i = 1; i < WORKERS; ++i)
        CHECK(first.pids[i] != first.pids[i - 1]);
    CHECK_INT(mln_fork_iterate(ev, NULL, NULL), 0);
    CHECK_INT(mln_fork_scan_all(ev, NULL, &first), 0);

    w = (struct walk){0, 3, {0}};
    CHECK_INT(mln_fork_iterate(ev, look, &w), -1);
    CHECK_INT(w.visits, 3);
    for (int i = 0; i < 3; ++i)
        CHECK_INT(w.pids[i], first.pids[i]);

    w = (struct walk){0, 0, {0}};
    CHECK_INT(mln_fork_iterate(ev, walk_inside, &w), 0);
    CHECK_INT(w.visits, WORKERS);

    /* The second closes itself and the third: neither is seen again. */
    w = (struct walk){0, 0, {0}};
    CHECK_INT(mln_fork_iterate(ev, close_self_and_next, &w), 0);
    CHECK_INT(w.visits, WORKERS - 1);
    CHECK_INT(w.pids[0], first.pids[0]);
    CHECK_INT(w.pids[1], first.pids[1]);
    CHECK_INT(w.pids[2], first.pids[3]);
    CHECK_INT(w.pids[3], first.pids[4]);
    w = (struct walk){0, 0, {0}};
    CHECK_INT(mln_fork_iterate(ev, look, &w), 0);
    CHECK_INT(w.visits, WORKERS - 2);
    CHECK_INT(w.pids[1], first.pids[3]);

    /* Both are started again, and stand at the end: they are the youngest. */
    for (int i = 0; hellos < WORKERS + 2 && i < 200; ++i)
        dispatch_for(ev, 20);
    w = (struct walk){0, 0, {0}};
    CHECK_INT(mln_fork_iterate(ev, look, &w), 0);
    CHECK_INT(w.visits, WORKERS);
    CHECK_INT(w.pids[0], first.pids[0]);
    CHECK_INT(w.pids[1], first.pids[3]);
    CHECK_INT(w.pids[2], first.pids[4]);
    CHECK(w.pids[3] != first.pids[1] && w.pids[3] != first.pids[2]);

    /* Who starts during a walk is not part of it. */
    w = (struct walk){0, 0, {0}};
    CHECK_INT(mln_fork_iterate(ev, start_one_each, &w), 0);
    CHECK_INT(w.visits, WORKERS);
    w = (struct walk){0, 0, {0}};
    CHECK_INT(mln_fork_iterate(ev, look, &w), 0);
    CHECK_INT(w.visits, 2 * WORKERS);

    CHECK_INT(mln_fork_iterate(ev, close_and_dispatch, &closed), -1);
    dispatch_for(ev, 10);
    CHECK(is_freed(closed));
    dispatch_until_jump(ev, &closed);
    dispatch_for(ev, 10);
    CHECK(is_freed(closed));

    w = (struct walk){0, 0, {0}};
    CHECK_INT(mln_fork_iterate(ev, look, &w), 0);
    grown = w.visits;
    w = (struct walk){0, 0, {0}};
    CHECK_INT(mln_fork_iterate(ev, close_all, &w), 0);
    CHECK_INT(w.visits, grown);
    w = (struct walk){0, 0, {0}};
    CHECK_INT(mln_fork_iterate(ev, look, &w), 0);
    CHECK_INT(w.visits, 0);
    return 0;
}
