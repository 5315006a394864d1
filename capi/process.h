/*
 * process.h - what the library does around every fork of the process, whoever calls it.
 */
#ifndef MLN_PROCESS_H
#define MLN_PROCESS_H

#include <stdint.h>

/* The locks that are held around a fork, in the order in which they are acquired: its child finds whole what they are for. */
enum { LOCK_WORKERS, LOCK_CHANNELS, LOCK_LOOPS, LOCKS };
extern uint32_t process_locks[LOCKS];

/* The hooks of pthread_atfork(). */
void process_before_fork(void);
void process_after_fork_parent(void);
void process_after_fork_child(void);

/*
 * Before a fork: writes out what stdio holds, which would come out twice otherwise, and gives back what it has read ahead from files.
 * Does not wait for other threads' input, nor for a pipe that takes nothing.
 */
void process_flush(void);

/* In a child that its parent outlives, before the program's own hooks: drops what is left of that. */
void process_drop_output(void);

#endif
