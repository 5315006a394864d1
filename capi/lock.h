/*
 * lock.h - locks that know their owner, for what is held around a fork and what signal handlers of the program may come upon.
 *
 * A lock is a word, 0 when nobody has it. It holds the owner, taken and given back by one atomic instruction each. A mutex of the C
 * library would not do: it marks itself taken first and notes its owner afterwards, and a signal handler that logs, or forks,
 * between the two would wait for the very thread that it has interrupted. What is short is inline: every message takes a lock.
 */
#ifndef MLN_LOCK_H
#define MLN_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LOCK_WAITERS 0x80000000u /* somebody may be waiting */

/* The rest of acquiring a lock that was seen with another owner, and of releasing one with waiters. Both keep errno. */
void lock_wait(uint32_t *lock, uint32_t seen, uint32_t self);
void lock_wake(uint32_t *lock);

/*
 * A number for this thread without a system call, that stays the same in a child made by fork. Two threads that live have descriptors
 * on different pages: each lies on its thread's stack.
 */
static inline uint32_t lock_owner(void)
{
    return (uint32_t)((uintptr_t)pthread_self() >> 12) & ~LOCK_WAITERS;
}

/* Waits until the lock is this thread's. It must not be already. */
static inline void lock_acquire(uint32_t *lock)
{
    uint32_t seen = 0, self = lock_owner();

    if (!__atomic_compare_exchange_n(lock, &seen, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        lock_wait(lock, seen, self);
}

/*
 * Likewise, unless it is this thread's already: a signal handler of the program has interrupted its holder, and nobody will release it
 * before that handler returns. Returns whether it is.
 */
static inline bool lock_acquire_unless_owned(uint32_t *lock)
{
    uint32_t seen = 0, self = lock_owner();

    if (__atomic_compare_exchange_n(lock, &seen, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return false;
    if ((seen & ~LOCK_WAITERS) == self)
        return true;
    lock_wait(lock, seen, self);
    return false;
}

static inline void lock_release(uint32_t *lock)
{
    if (__atomic_exchange_n(lock, 0, __ATOMIC_RELEASE) & LOCK_WAITERS)
        lock_wake(lock);
}

/* In the child of a fork before which it was acquired: it is nobody's, and nobody waits for it any more. */
static inline void lock_reset(uint32_t *lock)
{
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

#endif
