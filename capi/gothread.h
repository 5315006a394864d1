/*
 * gothread.h - the threads that a Go runtime makes.
 */
#ifndef MLN_GOTHREAD_H
#define MLN_GOTHREAD_H

#include <pthread.h>
#include <stdint.h>

/* The type of pthread_create(). */
typedef int gothread_creator(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/*
 * Before the runtime starts: sees to it that its threads block every signal that they have no need of. They are made by
 * `known`, or by the pthread_create() that the loader finds if that is NULL.
 */
void gothread_prepare(gothread_creator *known);

/* Waits, a moment at most, until no signal is under way to one of those that there are: nothing may happen to its disposition before. */
void gothread_settle(void);

/* What makes them. */
gothread_creator *gothread_create(void);

/* Whether so many, GOTHREAD_TRIED_MAX at most, could be made beside those that there are: 0, or why not, an errno. */
enum { GOTHREAD_TRIED_MAX = 8 };
int gothread_try(int n);

/* The thread by which a runtime watches over its others. */
struct monitor {
    int thread;    /* 0: not known; atomic */
    uint32_t rest; /* enum monitor_rest; atomic, and a futex */
};

/*
 * Asks it to rest, for at most so many tenths of a millisecond. It does when it is where it can be stopped, and can be asked again
 * if it does not. Only for a process with one thread that calls Go.
 */
void monitor_rest(struct monitor *m, int patience);

/* Has it go on. */
void monitor_resume(struct monitor *m);

#endif
