/*
 * log_limit.c - a log file that has reached the limit for the size of files (RLIMIT_FSIZE, ulimit -f).
 *
 * The kernel sends SIGXFSZ to whoever writes beyond it, which ends the process by default, silently: the log is where it would be
 * said. To block the signal around each write would be two system calls more for each line, and to ask for the limit one, which may be
 * set at any time, also from outside. If the signal was ignored, it would be so in programs that this one executes, too, and for
 * the files that the program itself writes. So it is handled, and only where nobody else does: inside of the log nothing happens but
 * that the write fails; anywhere else what would have happened without the handler.
 */
#include "log.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

static void on_size_limit(int signo)
{
    if (log_is_locked_here())
        return;
    (void)signal(signo, SIG_DFL);
    (void)raise(signo); /* it comes when this handler returns */
}

void log_outlive_limit(void)
{
    struct sigaction now, ours = {.sa_handler = on_size_limit, .sa_flags = SA_RESTART | SA_ONSTACK};

    if (sigaction(SIGXFSZ, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        (void)sigaction(SIGXFSZ, &ours, NULL);
}

void log_forget_limit(void)
{
    static const struct timespec at_once = {0, 0};
    int saved_errno = errno;
    sigset_t limit;

    sigemptyset(&limit);
    sigaddset(&limit, SIGXFSZ);
    (void)sigtimedwait(&limit, NULL, &at_once);
    errno = saved_errno;
}
