/*
 * A fork from inside every kind of handler: dispatch returns in the child, which has a working engine, and goes on in the parent.
 * deadline: 60s
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <fcntl.h>

enum { REPORT = 3000, TRIGGER, GO };

static pid_t master;
static int forks, reports, later_events;
static int wire[2];

static void fork_once(mln_event_t *ev)
{
    int result;

    if (forks++ > 0)
        return;
    result = mln_fork_restart(ev);
    CHECK(result >= 0);
    CHECK_INT(result == 0, getpid() != master);
}

/* ---- the kinds of handlers ---- */

static void on_fd(mln_event_t *ev, int fd, void *data)
{
    CHECK_PTR(data, &forks);
    if (fd == wire[0]) {
        char byte;
        CHECK_INT(read(fd, &byte, 1), 1);
    }
    CHECK_INT(mln_event_fd_set(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    fork_once(ev);
}

static void on_fd_timeout(mln_event_t *ev, int fd, void *data)
{
    (void)fd;
    CHECK_PTR(data, &forks);
    fork_once(ev);
}

static void never(mln_event_t *ev, int fd, void *data)
{
    (void)ev;
    (void)fd;
    (void)data;
    CHECK(!"a descriptor without anything to read became ready");
}

static void on_timer(mln_event_t *ev, void *data)
{
    CHECK_PTR(data, &forks);
    fork_once(ev);
}

static void on_iteration(mln_event_t *ev, void *data)
{
    CHECK_PTR(data, &forks);
    fork_once(ev);
}

static void on_signal(mln_event_t *ev, int signo, void *data)
{
    CHECK_INT(signo, SIGUSR1);
    CHECK_PTR(data, &forks);
    fork_once(ev);
}

static int on_worker(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)f;
    CHECK_PTR(data, &forks);
    fork_once(ev);
    return 0;
}

static void iterate(mln_event_t *ev, void *data)
{
    CHECK_INT(mln_fork_iterate(ev, on_worker, data), 0);
}

/* The first worker asks the master to fork the second from its message handler. */
static void triggered(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)udata;
    CHECK_INT(len, 4);
    CHECK_INT(memcmp(buf, "fork", 4), 0);
    fork_once(ev);
    CHECK_INT(memcmp(buf, "fork", 4), 0); /* still there, in parent and child */
}

static void nothing(mln_event_t *ev, int fd, void *data)
{
    (void)ev;
    (void)fd;
    (void)data;
}

static void dispatch_inside(mln_event_t *ev, void *data)
{
    CHECK(mln_event_timer_set(ev, 1, data, on_timer) != NULL);
    mln_event_dispatch(ev);
}

/* ---- what a child can do ---- */

static void twice(mln_event_t *ev, void *data)
{
    (void)data;
    if (++later_events == 2)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, REPORT, NULL, 0), 0);
}

static void ready(mln_event_t *ev, int fd, void *data)
{
    (void)data;
    CHECK_INT(mln_event_fd_set(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    twice(ev, NULL);
}

static int run_child(mln_event_t *parents)
{
    mln_event_t *ev = mln_event_new();
    int ends[2];

    CHECK(getpid() != master);
    /* The parent's loop is of no use here, but harmless. */
    CHECK_INT(mln_event_fd_set(parents, wire[0], M_EV_RECV, M_EV_UNLIMITED, NULL, never), -1);
    CHECK_INT(errno, ESTALE);
    CHECK_PTR(mln_event_timer_set(parents, 0, NULL, twice), NULL);
    mln_event_dispatch(parents);
    mln_event_free(parents);
    CHECK(ev != NULL);
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(write(ends[1], "x", 1), 1);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV | M_EV_NONBLOCK, M_EV_UNLIMITED, NULL, ready), 0);
    CHECK(mln_event_timer_set(ev, 5, NULL, twice) != NULL);
    mln_fork_worker_events_set(ev);
    mln_event_dispatch(ev);
    CHECK(!"a worker's loop ended by itself");
    return 1;
}

