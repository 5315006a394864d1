/*
 * A worker makes children of its master, as any process can do (CLONE_PARENT). Their ends are left to the program, as those of its own
 * children are, which the library cannot tell from them; the program may wait for all, or ignore SIGCHLD, and the worker is replaced all the
 * same.
 */
#include "ipc.h"
#include "processes.h"

#include <sched.h>
#include <sys/syscall.h>

enum { READY = 2000, SIBLINGS = 50 };

static int lives;

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    if (++lives == 1)
        CHECK_INT(kill(((mln_fork_t *)f)->pid, SIGKILL), 0);
    else
        mln_event_break_set(ev);
}

static void make_siblings(mln_event_t *ev)
{
    for (int i = 0; i < SIBLINGS; ++i) {
        long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);

        if (pid == 0)
            syscall(SYS_exit, 0);
        CHECK(pid > 0);
    }
    CHECK_INT(mln_ipc_worker_send_prepare(ev, READY, NULL, 0), 0);
}

static void run(void)
{
    mln_event_t *ev;

    handle(READY, on_ready, NULL);
    ev = become_master();
    start_worker(ev, make_siblings);
    dispatch(ev, make_siblings);
    CHECK_INT(lives, 2);
    CHECK_INT(kill(last_worker(ev)->pid, SIGKILL), 0);
    mln_event_free(ev);
}

/* Waits until there are no more children, and returns how many it has waited for. */
static int wait_for_all(void)
{
    int n = 0;

    while (waitpid(-1, NULL, 0) > 0)
        ++n;
    CHECK_INT(errno, ECHILD);
    return n;
}

static void upon_sigchld(int signo)
{
    int saved = errno;

    (void)signo;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    errno = saved;
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"left", "waited for", "ignored"};

    if (argc == 1) {
        for (int i = 0; i < 3; ++i)
            run_self(modes[i]);
        return 0;
    }
    if (strcmp(argv[1], "waited for") == 0)
        CHECK(signal(SIGCHLD, upon_sigchld) != SIG_ERR);
    if (strcmp(argv[1], "ignored") == 0)
        CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    run();
    if (strcmp(argv[1], "left") == 0)
        CHECK_INT(wait_for_all(), 2 * SIBLINGS + 1); /* and the worker that was killed last, which no loop watches */
    while (child_count() > 0)
        usleep(1000);
    return 0;
}
