/*
 * The lock of the log.
 *
 * Its word holds the id of the owning thread, taken and given back by one atomic instruction each. A mutex of the C
 * library would not do: it marks itself taken first and notes its owner afterwards, and a signal handler that logs
 * between the two would wait for the very thread it interrupted.
 */
#include "log.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WAITERS 0x80000000u

/* How many times the owner took the lock again. Only the owner touches it, its signal handlers included. */
static volatile unsigned again;

static pid_t this_thread(void)
{
    return (pid_t)syscall(SYS_gettid);
}

void log_lock(void)
{
    int saved_errno = errno;
    mln_u32_t *word = &mln_log_state()->thread_lock;
    mln_u32_t self = (mln_u32_t)this_thread();
    mln_u32_t seen = 0;

    if (__atomic_compare_exchange_n(word, &seen, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    if ((seen & ~WAITERS) == self) {
        again++;
        return;
    }

    /* Once it had to wait, a thread takes the lock with the mark, since others may be waiting still. */
    for (;;) {
        if (seen == 0) {
            if (__atomic_compare_exchange_n(word, &seen, self | WAITERS, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
                break;
            continue;
        }
        if ((seen & WAITERS) == 0
            && !__atomic_compare_exchange_n(word, &seen, seen | WAITERS, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen | WAITERS, NULL, NULL, 0);
        seen = __atomic_load_n(word, __ATOMIC_RELAXED);
    }
    errno = saved_errno;
}

void log_unlock(void)
{
    if (again > 0) {
        again--;
        return;
    }
    int saved_errno = errno;
    mln_u32_t *word = &mln_log_state()->thread_lock;
    if (__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) & WAITERS)
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved_errno;
}

void log_before_fork(void)
{
    log_lock();
}

void log_after_fork_parent(void)
{
    log_unlock();
}

/* The only thread of the child holds the lock, but has another id now, and nobody waits any more. */
void log_after_fork_child(void)
{
    mln_u32_t owner = 0;
    if (again > 0) {
        again--;
        owner = (mln_u32_t)this_thread();
    }
    __atomic_store_n(&mln_log_state()->thread_lock, owner, __ATOMIC_RELEASE);
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(log_before_fork, log_after_fork_parent, log_after_fork_child);
}
