/*
 * A fork from inside every kind of handler, hook and callback that the library calls: dispatch returns in the child, which has a
 * working engine, and goes on in the parent.
 * deadline: 60s
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_framework.h"
#include "mln_log.h"
#include "processes.h"
#include "scratch.h"

#include <fcntl.h>

enum { REPORT = 3000, TRIGGER };

static pid_t master;
static mln_event_t *masters_loop; /* for those that are not given one */
static int forks, reports, later_events;
static int passes_on; /* this process is a worker that became a master, and what is reported to it concerns the first one */
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

static void ask_back(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    CHECK_INT(mln_ipc_master_send_prepare(ev, TRIGGER, buf, len, f_ptr), 0);
}

/* In a worker, which thereby becomes a master. */
static void triggered_in_worker(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    master = getpid();
    passes_on = 1;
    CHECK_INT(mln_fork_prepare(), 0);
    triggered(ev, f_ptr, buf, len, udata);
}

static int on_reload(void *data)
{
    CHECK_PTR(data, &forks);
    if (masters_loop != NULL && getpid() == master) /* not when the framework loads it first */
        fork_once(masters_loop);
    return 0;
}

static void reload(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    CHECK_INT(mln_conf_reload(), 0);
}

static void log_to_program(mln_log_t *log, mln_log_level_t level, const char *file, const char *func, int line, char *fmt,
                           va_list args)
{
    (void)log;
    (void)level;
    (void)file;
    (void)func;
    (void)line;
    (void)fmt;
    (void)args;
    fork_once(masters_loop);
}

static void say(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    mln_log(error, "there is something to say\n");
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
    if (passes_on)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, REPORT, NULL, 0), 0);
    else if (++reports == 1) /* the parent's loop goes on: its timers, too */
        CHECK(mln_event_timer_set(ev, 10, NULL, wind_up) != NULL);
}

/* A worker forked before the loop runs, which sends `trigger` and waits for its end, or is made to fork. */
static void start_first_worker(mln_event_t *ev)
{
    int result = mln_fork_restart(ev);

    CHECK(result >= 0);
    if (result == 0) {
        char text[] = "fork";
        mln_event_t *own = mln_event_new();
        pid_t self = getpid();

        CHECK(own != NULL);
        mln_fork_worker_events_set(own);
        CHECK_INT(mln_ipc_worker_send_prepare(own, TRIGGER, text, 4), 0);
        mln_event_dispatch(own);
        _exit(getpid() == self ? 2 : run_child(own));
    }
}

/* In a child that is not a worker yet: it has a worker of its own first. */
static void fork_while_clearing(void *data)
{
    pid_t real_master = master;
    mln_event_t *ev;

    CHECK_PTR(data, &forks);
    if (forks > 0)
        return; /* in the child's child */
    master = getpid();
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((ev = mln_event_new()) != NULL);
    fork_once(ev);
    if (getpid() != master)
        _exit(run_child(ev));
    mln_event_dispatch(ev);
    CHECK_INT(reports, 1);
    mln_event_free(ev);
    master = real_master;
}

/* ---- in the framework ---- */

static int prepare(void)
{
    CHECK(mln_conf_hook_set(on_reload, &forks) != NULL);
    return 0;
}

static void fork_at_once(mln_event_t *ev)
{
    fork_once(ev);
}

static void reload_by_signal(mln_event_t *ev)
{
    masters_loop = ev;
    CHECK_INT(raise(SIGUSR2), 0);
}

static void report_at_once(mln_event_t *ev)
{
    CHECK(getpid() != master);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, REPORT, NULL, 0), 0);
}

static void run_framework(void (*in_master)(mln_event_t *))
{
    char *argv[] = {(char *)"self", NULL};
    struct mln_framework_attr attr = {1, argv, prepare, NULL, in_master, report_at_once};
    char text[700];

    snprintf(text, sizeof text, "framework \"multiprocess\"; log_path \"%s/log\";", scratch_dir);
    CHECK_INT(scratch_conf(text), 0);
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(getpid(), master);
}

static int run(const char *kind)
{
    mln_event_t *ev;

    master = getpid();
    mln_log_logger_set(NULL);
    CHECK(mln_ipc_handler_register(REPORT, reported, NULL, NULL, NULL) != NULL);
    scratch_make();
    if (strcmp(kind, "master_process") == 0 || strcmp(kind, "reload by signal") == 0) {
        run_framework(strcmp(kind, "master_process") == 0 ? fork_at_once : reload_by_signal);
        CHECK_INT(reports, 1);
        return 0;
    }
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK_INT(pipe(wire), 0);
    CHECK((ev = mln_event_new()) != NULL);
    masters_loop = ev;
    if (strcmp(kind, "RECV") == 0) {
        CHECK_INT(write(wire[1], "x", 1), 1);
        CHECK_INT(mln_event_fd_set(ev, wire[0], M_EV_RECV | M_EV_NONBLOCK, M_EV_UNLIMITED, &forks, on_fd), 0);
    } else if (strcmp(kind, "SEND") == 0) {
        CHECK_INT(mln_event_fd_set(ev, wire[1], M_EV_SEND | M_EV_NONBLOCK, M_EV_UNLIMITED, &forks, on_fd), 0);
    } else if (strcmp(kind, "SEND once") == 0) {
        CHECK_INT(mln_event_fd_set(ev, wire[1], M_EV_SEND | M_EV_NONBLOCK | M_EV_ONESHOT, M_EV_UNLIMITED, &forks, on_fd), 0);
    } else if (strcmp(kind, "ERROR") == 0) {
        CHECK_INT(close(wire[0]), 0);
        CHECK_INT(mln_event_fd_set(ev, wire[1], M_EV_ERROR | M_EV_NONBLOCK, M_EV_UNLIMITED, &forks, on_fd), 0);
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
    } else if (strcmp(kind, "message to a worker") == 0) {
        CHECK_INT(mln_fork_master_ipc_handler_set(TRIGGER, ask_back, NULL), 0);
        CHECK_INT(mln_fork_worker_ipc_handler_set(TRIGGER, triggered_in_worker, NULL), 0);
        start_first_worker(ev);
    } else if (strcmp(kind, "reload") == 0) {
        CHECK_INT(scratch_conf("value 1;"), 0);
        CHECK(mln_conf_hook_set(on_reload, &forks) != NULL);
        CHECK(mln_event_timer_set(ev, 5, NULL, reload) != NULL);
    } else if (strcmp(kind, "logger") == 0) {
        mln_log_logger_set(log_to_program);
        CHECK(mln_event_timer_set(ev, 5, NULL, say) != NULL);
    } else if (strcmp(kind, "clear handler") == 0) {
        mln_fork_resource_clear_handler_set(fork_while_clearing, &forks);
        CHECK(mln_event_timer_set(ev, 5, &forks, on_timer) != NULL);
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
    mln_event_free(ev);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = {"RECV", "SEND", "SEND once", "ERROR", "fd timeout", "timer", "callback", "signal",
                                        "message", "message to a worker", "iterate", "nested dispatch", "reload", "logger",
                                        "clear handler", "master_process", "reload by signal"};

    if (argc > 1)
        return run(argv[1]);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; ++i)
        run_self(kinds[i]);
    return 0;
}