static void wind_up(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

static void reported(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)buf;
    (void)udata;
    CHECK_INT(len, 0);
    CHECK_INT(getpid(), master);
    if (++reports == 1) /* the parent's loop goes on: its timers, too */
        CHECK(mln_event_timer_set(ev, 10, NULL, wind_up) != NULL);
}

/* A worker forked before the loop runs, which sends `trigger` and waits for its end. */
static void start_first_worker(mln_event_t *ev)
{
    int result = mln_fork_restart(ev);

    CHECK(result >= 0);
    if (result == 0) {
        char text[] = "fork";
        mln_event_t *own = mln_event_new();

        CHECK(own != NULL);
        mln_fork_worker_events_set(own);
        CHECK_INT(mln_ipc_worker_send_prepare(own, TRIGGER, text, 4), 0);
        mln_event_dispatch(own);
        _exit(2);
    }
}

static int run(const char *kind)
{
    mln_event_t *ev;

    master = getpid();
    mln_log_logger_set(NULL);
    CHECK(mln_ipc_handler_register(REPORT, reported, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK_INT(pipe(wire), 0);
    CHECK((ev = mln_event_new()) != NULL);
    if (strcmp(kind, "RECV") == 0) {
        CHECK_INT(write(wire[1], "x", 1), 1);
        CHECK_INT(mln_event_fd_set(ev, wire[0], M_EV_RECV | M_EV_NONBLOCK, M_EV_UNLIMITED, &forks, on_fd), 0);
    } else if (strcmp(kind, "SEND") == 0) {
        CHECK_INT(mln_event_fd_set(ev, wire[1], M_EV_SEND | M_EV_NONBLOCK, M_EV_UNLIMITED, &forks, on_fd), 0);
    } else if (strcmp(kind, "SEND once") == 0) {
        CHECK_INT(mln_event_fd_set(ev, wire[1], M_EV_SEND | M_EV_NONBLOCK | M_EV_ONESHOT, M_EV_UNLIMITED, &forks, on_fd), 0);
    } else if (strcmp(kind, "fd timeout") == 0) {
        CHECK_INT(mln_event_fd_set(ev, wire[0], M_EV_RECV | M_EV_NONBLOCK, 5, NULL, never), 0);
        mln_event_fd_timeout_handler_set(ev, wire[0], &forks, on_fd_timeout);
    } else if (strcmp(kind, "timer") == 0) {
        CHECK(mln_event_timer_set(ev, 5, &forks, on_timer) != NULL);
    } else if (strcmp(kind, "callback") == 0) {
        mln_event_callback_set(ev, on_iteration, &forks);
    } else if (strcmp(kind, "signal") == 0) {
        CHECK_INT(mln_event_set_signal(ev, M_EV_SET, SIGUSR1, &forks, on_signal), 0);
        CHECK_INT(raise(SIGUSR1), 0);
    } else if (strcmp(kind, "message") == 0) {
        CHECK_INT(mln_fork_master_ipc_handler_set(TRIGGER, triggered, NULL), 0);
        start_first_worker(ev);
    } else if (strcmp(kind, "iterate") == 0) {
        start_first_worker(ev);
        CHECK(mln_event_timer_set(ev, 5, &forks, iterate) != NULL);
    } else {
        CHECK_STR(kind, "nested dispatch");
        CHECK(mln_event_timer_set(ev, 1, &forks, dispatch_inside) != NULL);
        CHECK_INT(mln_event_fd_set(ev, wire[0], M_EV_RECV, M_EV_UNLIMITED, NULL, nothing), 0);
    }
    mln_event_dispatch(ev);
    if (getpid() != master)
        return run_child(ev);
    CHECK_INT(reports, 1);
    CHECK(forks > 0);
    mln_event_free(ev);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = {"RECV", "SEND", "SEND once", "fd timeout", "timer", "callback", "signal",
                                        "message", "iterate", "nested dispatch"};

    if (argc > 1)
        return run(argv[1]);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; ++i)
        run_self(kinds[i]);
    return 0;
}
