/*
 * process.h - what the library does around every fork of the process, whoever calls it.
 */
#ifndef MLN_PROCESS_H
#define MLN_PROCESS_H

/* The hooks of pthread_atfork(). */
void process_before_fork(void);
void process_after_fork_parent(void);
void process_after_fork_child(void);

/* Before a fork: writes out what stdio holds, which would come out twice otherwise. Does not wait for other threads' input. */
void process_flush(void);

#endif
