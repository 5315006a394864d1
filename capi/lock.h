/*
 * lock.h - locks that know their owner, for what is held around a fork and what signal handlers of the program may come upon.
 *
 * A lock is a word, 0 when nobody has it. It holds the owner, taken and given back by one atomic instruction each. A mutex of the C
 * library would not do: it marks itself taken first and notes its owner afterwards, and a signal handler that logs, or forks,
 * between the two would wait for the very thread that it has interrupted. What is short is inline: every message takes a lock.
 *
 * A thread that has a lock cannot be cancelled: nobody would ever give it back, and much of what is done under one (writev, open, close)
 * is a point where threads are cancelled. The word keeps whether that is to be possible again.
 */
#ifndef MLN_LOCK_H
#define MLN_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define LOCK_WAITERS 0x80000000u    /* somebody may be waiting */
#define LOCK_CANCELABLE 0x40000000u /* its owner could be cancelled before */
#define LOCK_KEPT 0x20000000u       /* its owner keeps it: to acquire it once more, and to release that, changes nothing */
#define LOCK_OWNER 0x1fffffffu      /* the rest of the word */

/*
 * The rest of acquiring a lock that was seen with another owner, and of releasing one with waiters. Both keep errno. The first returns
 * whether it was acquired: not if it had one owner for that long; NULL: for ever.
 */
bool lock_wait(uint32_t *lock, uint32_t seen, uint32_t self, const struct timespec *patience);
void lock_wake(uint32_t *lock);

/*
 * A number for this thread without a system call, that stays the same in a child made by fork. Two threads that live have descriptors
 * on different pages: each lies on its thread's stack.
 */
static inline uint32_t lock_owner(void)
{
    return (uint32_t)((uintptr_t)pthread_self() >> 12) & LOCK_OWNER;
}

static inline bool lock_is_owned(const uint32_t *lock)
{
    return (__atomic_load_n(lock, __ATOMIC_RELAXED) & LOCK_OWNER) == lock_owner();
}

/* The end of having a lock whose word was `had`. */
static inline void lock_allow_cancel(uint32_t had)
{
    int before;

    if (had & LOCK_CANCELABLE)
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
}

/*
 * Waits until the lock is this thread's, or another one has had it for that long. It must not be this thread's already, unless that keeps
 * it.
 */
static inline bool lock_acquire_within(uint32_t *lock, const struct timespec *patience)
{
    uint32_t seen = 0, self = lock_owner();
    int before;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    if (before == PTHREAD_CANCEL_ENABLE)
        self |= LOCK_CANCELABLE;
    if (__atomic_compare_exchange_n(lock, &seen, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED) || lock_wait(lock, seen, self, patience))
        return true;
    lock_allow_cancel(self);
    return false;
}

static inline void lock_acquire(uint32_t *lock)
{
    (void)lock_acquire_within(lock, NULL);
}

/*
 * Likewise, unless it is this thread's already: a signal handler of the program has interrupted its holder, and nobody will release it
 * before that handler returns. Returns whether it is.
 */
static inline bool lock_acquire_unless_owned(uint32_t *lock)
{
    if (lock_is_owned(lock))
        return true;
    lock_acquire(lock);
    return false;
}

static inline void lock_release(uint32_t *lock)
{
    uint32_t had;

    if (__atomic_load_n(lock, __ATOMIC_RELAXED) & LOCK_KEPT)
        return;
    had = __atomic_exchange_n(lock, 0, __ATOMIC_RELEASE);

    if (had & LOCK_WAITERS)
        lock_wake(lock);
    lock_allow_cancel(had);
}

/* Of what was acquired: between the two the program's code runs in this thread, and may come back. */
static inline void lock_keep(uint32_t *lock)
{
    __atomic_fetch_or(lock, LOCK_KEPT, __ATOMIC_RELAXED);
}

static inline void lock_release_kept(uint32_t *lock)
{
    __atomic_fetch_and(lock, ~LOCK_KEPT, __ATOMIC_RELAXED);
    lock_release(lock);
}

/* In the child of a fork before which it was acquired: it is nobody's, and nobody waits for it any more. */
static inline void lock_reset(uint32_t *lock)
{
    bool owned = lock_is_owned(lock);
    uint32_t had = __atomic_exchange_n(lock, 0, __ATOMIC_RELEASE);

    if (owned)
        lock_allow_cancel(had);
}

#endif
