/*
 * gothread.h - the threads that the Go runtime makes.
 */
#ifndef MLN_GOTHREAD_H
#define MLN_GOTHREAD_H

/* Before the runtime starts: sees to it that its threads block every signal that they have no need of. */
void gothread_prepare(void);

#endif
