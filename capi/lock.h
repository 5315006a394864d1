/*
 * lock.h - locks that know their owner, for what is held around a fork and what signal handlers of the program may come upon.
 *
 * A lock is a word, 0 when nobody has it. It holds the owner, taken and given back by one atomic instruction each. A mutex of the C
 * library would not do: it marks itself taken first and notes its owner afterwards, and a signal handler that logs, or forks,
 * between the two would wait for the very thread that it has interrupted.
 */
#ifndef MLN_LOCK_H
#define MLN_LOCK_H

#include <stdint.h>

/* Waits until the lock is this thread's. It must not be already. Keeps errno, as all of these. */
void lock_acquire(uint32_t *lock);
void lock_release(uint32_t *lock);

/*
 * Likewise, unless it is this thread's already: a signal handler of the program has interrupted its holder, and nobody will release it
 * before that handler returns. Returns whether it is.
 */
int lock_acquire_unless_owned(uint32_t *lock);

/* In the child of a fork before which it was acquired: it is nobody's, and nobody waits for it any more. */
void lock_reset(uint32_t *lock);

#endif
