/*
 * lock.c - what takes long of a lock that knows its owner; see lock.h.
 */
#include "lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Once it had to wait, a thread takes the lock with the mark, since others may be waiting still. */
bool lock_wait(uint32_t *lock, uint32_t seen, uint32_t self, const struct timespec *patience)
{
    int saved_errno = errno;
    bool acquired = false;

    if ((seen & LOCK_KEPT) && (seen & LOCK_OWNER) == (self & LOCK_OWNER))
        return true;
    for (;;) {
        if (seen == 0) {
            acquired = __atomic_compare_exchange_n(lock, &seen, self | LOCK_WAITERS, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
            if (acquired)
                break;
            continue;
        }
        if ((seen & LOCK_WAITERS) == 0 &&
            !__atomic_compare_exchange_n(lock, &seen, seen | LOCK_WAITERS, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        if (syscall(SYS_futex, lock, FUTEX_WAIT_PRIVATE, seen | LOCK_WAITERS, patience, NULL, 0) != 0 && errno == ETIMEDOUT)
            break;
        seen = __atomic_load_n(lock, __ATOMIC_RELAXED);
    }
    errno = saved_errno;
    return acquired;
}

void lock_wake(uint32_t *lock)
{
    int saved_errno = errno;

    syscall(SYS_futex, lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved_errno;
}
