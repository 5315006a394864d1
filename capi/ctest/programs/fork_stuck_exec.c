/*
 * A program that does not come to run, for the master's own hook in the child hangs, does not keep the master: it goes on after some
 * seconds, also where a signal arrives more often than that.
 * deadline: 60s
 */
#include "ipc.h"
#include "processes.h"

#include <sys/time.h>

static void hang(void *data)
{
    (void)data;
    for (;;)
        pause();
}

static void nothing(int signo)
{
    (void)signo;
}

int main(void)
{
    static char program[] = "/bin/true";
    const struct itimerval often = {{0, 300000}, {0, 300000}}, never = {{0, 0}, {0, 0}};
    mln_s8ptr_t *args = calloc(3, sizeof *args); /* the library's from now on */
    mln_event_t *ev = become_master();
    pid_t pid;

    CHECK(args != NULL);
    args[0] = program;
    mln_fork_resource_clear_handler_set(hang, NULL);
    CHECK(signal(SIGALRM, nothing) != SIG_ERR);
    CHECK_INT(setitimer(ITIMER_REAL, &often, NULL), 0);
    CHECK_INT(mln_fork_spawn(M_PST_DFL, args, 1, ev), 0);
    CHECK_INT(setitimer(ITIMER_REAL, &never, NULL), 0);
    pid = last_worker(ev)->pid;
    CHECK_INT(kill(pid, SIGKILL), 0);
    CHECK_INT(await_status(pid), 128 + SIGKILL);
    return 0;
}
