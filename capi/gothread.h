/*
 * gothread.h - the threads that the Go runtime makes.
 */
#ifndef MLN_GOTHREAD_H
#define MLN_GOTHREAD_H

#include <pthread.h>

/* The type of pthread_create(). */
typedef int gothread_creator(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/*
 * Before the runtime starts: sees to it that its threads block every signal that they have no need of. They are made by
 * `known`, or by the pthread_create() that the loader finds if that is NULL.
 */
void gothread_prepare(gothread_creator *known);

/* What makes them. */
gothread_creator *gothread_create(void);

#endif
