/*
 * Processes that the program makes itself, by fork() and daemon(), before the library's first use, after it, and with
 * workers alive: each has a working engine of its own, and neither the parent nor its workers notice.
 * deadline: 60s
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

enum { HELLO = 3000, ECHO };

static int timers, hellos, echoes;
static int verdict[2]; /* a pipe: "ok" from the process that ends the part */

static void on_timer(mln_event_t *ev, void *data)
{
    (void)data;
    if (++timers == 3)
        mln_event_break_set(ev);
    else
        CHECK(mln_event_timer_set(ev, 2, NULL, on_timer) != NULL);
}

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    ++hellos;
    CHECK_INT(mln_ipc_master_send_prepare(ev, ECHO, NULL, 0, f_ptr), 0);
}

static void echo(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    if (((mln_fork_t *)f_ptr)->pid == getpid()) {
        CHECK_INT(mln_ipc_worker_send_prepare(ev, ECHO, NULL, 0), 0);
        return;
    }
    ++echoes;
    mln_event_break_set(ev);
}

static void register_messages(void)
{
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(ECHO, echo, echo, NULL, NULL) != NULL);
}

/* A worker of this process, which answers until the process is gone. */
static void fork_worker(mln_event_t *ev)
{
    int result = mln_fork_restart(ev);

    CHECK(result >= 0);
    if (result == 0) {
        mln_event_t *own = mln_event_new();

        CHECK(own != NULL);
        mln_fork_worker_events_set(own);
        CHECK_INT(mln_ipc_worker_send_prepare(own, HELLO, NULL, 0), 0);
        mln_event_dispatch(own);
        _exit(2);
    }
}

static int count(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)f;
    ++*(int *)data;
    return 0;
}

static int worker_count(void)
{
    int n = 0;

    CHECK_INT(mln_fork_iterate(NULL, count, &n), 0);
    return n;
}

/* Whatever a process does with the library. The workers forked here are left alive. */
static mln_event_t *exercise(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    timers = hellos = echoes = 0;
    on_timer(ev, NULL);
    mln_event_dispatch(ev);
    CHECK_INT(timers, 3);
    mln_event_break_reset(ev);
    /* Enough work for a garbage collection, which needs the threads of a runtime that lives. */
    CHECK(thread_count() > 1);
    for (int i = 0; i < 200000; ++i)
        mln_event_timer_cancel(ev, mln_event_timer_set(ev, 1000000, NULL, on_timer));
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK_INT(worker_count(), 0);
    CHECK_INT(mln_fork_master_connection_get()->sockfd, -1);
    fork_worker(ev);
    mln_event_dispatch(ev);
    CHECK_INT(hellos, 1);
    CHECK_INT(echoes, 1);
    CHECK_INT(worker_count(), 1);
    mln_event_break_reset(ev);
    return ev;
}

/* One more message from the worker proves that loop and channel still work. */
static int ask(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    return mln_ipc_master_send_prepare(ev, ECHO, NULL, 0, f);
}

static void ask_worker(mln_event_t *ev)
{
    int before = echoes;

    CHECK_INT(mln_fork_iterate(ev, ask, NULL), 0);
    mln_event_dispatch(ev);
    mln_event_break_reset(ev);
    CHECK_INT(echoes, before + 1);
}

static int socket_count(void)
{
    int n = 0;

    for (int fd = 3; fd < 256; ++fd) {
        struct stat status;
        n += fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
    }
    return n;
}

static void pass(void)
{
    CHECK_INT(write(verdict[1], "ok", 2), 2);
}

/* ---- the parts ---- */

/* A plain child, and a child of that child. */
static void fork_before_use(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        if ((pid = fork()) == 0) {
            exercise();
            _exit(0);
        }
        CHECK_INT(await_status(pid), 0);
        exercise();
        _exit(0);
    }
    CHECK_INT(await_status(pid), 0);
    exercise();
    pass();
}

static void fork_after_use(void)
{
    mln_event_t *ev = mln_event_new();
    pid_t pid;

    CHECK(ev != NULL);
    CHECK(mln_event_timer_set(ev, 1, NULL, on_timer) != NULL);
    if ((pid = fork()) == 0) {
        CHECK_PTR(mln_event_timer_set(ev, 1, NULL, on_timer), NULL);
        CHECK_INT(errno, ESTALE);
        mln_event_free(ev);
        exercise();
        if ((pid = fork()) == 0) {
            exercise();
            _exit(0);
        }
        CHECK_INT(await_status(pid), 0);
        _exit(0);
    }
    CHECK_INT(await_status(pid), 0);
    timers = 0;
    mln_event_dispatch(ev); /* the timer from before is the parent's, and nobody took it away */
    CHECK_INT(timers, 3);
    pass();
}

