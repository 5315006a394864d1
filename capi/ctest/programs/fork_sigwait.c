/*
 * A program that blocks SIGCHLD and waits for it, with sigwait() or by a signalfd, gets every one: no thread of the library
 * takes it, and the library does not change the mask of the program's threads. So it is, too, where the account has no room for signals
 * that wait, and the kernel does not say any more by whom one was sent.
 */
#include "check.h"
#include "mln_event.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <pthread.h>
#include <sys/resource.h>

enum { TIMES = 200 };

static mln_event_t *loop;

static sigset_t mask_now(void)
{
    sigset_t mask;

    CHECK_INT(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    return mask;
}

static void check_mask(int blocked)
{
    sigset_t mask = mask_now();

    for (int signo = 1; signo < 32; ++signo)
        if (signo != SIGKILL && signo != SIGSTOP)
            CHECK_INT(sigismember(&mask, signo), blocked);
}

static void *use_loop(void *arg)
{
    sigset_t all;

    if (arg == NULL) {
        sigfillset(&all);
        CHECK_INT(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
    }
    CHECK(mln_event_timer_set(loop, 1000, NULL, NULL) != NULL);
    check_mask(arg == NULL);
    return NULL;
}

static void stop(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

int main(int argc, char **argv)
{
    static const struct rlimit none = {0, 0};
    sigset_t before = mask_now(), all, child;
    pthread_t thread;

    if (argc == 1) {
        run_self("with room");
        run_self("without room");
        return 0;
    }
    if (strcmp(argv[1], "without room") == 0)
        CHECK_INT(setrlimit(RLIMIT_SIGPENDING, &none), 0);
    CHECK((loop = mln_event_new()) != NULL);
    check_mask(0);
    CHECK_INT(pthread_create(&thread, NULL, use_loop, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(pthread_create(&thread, NULL, use_loop, loop), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);

    sigfillset(&all);
    CHECK_INT(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
    CHECK(mln_event_timer_set(loop, 20, NULL, stop) != NULL);
    mln_event_dispatch(loop);
    check_mask(1);

    CHECK_INT(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    CHECK_INT(pthread_sigmask(SIG_BLOCK, &child, NULL), 0);
    for (int i = 0; i < TIMES / check_slowness(); ++i) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(0);
        CHECK_INT(sigwaitinfo(&child, NULL), SIGCHLD);
        CHECK_INT(waitpid(pid, NULL, 0), pid);
    }
    mln_event_free(loop);
    return 0;
}
