/*
 * flush.c - emptying the buffers of stdio before a fork, which would double what they hold.
 *
 * fflush(NULL) will not do: it waits for the lock of every stream, and a thread that waits for input, in fgets(stdin) say,
 * holds its stream's lock all the time. The fork, and with it the loop, would wait for somebody to press a key. And it waits for a pipe
 * that is full, which a worker that shares it may have filled. What is not written stays in the parent's buffers alone.
 *
 * What was read ahead from a file is given back: exit() in the child would do it, and move the parent in the file that both have.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The streams of glibc. They have no header any more; a C library without them gets the plain call. */
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern FILE *_IO_iter_begin(void) __attribute__((weak));
extern FILE *_IO_iter_end(void) __attribute__((weak));
extern FILE *_IO_iter_next(FILE *at) __attribute__((weak));

/* A thread that is printing is soon done; one that hangs in its write is not waited for. */
enum { TRIES = 20, PAUSE_US = 500 };

/*
 * Whether all that it holds can be written without waiting. A pipe with room takes PIPE_BUF bytes, which is what a buffer for one holds
 * unless the program gives it another, and an empty one takes its size.
 */
static int can_flush(FILE *stream)
{
    struct pollfd room = {.fd = fileno(stream), .events = POLLOUT};
    size_t size = __fpending(stream);
    struct stat status;
    int ready, queued;

    if (room.fd < 0) /* it is written to memory, or by a function of the program's */
        return 1;
    if (fstat(room.fd, &status) != 0)
        return 0;
    if (S_ISREG(status.st_mode))
        return 1;
    while ((ready = poll(&room, 1, 0)) < 0 && errno == EINTR)
        ;
    if (ready != 1 || room.revents != POLLOUT)
        return 0;
    return !S_ISFIFO(status.st_mode) || size <= PIPE_BUF ||
           (ioctl(room.fd, FIONREAD, &queued) == 0 && queued == 0 && (long)size <= fcntl(room.fd, F_GETPIPE_SZ));
}

/* Whether it reads from what has a position. */
static int reads_file(FILE *stream)
{
    return __freading(stream) && fileno(stream) >= 0 && lseek(fileno(stream), 0, SEEK_CUR) >= 0;
}

static void flush_one(FILE *stream)
{
    for (int i = 0; (__fpending(stream) != 0 || reads_file(stream)) && i < TRIES; ++i) {
        if (ftrylockfile(stream) == 0) {
            if (__fpending(stream) == 0 || can_flush(stream))
                (void)fflush_unlocked(stream);
            funlockfile(stream);
            return;
        }
        usleep(PAUSE_US);
    }
}

/* In the child: what could not be written is the parent's to write. */
static void drop_output(FILE *stream)
{
    if (__fpending(stream) != 0 && fileno(stream) >= 0)
        __fpurge(stream);
}

static void for_all_streams(void (*act)(FILE *stream))
{
    int cancel_state;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state); /* the list would stay locked */
    _IO_list_lock();
    for (FILE *at = _IO_iter_begin(); at != _IO_iter_end(); at = _IO_iter_next(at))
        act(at);
    _IO_list_unlock();
    pthread_setcancelstate(cancel_state, &cancel_state);
}

static int has_list(void)
{
    return _IO_list_lock != NULL && _IO_list_unlock != NULL && _IO_iter_begin != NULL && _IO_iter_end != NULL && _IO_iter_next != NULL;
}

void process_flush(void)
{
    if (has_list())
        for_all_streams(flush_one);
    else
        (void)fflush(NULL);
}

void process_drop_output(void)
{
    if (has_list())
        for_all_streams(drop_output);
}
