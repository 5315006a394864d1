/*
 * A child is ended by the signals that end programs, and by its faults, whoever forked it and whatever its parent did with them; a handler
 * that it installs before it uses the library is its own afterwards.
 */
#include "check.h"
#include "framework.h"
#include "mln_fork.h"
#include "mln_string.h"
#include "processes.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { FINE = 77 };

static void mine(int signo)
{
    (void)signo;
}

static void (*disposition(int signo))(int)
{
    struct sigaction now;

    CHECK_INT(sigaction(signo, NULL, &now), 0);
    return now.sa_handler;
}

static void without_core(void)
{
    const struct rlimit none = {0, 0};

    CHECK_INT(setrlimit(RLIMIT_CORE, &none), 0);
}

/* ---- a child that does nothing, beside loops of its parent ---- */

static void expect_end_by(int signo)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_INT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
        for (;;)
            pause();
    }
    sleep_ms(20);
    CHECK_INT(kill(pid, signo), 0);
    if (!await_gone(pid, 2000 * check_slowness())) {
        fprintf(stderr, "a child lives on after signal %d\n", signo);
        CHECK_INT(kill(pid, SIGKILL), 0);
    }
    CHECK_INT(await_status(pid), 128 + signo);
}

static void nothing(mln_event_t *ev, int signo, void *data)
{
    (void)ev;
    (void)signo;
    (void)data;
}

/* What the program had made of it before the loop came is what is in force in the child. */
static void beside_a_loop(void)
{
    mln_event_t *ev = mln_event_new();
    pid_t pid;

    CHECK(ev != NULL);
    CHECK(signal(SIGHUP, SIG_IGN) != SIG_ERR);
    CHECK(signal(SIGUSR1, mine) != SIG_ERR);
    CHECK(signal(SIGTERM, SIG_DFL) != SIG_ERR);
    for (int i = 0; i < 2; ++i) { /* taken, and taken again */
        CHECK_INT(mln_event_set_signal(ev, M_EV_SET, SIGHUP, NULL, nothing), 0);
        CHECK_INT(mln_event_set_signal(ev, M_EV_SET, SIGUSR1, NULL, nothing), 0);
        CHECK_INT(mln_event_set_signal(ev, M_EV_SET, SIGTERM, NULL, nothing), 0);
    }
    expect_end_by(SIGTERM);
    CHECK((pid = fork()) >= 0);
    if (pid == 0) {
        CHECK(disposition(SIGHUP) == SIG_IGN);
        CHECK(disposition(SIGUSR1) == mine);
        CHECK(disposition(SIGTERM) == SIG_DFL);
        CHECK((ev = mln_event_new()) != NULL);
        CHECK_INT(mln_event_set_signal(ev, M_EV_SET, SIGTERM, NULL, nothing), 0);
        CHECK(disposition(SIGTERM) != SIG_DFL);
        mln_event_free(ev);
        CHECK(disposition(SIGTERM) == SIG_DFL);
        CHECK(disposition(SIGHUP) == SIG_IGN);
        _exit(FINE);
    }
    CHECK_INT(await_status(pid), FINE);
    CHECK(disposition(SIGTERM) != SIG_DFL); /* the loop of this process has it still */
    mln_event_free(ev);
}

static void helpers(mln_event_t *ev, void *data)
{
    (void)data;
    expect_end_by(SIGTERM);
    expect_end_by(SIGINT);
    expect_end_by(SIGUSR2);
    mln_event_break_set(ev);
}

static void in_master(mln_event_t *ev)
{
    CHECK(mln_event_timer_set(ev, 0, NULL, helpers) != NULL);
}

static int global_init(void)
{
    configure_workers(1);
    return 0;
}

static void beside_a_group(void)
{
    struct mln_framework_attr attr;
    pid_t self = getpid();

    memset(&attr, 0, sizeof attr);
    attr.global_init = global_init;
    attr.master_process = in_master;
    CHECK(signal(SIGINT, SIG_DFL) != SIG_ERR); /* what is started in the background ignores it */
    CHECK_INT(mln_framework_init(&attr), 0);
    if (getpid() == self)
        remove_log();
}

/* ---- faults, in a process that has never used the engine ---- */

__attribute__((noreturn)) static void fail_by(int signo)
{
    volatile int *volatile nowhere = (int *)8;
    int ends[2];

    switch (signo) {
    case SIGSEGV:
        *nowhere = 1;
        break;
    case SIGPIPE:
        CHECK_INT(pipe(ends), 0);
        close(ends[0]);
        (void)!write(ends[1], "x", 1);
        break;
    default:
        raise(signo);
    }
    _exit(FINE);
}

static void faults(void)
{
    static const int signals[] = {SIGSEGV, SIGPIPE, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    mln_string_t *string = mln_string_new("x"); /* the library is there */
    struct sigaction now;

    mln_string_free(string);
    without_core();
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; ++i) {
        pid_t pid;

        CHECK_INT(sigaction(signals[i], NULL, &now), 0);
        CHECK(now.sa_handler == SIG_DFL);
        CHECK((pid = fork()) >= 0);
        if (pid == 0)
            fail_by(signals[i]);
        CHECK_INT(await_status(pid), 128 + signals[i]);
    }
}

/* ---- a handler that a worker installs before its engine is started ---- */

static void in_worker(void)
{
    static const int signals[] = {SIGSEGV, SIGPIPE, SIGBUS, SIGFPE, SIGURG, SIGUSR1};
    mln_event_t *ev = mln_event_new(); /* which needs no engine yet */

    CHECK(ev != NULL);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; ++i)
        CHECK(signal(signals[i], mine) != SIG_ERR);
    CHECK(mln_event_timer_set(ev, 0, NULL, NULL) != NULL);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; ++i) {
        CHECK(disposition(signals[i]) == mine);
        CHECK_INT(raise(signals[i]), 0);
    }
    _exit(FINE);
}

static void handlers_of_a_worker(void)
{
    mln_event_t *ev = mln_event_new();
    pid_t self = getpid();
    int status;

    CHECK(ev != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK(mln_fork_restart(ev) >= 0);
    if (getpid() != self)
        in_worker();
    CHECK(wait(&status) > 0); /* the program's own, before the loop comes to see the end */
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), FINE);
    mln_event_free(ev);
}

static const struct part parts[] = {
    {"beside a loop", beside_a_loop},
    {"beside a group", beside_a_group},
    {"faults", faults},
    {"handlers of a worker", handlers_of_a_worker},
};

int main(int argc, char **argv)
{
    return run_parts(argc, argv, parts, sizeof parts / sizeof *parts);
}
