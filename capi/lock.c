/*
 * lock.c - locks that know their owner; see lock.h.
 */
#include "lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WAITERS 0x80000000u

/*
 * A number for this thread without a system call, that stays the same in a child made by fork. Two threads that live have descriptors
 * on different pages: each lies on its thread's stack.
 */
static uint32_t this_thread(void)
{
    return (uint32_t)((uintptr_t)pthread_self() >> 12) & ~WAITERS;
}

/* Once it had to wait, a thread takes the lock with the mark, since others may be waiting still. */
static void wait_for(uint32_t *lock, uint32_t seen, uint32_t self)
{
    int saved_errno = errno;

    for (;;) {
        if (seen == 0) {
            if (__atomic_compare_exchange_n(lock, &seen, self | WAITERS, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
                break;
            continue;
        }
        if ((seen & WAITERS) == 0 &&
            !__atomic_compare_exchange_n(lock, &seen, seen | WAITERS, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        syscall(SYS_futex, lock, FUTEX_WAIT_PRIVATE, seen | WAITERS, NULL, NULL, 0);
        seen = __atomic_load_n(lock, __ATOMIC_RELAXED);
    }
    errno = saved_errno;
}

void lock_acquire(uint32_t *lock)
{
    uint32_t seen = 0, self = this_thread();

    if (!__atomic_compare_exchange_n(lock, &seen, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        wait_for(lock, seen, self);
}

int lock_acquire_unless_owned(uint32_t *lock)
{
    uint32_t seen = 0, self = this_thread();

    if (__atomic_compare_exchange_n(lock, &seen, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return 0;
    if ((seen & ~WAITERS) == self)
        return 1;
    wait_for(lock, seen, self);
    return 0;
}

void lock_release(uint32_t *lock)
{
    int saved_errno = errno;

    if (__atomic_exchange_n(lock, 0, __ATOMIC_RELEASE) & WAITERS)
        syscall(SYS_futex, lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved_errno;
}

void lock_reset(uint32_t *lock)
{
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}
