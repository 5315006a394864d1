/*
 * events.h - for test programs about loops: handlers that count or stop, connected descriptors, and CPU time. Include
 * check.h first. C99 to C17 and C++.
 */
#ifndef EVENTS_H
#define EVENTS_H

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "mln_event.h"

/* A descriptor's or a timer's handler that breaks the loop; dispatch clears the flag when it returns. */
CHECK_UNUSED static inline void stop(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_set_break(ev);
}

CHECK_UNUSED static inline void stop_after_laps(mln_event_t *ev, void *data)
{
    int *laps = (int *)data;

    if (--*laps == 0)
        mln_event_set_break(ev);
    else
        CHECK(mln_event_timer_set(ev, 0, data, stop_after_laps) != NULL);
}

/*
 * Runs the loop for so long, and then for a hundred iterations more: where the machine did not let this process run for
 * a while, the time is over before anything was served. Breaks of handlers do not end it.
 */
CHECK_UNUSED static inline void run_for(mln_event_t *ev, mln_u32_t msec)
{
    int laps = 100;

    CHECK(mln_event_timer_set(ev, msec, &laps, stop_after_laps) != NULL);
    while (laps > 0)
        mln_event_dispatch(ev);
}

/* Handlers whose data is an int, which counts their calls. */
CHECK_UNUSED static inline void count(mln_event_t *ev, int fd, void *data)
{
    (void)ev;
    (void)fd;
    ++*(int *)data;
}

CHECK_UNUSED static inline void count_timer(mln_event_t *ev, void *data)
{
    (void)ev;
    ++*(int *)data;
}

/* The same, taking one byte, or the end of file, from the descriptor. */
CHECK_UNUSED static inline void count_byte(mln_event_t *ev, int fd, void *data)
{
    char byte;

    (void)ev;
    CHECK(read(fd, &byte, 1) >= 0);
    ++*(int *)data;
}

/* A handler that must not be called. */
CHECK_UNUSED static inline void never(mln_event_t *ev, int fd, void *data)
{
    (void)ev;
    (void)data;
    fprintf(stderr, "the handler of descriptor %d was called\n", fd);
    CHECK(0);
}

CHECK_UNUSED static inline void never_timer(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    CHECK(0);
}

CHECK_UNUSED static inline mln_event_t *new_loop(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    return ev;
}

CHECK_UNUSED static inline void make_pipe(int ends[2])
{
    CHECK_INT(pipe(ends), 0);
}

CHECK_UNUSED static inline void make_sockets(int ends[2])
{
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

CHECK_UNUSED static inline void close_both(const int ends[2])
{
    CHECK_INT(close(ends[0]), 0);
    CHECK_INT(close(ends[1]), 0);
}

CHECK_UNUSED static inline void put_byte(int fd)
{
    CHECK_INT(write(fd, "x", 1), 1);
}

CHECK_UNUSED static inline int is_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    CHECK(flags >= 0);
    return (flags & O_NONBLOCK) != 0;
}

CHECK_UNUSED static inline void set_nonblocking(int fd, int on)
{
    int flags = fcntl(fd, F_GETFL);

    CHECK(flags >= 0);
    CHECK_INT(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK), 0);
}

/* Puts bytes into a non-blocking descriptor until it takes no more; returns their number. */
CHECK_UNUSED static inline long fill(int fd)
{
    static char bytes[4096];
    long total = 0;

    CHECK(is_nonblocking(fd));
    for (;;) {
        ssize_t n = write(fd, bytes, sizeof bytes);

        if (n < 0) {
            CHECK_INT(errno, EAGAIN);
            return total;
        }
        total += n;
    }
}

/* Takes all bytes out of a non-blocking descriptor; returns their number. */
CHECK_UNUSED static inline long drain(int fd)
{
    char bytes[4096];
    long total = 0;
    ssize_t n;

    CHECK(is_nonblocking(fd));
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        total += n;
    return total;
}

/* Microseconds of CPU that all threads of this process have used. */
CHECK_UNUSED static inline long long cpu_us(void)
{
    struct rusage usage;

    CHECK_INT(getrusage(RUSAGE_SELF, &usage), 0);
    return (long long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

/* Runs the loop for 300 ms and checks that it slept: a loop that spins uses all of that time. */
CHECK_UNUSED static inline void check_sleeps(mln_event_t *ev)
{
    long long cpu = cpu_us(), start = now_ms();

    CHECK(mln_event_timer_set(ev, 300, NULL, stop) != NULL);
    mln_event_dispatch(ev);
    CHECK((cpu_us() - cpu) * 5 < (now_ms() - start) * 1000);
}

#endif
