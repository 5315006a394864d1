/*
 * What a program makes of a signal while a loop handles it is the program's: it stays when the last handler is removed, when the loop is
 * freed, and when the framework returns.
 */
#include "check.h"
#include "events.h"
#include "framework.h"
#include "processes.h"

static void mine(int signo)
{
    (void)signo;
}

static void never_called(mln_event_t *ev, int signo, void *data)
{
    (void)ev;
    (void)data;
    fprintf(stderr, "the handler of signal %d was called\n", signo);
    CHECK(0);
}

static void (*disposition(int signo))(int)
{
    struct sigaction now;

    CHECK_INT(sigaction(signo, NULL, &now), 0);
    return now.sa_handler;
}

static void take(mln_event_t *ev, int signo)
{
    CHECK_INT(mln_event_set_signal(ev, M_EV_SET, signo, NULL, never_called), 0);
}

static void removed(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    take(ev, SIGUSR1);
    CHECK(signal(SIGUSR1, mine) != SIG_ERR);
    CHECK_INT(mln_event_set_signal(ev, M_EV_UNSET, SIGUSR1, NULL, never_called), 0);
    CHECK(disposition(SIGUSR1) == mine);
    take(ev, SIGUSR1);
    CHECK_INT(mln_event_set_signal(ev, M_EV_UNSET, SIGUSR1, NULL, never_called), 0);
    CHECK(disposition(SIGUSR1) == SIG_DFL);
    mln_event_free(ev);
}

static void freed(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    take(ev, SIGUSR1);
    take(ev, SIGUSR2);
    take(ev, SIGHUP);
    CHECK(signal(SIGUSR1, mine) != SIG_ERR);
    CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
    mln_event_free(ev);
    CHECK(disposition(SIGUSR1) == mine);
    CHECK(disposition(SIGUSR2) == SIG_IGN);
    CHECK(disposition(SIGHUP) == SIG_DFL);
}

static int global_init(void)
{
    configure_workers(1);
    return 0;
}

static void in_master(mln_event_t *ev)
{
    CHECK(signal(SIGTERM, mine) != SIG_ERR);
    CHECK(signal(SIGINT, SIG_IGN) != SIG_ERR);
    CHECK(signal(SIGUSR2, mine) != SIG_ERR);
    mln_event_break_set(ev);
}

static void framework(void)
{
    struct mln_framework_attr attr;
    pid_t self = getpid();

    memset(&attr, 0, sizeof attr);
    attr.global_init = global_init;
    attr.master_process = in_master;
    CHECK(signal(SIGINT, SIG_DFL) != SIG_ERR); /* what is started in the background ignores it */
    CHECK_INT(mln_framework_init(&attr), 0);
    if (getpid() != self)
        return;
    CHECK(disposition(SIGTERM) == mine);
    CHECK(disposition(SIGINT) == SIG_IGN);
    CHECK(disposition(SIGUSR2) == mine);
    remove_log();
}

static const struct part parts[] = {{"removed", removed}, {"freed", freed}, {"framework", framework}};

int main(int argc, char **argv)
{
    return run_parts(argc, argv, parts, sizeof parts / sizeof *parts);
}
