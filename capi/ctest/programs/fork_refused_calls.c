/*
 * The kernel refuses a call for good around the life of a worker: what then cannot be done is not done, the log says why, and nobody
 * waits for it.
 * deadline: 60s
 */
#include "ipc.h"
#include "processes.h"
#include "refuse.h"

#include "framework.h"
#include "scratch.h"

#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

/* A fork of a worker that fails with this error: the process that there was is gone, or does nothing. */
static void expect_no_fork(mln_event_t *ev, int error_number)
{
    int before = worker_count(ev), result = mln_fork_restart(ev);

    while (result == 0)
        pause();
    CHECK_INT(result, -1);
    CHECK_INT(errno, error_number);
    CHECK_INT(worker_count(ev), before);
}

/* Starts to catch what the log says, in a file of this name, which expect_logged() removes. */
static void catch_log(void)
{
    scratch_catch_stderr("log");
}

static void expect_logged(const char *text)
{
    scratch_expect_part("log", text);
    CHECK_INT(unlink("log"), 0);
}

/* ---- a worker cannot be told that there is no more work ---- */

static int prepare_one(void)
{
    configure_workers(1);
    return 0;
}

static void stop(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    raise(SIGTERM);
}

static void stop_soon(mln_event_t *ev)
{
    CHECK(mln_event_timer_set(ev, 50, NULL, stop) != NULL);
}

static void refused_shutdown(void)
{
    static char name[] = "test";
    char *argv[] = {name, NULL};
    struct mln_framework_attr attr = {1, argv, prepare_one, NULL, stop_soon, NULL};
    pid_t self = getpid();

    refuse(SYS_shutdown, ENOBUFS);
    CHECK_INT(mln_framework_init(&attr), 0);
    if (getpid() != self)
        exit(0);
    scratch_expect_part("logs/test.log", "cannot be told that there is no more work for it: No buffer space available");
    CHECK_INT(scratch_count("logs/test.log", "No buffer space available"), 1);
    scratch_expect_part("logs/test.log", "(plain) was killed by signal 15");
    remove_log();
}

/* ---- a process cannot be watched, and its end cannot be seen: another one traces it ---- */

static int life[2];     /* its end tells the tracer to end */
static int attached[2]; /* by which the tracer tells that it traces */
static char traces;     /* 'y' if it does */
static pid_t master, traced;

/* In the child: has a process of its own trace it. */
static void have_oneself_traced(void)
{
    pid_t self = getpid(), pid;
    char answer, byte;

    if (getppid() != master)
        return; /* the tracer itself */
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    CHECK((pid = fork()) >= 0);
    if (pid > 0)
        return;
    close(life[1]);
    answer = ptrace(PTRACE_SEIZE, self, 0, 0) == 0 ? 'y' : 'n';
    CHECK_INT(write(attached[1], &answer, 1), 1);
    write_bytes(attached[1], &self, sizeof self);
    _exit(read(life[0], &byte, 1) == 0 ? 0 : 1);
}

static void await_tracer(void)
{
    if (getpid() != master)
        return;
    CHECK_INT(read_bytes(attached[0], &traces, 1), 1);
    CHECK_INT(read_bytes(attached[0], &traced, sizeof traced), 1);
}

static void refused_pidfd(void)
{
    mln_event_t *ev = become_master();
    char line[128];
    long long start;
    int fds;

    master = getpid();
    CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    CHECK_INT(pipe(life), 0);
    CHECK_INT(pipe(attached), 0);
    CHECK_INT(pthread_atfork(NULL, await_tracer, have_oneself_traced), 0);
    refuse(SYS_pidfd_open, EMFILE);
    catch_log();
    fds = fd_count();
    start = now_ms();
    expect_no_fork(ev, EMFILE);
    CHECK(now_ms() - start < 10000 * check_slowness());
    CHECK_INT(fd_count(), fds);
    if (traces == 'y') {
        snprintf(line, sizeof line, "worker %ld (plain) is left behind", (long)traced);
        scratch_expect_part("log", line);
    } else {
        puts("note: a process may not trace another one here; that is not tried");
    }
    expect_logged("cannot fork a worker: its process cannot be watched (pidfd_open): Too many open files");
    close(life[1]);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ; /* it, and its tracer */
    mln_event_free(ev);
}

/* ---- a process cannot be watched, and is gone: its number may be another one's ---- */

static pid_t gone; /* its number */

static void note_number(void)
{
    gone = getpid();
    write_bytes(attached[1], &gone, sizeof gone);
    _exit(0);
}

/* Until the kernel has forgotten the child. */
static void await_no_child(void)
{
    CHECK_INT(read_bytes(attached[0], &gone, sizeof gone), 1);
    while (kill(gone, 0) == 0)
        usleep(100);
    CHECK_INT(errno, ESRCH);
    forbid(SYS_kill);
}

static void refused_eventfd(void)
{
    mln_event_t *ev = become_master();

    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    CHECK_INT(pipe(attached), 0);
    CHECK_INT(pthread_atfork(NULL, await_no_child, note_number), 0);
    refuse(SYS_eventfd2, EMFILE);
    catch_log();
    expect_no_fork(ev, EMFILE);
    expect_logged("cannot fork a worker: its process cannot be watched (eventfd): Too many open files");
    mln_event_free(ev);
}

/* ---- a process cannot be killed ---- */