static void fork_with_workers(void)
{
    mln_event_t *ev = exercise();
    pid_t pid = fork();

    if (pid == 0) {
        CHECK_INT(worker_count(), 0);
        CHECK_INT(socket_count(), 0); /* else the worker would not see the end of its master */
        exercise();
        _exit(0);
    }
    CHECK_INT(await_status(pid), 0);
    ask_worker(ev);
    CHECK_INT(worker_count(), 1);
    pass();
}

/* The master dies, its child lives: the worker has to end all the same. */
static void worker_sees_end(void)
{
    int life[2], stay[2]; /* the master's child lives until the second is closed */
    pid_t child, master;
    char byte;

    CHECK_INT(pipe(life), 0);
    CHECK_INT(pipe(stay), 0);
    if ((master = fork()) == 0) {
        close(verdict[1]);
        close(stay[1]);
        close(life[0]); /* the worker inherits the other end */
        exercise();
        if ((child = fork()) == 0) {
            close(life[1]);
            CHECK_INT(read(stay[0], &byte, 1), 0);
            _exit(0);
        }
        close(life[1]);
        CHECK_INT(kill(getpid(), SIGKILL), 0);
    }
    close(life[1]);
    CHECK_INT(await_status(master), 128 + SIGKILL);
    struct pollfd end = {.fd = life[0], .events = POLLIN, .revents = 0};
    CHECK_INT(poll(&end, 1, 2000 * check_slowness()), 1);
    CHECK_INT(end.revents, POLLHUP);
    close(stay[1]);
    pass();
}

/* A worker's own child does not keep the worker's channel open, and is nobody's worker. */
static void child_of_worker(void)
{
    mln_event_t *ev = mln_event_new();
    int result;

    CHECK(ev != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((result = mln_fork_restart(ev)) >= 0);
    if (result == 0) {
        mln_event_t *own = mln_event_new();
        pid_t pid = fork();

        if (pid == 0) {
            CHECK_INT(socket_count(), 0);
            CHECK_INT(mln_fork_master_connection_get()->sockfd, -1);
            CHECK_INT(mln_ipc_worker_send_prepare(own, HELLO, NULL, 0), -1);
            exercise();
            _exit(0);
        }
        CHECK_INT(await_status(pid), 0);
        mln_fork_worker_events_set(own);
        CHECK_INT(mln_ipc_worker_send_prepare(own, HELLO, NULL, 0), 0);
        mln_event_dispatch(own);
        _exit(2);
    }
    mln_event_dispatch(ev);
    CHECK_INT(hellos, 1);
    CHECK_INT(echoes, 1);
    pass();
}

static void daemon_before_use(void)
{
    CHECK_INT(daemon(1, 1), 0);
    exercise();
    pass();
}

/* What was set up before counts in the daemon. */
static void daemon_after_use(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK_INT(daemon(1, 1), 0);
    mln_event_free(ev);
    CHECK((ev = mln_event_new()) != NULL);
    fork_worker(ev);
    mln_event_dispatch(ev);
    CHECK_INT(hellos, 1);
    CHECK_INT(echoes, 1);
    pass();
}

static void daemon_with_workers(void)
{
    mln_event_t *ev = exercise();

    (void)ev;
    CHECK_INT(daemon(1, 1), 0);
    CHECK_INT(worker_count(), 0);
    CHECK_INT(socket_count(), 0);
    exercise();
    pass();
}

static const struct part parts[] = {
    {"fork before use", fork_before_use},     {"fork after use", fork_after_use},
    {"fork with workers", fork_with_workers}, {"worker sees end", worker_sees_end},
    {"child of worker", child_of_worker},     {"daemon before use", daemon_before_use},
    {"daemon after use", daemon_after_use},   {"daemon with workers", daemon_with_workers},
};

static int run_part(const char *name, int descriptor)
{
    mln_log_logger_set(NULL);
    verdict[1] = descriptor;
    CHECK_INT(fcntl(descriptor, F_SETFD, FD_CLOEXEC), 0);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
        if (strcmp(parts[i].name, name) != 0)
            continue;
        register_messages();
        parts[i].run();
        return 0;
    }
    return 3;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_part(argv[1], atoi(argv[2]));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
        char text[16], answer[3] = "";
        const char *const words[] = {parts[i].name, text, NULL};
        struct pollfd ready;
        int status;

        CHECK_INT(pipe(verdict), 0);
        snprintf(text, sizeof text, "%d", verdict[1]);
        CHECK_INT(fcntl(verdict[0], F_SETFD, FD_CLOEXEC), 0);
        if ((status = await_status(start_self(words))) != 0)
            fprintf(stderr, "the part \"%s\" ended with status %d\n", parts[i].name, status);
        CHECK_INT(status, 0);
        close(verdict[1]);
        ready = (struct pollfd){.fd = verdict[0], .events = POLLIN, .revents = 0};
        CHECK_INT(poll(&ready, 1, 10000 * check_slowness()), 1); /* a daemon goes on when its parent has ended */
        CHECK_INT(read(verdict[0], answer, 2), 2);
        CHECK_STR(answer, "ok");
        close(verdict[0]);
    }
    return 0;
}
