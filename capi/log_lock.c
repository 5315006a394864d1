/*
 * log_lock.c - the lock of the log. A signal handler that logs may have interrupted its own thread while that logs.
 */
#include "log.h"

#include "lock.h"

#include <pthread.h>

/* How many times the owner took the lock again. Only the owner touches it, its signal handlers included. */
static volatile unsigned again;

bool log_in_logger;

void log_lock(void)
{
    if (lock_acquire_unless_owned(&mln_log_state()->thread_lock))
        again++;
}

void log_unlock(void)
{
    if (again > 0)
        again--;
    else
        lock_release(&mln_log_state()->thread_lock);
}

bool log_is_locked_here(void)
{
    return lock_is_owned(&mln_log_state()->thread_lock);
}

/*
 * A logger of the program's own is soon done, unless it waits for a lock of its own that this thread has: hooks of the program's,
 * which run before this one, have taken it for the fork. So it is not waited for long. While it runs the log is whole.
 */
void log_before_fork(void)
{
    static const struct timespec patience = {.tv_nsec = 10000000};

    if (log_is_locked_here()) {
        again++;
        return;
    }
    while (!lock_acquire_within(&mln_log_state()->thread_lock, &patience))
        if (__atomic_load_n(&log_in_logger, __ATOMIC_RELAXED))
            return;
}

void log_after_fork_parent(void)
{
    if (log_is_locked_here())
        log_unlock();
}

void log_after_fork_child(void)
{
    bool was_ours = log_is_locked_here();

    log_output_after_fork_child();
    lock_reset(&mln_log_state()->thread_lock);
    log_pid_file_drop(); /* a descriptor only: the lock is the parent's */
    if (!was_ours) { /* the logger ran in a thread that is not here */
        again = 0;
        log_in_logger = false;
    } else if (again > 0) {
        --again;
        lock_acquire(&mln_log_state()->thread_lock);
    }
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(log_before_fork, log_after_fork_parent, log_after_fork_child);
}