/* One that cannot be watched ends when it sees that its master does not want it. */
static void refused_kill(void)
{
    mln_event_t *ev = become_master();
    struct pollfd end = {.events = POLLIN};
    char line[128];
    pid_t pid;
    int status;

    refuse(SYS_pidfd_open, EMFILE);
    refuse(SYS_kill, EPERM);
    catch_log();
    if (mln_fork_restart(ev) == 0) {
        end.fd = mln_fork_get_master_connection()->sockfd;
        _exit(poll(&end, 1, -1) == 1 ? 0 : 1);
    }
    CHECK_INT(errno, EMFILE);
    CHECK_INT(worker_count(ev), 0);
    CHECK((pid = waitpid(-1, &status, 0)) > 0);
    CHECK_INT(status, 0);
    snprintf(line, sizeof line, "worker %ld (plain) is left behind: it may not be killed: Operation not permitted", (long)pid);
    expect_logged(line);
    mln_event_free(ev);
}

static void do_not_end(mln_event_t *ev)
{
    (void)ev;
    for (;;)
        pause();
}

static pid_t worker;

static void break_soon(mln_event_t *ev)
{
    worker = last_worker(ev)->pid;
    CHECK(mln_event_timer_set(ev, 50, NULL, break_loop) != NULL);
}

/* Breaks a group with a worker that does not end by itself. The number of children that are left. */
static int break_group(int error_number)
{
    static char name[] = "test";
    char *argv[] = {name, NULL};
    struct mln_framework_attr attr = {1, argv, prepare_one, NULL, break_soon, do_not_end};

    refuse(SYS_pidfd_send_signal, error_number);
    CHECK_INT(mln_framework_init(&attr), 0);
    return child_count();
}

static void refused_signal(void)
{
    CHECK_INT(break_group(EPERM), 1);
    scratch_expect_part("logs/test.log", "(plain) is left behind: it may not be killed: Operation not permitted");
    remove_log();
    CHECK_INT(kill(worker, SIGKILL), 0);
    CHECK_INT(await_status(worker), 128 + SIGKILL);
}

/* A filter of system calls that does not know it. */
static void unknown_signal(void)
{
    CHECK_INT(break_group(ENOSYS), 0);
    remove_log();
}

/* ---- a worker cannot see whether its master is there ---- */

static int told[2]; /* by which the worker tells that it is ready */

static void cannot_poll(mln_event_t *ev)
{
    (void)ev;
    refuse(SYS_ppoll, ENOMEM);
#ifdef SYS_poll
    refuse(SYS_poll, ENOMEM);
#endif
    write_bytes(told[1], &(pid_t){getpid()}, sizeof(pid_t));
}

static void be_master(void)
{
    mln_event_t *ev = become_master();

    start_worker(ev, cannot_poll);
    dispatch(ev, cannot_poll);
}

/* What ends because its master is gone must not look like what was told to end. */
static void refused_poll(void)
{
    pid_t master_process, worker;

    CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    CHECK_INT(pipe(told), 0);
    catch_log();
    CHECK((master_process = fork()) >= 0);
    if (master_process == 0) {
        be_master();
        _exit(1);
    }
    CHECK_INT(read_bytes(told[0], &worker, sizeof worker), 1);
    CHECK_INT(kill(master_process, SIGKILL), 0);
    CHECK_INT(await_status(master_process), 128 + SIGKILL);
    CHECK_INT(await_status(worker), 127);
    expect_logged("cannot see whether the other end of a connection is there, and take it for gone: Cannot allocate memory");
}

/* ---- descriptors could be sent through a channel ---- */

enum { PASS_RIGHTS = 83 };

static void refused_option(void)
{
    mln_event_t *ev = become_master();
    int fds = fd_count();

    refuse_with(SYS_setsockopt, PASS_RIGHTS, ENOBUFS);
    catch_log();
    expect_no_fork(ev, ENOBUFS);
    CHECK_INT(fd_count(), fds + 1); /* the stream for failed checks */
    expect_logged("cannot fork a worker: No buffer space available");
    mln_event_free(ev);
}

/* An older kernel, which does not know the option. */
static void unknown_option(void)
{
    mln_event_t *ev = become_master();

    refuse_with(SYS_setsockopt, PASS_RIGHTS, ENOPROTOOPT);
    start_worker(ev, NULL);
    CHECK_INT(worker_count(ev), 1);
}

/* ---- a worker would not have the message that it is forked with ---- */

enum { WORD = 2000 };

static void say(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, WORD, "word", 4), 0);
}

static void fork_with_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int children = child_count(), status;
    pid_t pid;

    (void)f;
    (void)len;
    (void)udata;
    expect_no_fork(ev, EAGAIN);
    CHECK_INT(child_count(), children);
    CHECK((pid = fork()) >= 0);
    if (pid == 0)
        _exit(*(volatile char *)buf == 'w');
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    mln_event_break_set(ev);
}

static void refused_inheritance(void)
{
    mln_event_t *ev;

    handle(WORD, fork_with_word, NULL);
    ev = become_master();
    refuse_with(SYS_madvise, MADV_DOFORK, EAGAIN);
    start_worker(ev, say); /* not in a handler: nothing is to be passed on */
    catch_log();
    dispatch(ev, say);
    scratch_expect_part("log", "cannot fork a worker: Resource temporarily unavailable");
    expect_logged("a process is forked without the message that is being handled, and is killed if it looks at that: "
                  "Resource temporarily unavailable");
    mln_event_free(ev);
}

static const struct part parts[] = {
    {"shutdown", refused_shutdown},
    {"pidfd_open", refused_pidfd},
    {"eventfd", refused_eventfd},
    {"kill", refused_kill},
    {"pidfd_send_signal", refused_signal},
    {"unknown pidfd_send_signal", unknown_signal},
    {"poll", refused_poll},
    {"option", refused_option},
    {"unknown option", unknown_option},
    {"madvise", refused_inheritance},
};

int main(int argc, char **argv)
{
    return run_parts(argc, argv, parts, sizeof parts / sizeof *parts);
}
