/*
 * loader.c - whether a process made by fork can use the dynamic loader.
 *
 * There is no way to try the loader's lock. So a thread takes it, and if that does not come back soon it never will: the lock
 * is held by a thread that was not copied. The loader has a second lock, which a fork gives back in the child.
 */
#include "loader.h"

#include "gothread.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Nobody holds the lock for more than moments, but a machine may be busy. */
enum { WAIT_S = 5 };

static int lost; /* so it is for all descendants, too */
static pthread_mutex_t mutex;
static pthread_cond_t changed;
static int been_there;

static int leave_again(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info;
    (void)size;
    (void)data;
    return 1;
}

static void *take_lock(void *data)
{
    (void)dl_iterate_phdr(leave_again, NULL);
    pthread_mutex_lock(&mutex);
    been_there = 1;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
    return data;
}

/* The thread that may be there for ever, where no signal of the program reaches it. */
static int start_thread(void)
{
    pthread_attr_t attributes;
    sigset_t all, mask;
    pthread_t thread;
    int error_number;

    if ((error_number = pthread_attr_init(&attributes)) != 0)
        return error_number;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    error_number = gothread_create()(&thread, &attributes, take_lock, NULL);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    pthread_attr_destroy(&attributes);
    return error_number;
}

/* Whether the thread has had the lock in time. */
static int wait_for_it(void)
{
    struct timespec limit;
    int late = 0, got_it;

    clock_gettime(CLOCK_MONOTONIC, &limit);
    limit.tv_sec += WAIT_S;
    pthread_mutex_lock(&mutex);
    while (!been_there && !late)
        late = pthread_cond_timedwait(&changed, &mutex, &limit) != 0;
    got_it = been_there;
    pthread_mutex_unlock(&mutex);
    return got_it;
}

static int try_lock(void)
{
    pthread_condattr_t attributes;
    int error_number;

    pthread_mutex_init(&mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
    pthread_condattr_destroy(&attributes);
    been_there = 0;
    if ((error_number = start_thread()) == 0)
        lost = !wait_for_it();
    return error_number;
}

int loader_check(char *reason, size_t size)
{
    int error_number = lost ? 0 : try_lock();

    if (error_number != 0) {
        snprintf(reason, size, "no thread can be created: %s", strerror(error_number));
        errno = error_number;
        return -1;
    }
    if (!lost)
        return 0;
    snprintf(reason, size, "another thread was inside the dynamic loader when this process was forked, and the loader's lock is "
             "held for ever here; call mln_fork_prepare() before the fork");
    errno = EDEADLK;
    return -1;
}
