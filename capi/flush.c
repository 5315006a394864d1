/*
 * flush.c - emptying the buffers of stdio before a fork, which would double what they hold.
 *
 * fflush(NULL) will not do: it waits for the lock of every stream, and a thread that waits for input, in fgets(stdin) say,
 * holds its stream's lock all the time. The fork, and with it the loop, would wait for somebody to press a key.
 */
#include "process.h"

#include <pthread.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <unistd.h>

/* The streams of glibc. They have no header any more; a C library without them gets the plain call. */
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern FILE *_IO_iter_begin(void) __attribute__((weak));
extern FILE *_IO_iter_end(void) __attribute__((weak));
extern FILE *_IO_iter_next(FILE *at) __attribute__((weak));

/* A thread that is printing is soon done; one that hangs in its write is not waited for. */
enum { TRIES = 20, PAUSE_US = 500 };

static void flush_one(FILE *stream)
{
    for (int i = 0; __fpending(stream) != 0 && i < TRIES; ++i) {
        if (ftrylockfile(stream) == 0) {
            (void)fflush_unlocked(stream);
            funlockfile(stream);
            return;
        }
        usleep(PAUSE_US);
    }
}

void process_flush(void)
{
    int cancel_state;

    if (_IO_list_lock == NULL || _IO_list_unlock == NULL || _IO_iter_begin == NULL || _IO_iter_end == NULL ||
        _IO_iter_next == NULL) {
        (void)fflush(NULL);
        return;
    }
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state); /* the list would stay locked */
    _IO_list_lock();
    for (FILE *at = _IO_iter_begin(); at != _IO_iter_end(); at = _IO_iter_next(at))
        flush_one(at);
    _IO_list_unlock();
    pthread_setcancelstate(cancel_state, &cancel_state);
}
