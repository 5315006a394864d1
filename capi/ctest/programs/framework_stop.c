/*
 * SIGTERM and SIGINT stop a master gracefully: workers get what was sent to them, and what they answer arrives, before init
 * returns 0. Workers that do not end are made to, and so are those that the program forks meanwhile. None is told to reload then, nor
 * one that has just ended, and no line says that it is not. A program's own handler of a signal stays in force.
 */
#include "check.h"
#include "framework.h"
#include "mln_fork.h"
#include "processes.h"
#include "scratch.h"

#include <errno.h>

enum { WORKERS = 3, WORK = 3000, DONE, MESSAGES = 300, SIZE = 4000, SHORT_MS = 100, LONG_MS = 600000 };

static pid_t master;
static int done, own_handler_ran, signo;
static const char *mode;
static mln_event_t *masters_loop;

static int is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void work(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)udata;
    CHECK_INT(len, SIZE);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, DONE, buf, len), 0);
}

/* The first answer comes when the queues of all workers are full of work. */
static void answered(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f_ptr;
    (void)buf;
    (void)udata;
    CHECK_INT(len, SIZE);
    if (++done == 1)
        CHECK_INT(kill(is("terminal") ? 0 : master, signo), 0);
}

static int give_work(mln_event_t *ev, mln_fork_t *f, void *data)
{
    static char content[SIZE];

    (void)data;
    for (int i = 0; i < MESSAGES; ++i)
        CHECK_INT(mln_ipc_master_send_prepare(ev, WORK, content, sizeof content, f), 0);
    return 0;
}

static void own_handler(int unused)
{
    (void)unused;
    ++own_handler_ran;
    mln_event_break_set(masters_loop);
}

/* Ends a worker, and has the loop find out that nothing can be sent to it any more, but not yet that it has ended. */
static int end_unseen(mln_event_t *ev, mln_fork_t *f, void *data)
{
    siginfo_t end;

    (void)data;
    CHECK_INT(kill(f->pid, SIGKILL), 0);
    CHECK_INT(waitid(P_PID, (id_t)f->pid, &end, WEXITED | WNOWAIT), 0); /* all of its threads */
    CHECK_INT(mln_ipc_master_send_prepare(ev, WORK, NULL, 0, f), 0);
    mln_event_break_set(ev);
    mln_event_dispatch(ev);
    mln_event_break_reset(ev);
    CHECK_INT(mln_ipc_master_send_prepare(ev, WORK, NULL, 0, f), -1);
    CHECK_INT(errno, EPIPE);
    return -1;
}

/* Before the workers are told. */
static int on_reload(void *data)
{
    if (is("unseen") && getpid() == master)
        CHECK_INT(mln_fork_iterate(masters_loop, end_unseen, data), -1);
    return 0;
}

static int prepare(void)
{
    configure_workers(WORKERS);
    CHECK(mln_conf_hook_set(on_reload, NULL) != NULL);
    if (is("stubborn") || is("twice")) {
        configure_number("worker_drain_timeout", is("twice") ? LONG_MS : SHORT_MS);
        configure_number("worker_kill_timeout", SHORT_MS);
    }
    if (is("own"))
        CHECK(signal(signo, own_handler) != SIG_ERR);
    CHECK(mln_ipc_handler_register(WORK, NULL, work, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(DONE, answered, NULL, NULL, NULL) != NULL);
    return 0;
}

static void signal_self(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    CHECK_INT(kill(master, signo), 0);
}

/* While the workers are asked to end: there is nobody to be told. */
static void reload_late(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    CHECK_INT(kill(master, SIGUSR2), 0);
}

/* A program that does not know that it is about to end. */
static void fork_more(mln_event_t *ev, void *data)
{
    static int forked;

    (void)data;
    CHECK(mln_fork_restart(ev) >= 0);
    if (getpid() == master && ++forked < WORKERS)
        CHECK(mln_event_timer_set(ev, 1, NULL, fork_more) != NULL);
}

static void in_master(mln_event_t *ev)
{
    masters_loop = ev;
    if (is("forking")) {
        signal_self(ev, NULL);
        fork_more(ev, NULL);
        return;
    }
    if (is("unseen"))
        reload_late(ev, NULL);
    if (is("stubborn") || is("twice") || is("unseen"))
        CHECK(mln_event_timer_set(ev, 200, NULL, signal_self) != NULL);
    if (is("stubborn"))
        CHECK(mln_event_timer_set(ev, 250, NULL, reload_late) != NULL);
    if (is("twice"))
        CHECK(mln_event_timer_set(ev, 400, NULL, signal_self) != NULL);
    else if (!is("unseen"))
        CHECK_INT(mln_fork_iterate(ev, give_work, NULL), 0);
}

/* A worker that never comes to its loop. */
static void in_worker(mln_event_t *ev)
{
    (void)ev;
    if (!is("stubborn") && !is("twice"))
        return;
    CHECK(signal(SIGTERM, SIG_IGN) != SIG_ERR);
    for (;;)
        pause();
}

static int run(void)
{
    char *argv[] = {(char *)"test", NULL};
    struct mln_framework_attr attr = {1, argv, prepare, NULL, in_master, in_worker};

    master = getpid();
    CHECK_INT(setpgid(0, 0), 0); /* what a terminal would signal */
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(getpid(), master);
    CHECK_INT(child_count(), 0);
    if (is("own"))
        CHECK_INT(own_handler_ran, 1);
    else if (is("stubborn") || is("unseen")) {
        scratch_expect_part("logs/test.log", "was killed by signal 9");
        CHECK_INT(scratch_count("logs/test.log", "is not told to reload"), 0);
    } else if (!is("twice") && !is("forking"))
        CHECK_INT(done, WORKERS * MESSAGES);
    if (is("term"))
        scratch_expect_part("logs/test.log", "exited with status 0");
    remove_log();
    return 0;
}

int main(int argc, char *argv[])
{
    signo = SIGTERM;
    mode = argc == 1 ? "" : argv[1];
    if (is("terminal"))
        signo = SIGINT;
    if (argc > 1)
        return run();
    run_self("term");
    run_self("terminal");
    run_self("own");
    run_self("stubborn");
    run_self("unseen");
    run_self("twice");
    run_self("forking");
    return 0;
}
