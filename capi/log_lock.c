/*
 * log_lock.c - the lock of the log. A signal handler that logs may have interrupted its own thread while that logs.
 */
#include "log.h"

#include "lock.h"

#include <pthread.h>

/* How many times the owner took the lock again. Only the owner touches it, its signal handlers included. */
static volatile unsigned again;

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

void log_before_fork(void)
{
    log_lock();
}

void log_after_fork_parent(void)
{
    log_unlock();
}

void log_after_fork_child(void)
{
    log_output_after_fork_child();
    lock_reset(&mln_log_state()->thread_lock);
    log_pid_file_drop(); /* a descriptor only: the lock is the parent's */
    if (again > 0) {
        --again;
        lock_acquire(&mln_log_state()->thread_lock);
    }
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(log_before_fork, log_after_fork_parent, log_after_fork_child);
}
