/*
 * ipc.h - for test programs that exchange messages: masters and workers without the framework, and peers that speak the
 * raw format.
 */
#ifndef IPC_H
#define IPC_H

#include "check.h"
#include "contents.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "mln_event.h"
#include "mln_fork.h"
#include "mln_ipc.h"

/* ---- masters and workers ---- */

/* Makes this process a master. */
CHECK_UNUSED static inline mln_event_t *become_master(void)
{
    mln_event_t *ev;

    CHECK_INT(mln_fork_prepare(), 0);
    ev = mln_event_new();
    CHECK(ev != NULL);
    return ev;
}

/* In a child: its life as a worker. It ends with status 0 when its loop is broken. */
CHECK_UNUSED __attribute__((noreturn)) static inline void work(mln_event_t *parents, void (*begin)(mln_event_t *))
{
    mln_event_t *ev;

    mln_event_free(parents);
    ev = mln_event_new();
    CHECK(ev != NULL);
    mln_fork_worker_events_set(ev);
    if (begin != NULL)
        begin(ev);
    mln_event_dispatch(ev);
    mln_event_free(ev);
    exit(0);
}

/* Forks a supervised worker. */
CHECK_UNUSED static inline void start_worker(mln_event_t *ev, void (*begin)(mln_event_t *))
{
    int result = mln_fork_restart(ev);

    CHECK(result >= 0);
    if (result == 0)
        work(ev, begin);
}

/* Runs the master's loop. What returns from it may also be the successor of a worker that ended: a worker. */
CHECK_UNUSED static inline void dispatch(mln_event_t *ev, void (*begin)(mln_event_t *))
{
    pid_t self = getpid();

    mln_event_dispatch(ev);
    if (getpid() != self)
        work(ev, begin);
}

CHECK_UNUSED static inline int keep_last(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    *(mln_fork_t **)data = f;
    return 0;
}

/* The worker that was started last, or NULL. */
CHECK_UNUSED static inline mln_fork_t *last_worker(mln_event_t *ev)
{
    mln_fork_t *f = NULL;

    CHECK_INT(mln_fork_iterate(ev, keep_last, &f), 0);
    return f;
}

CHECK_UNUSED static inline int count_one(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)f;
    ++*(int *)data;
    return 0;
}

CHECK_UNUSED static inline int worker_count(mln_event_t *ev)
{
    int n = 0;

    CHECK_INT(mln_fork_iterate(ev, count_one, &n), 0);
    return n;
}

/* Bytes that were sent and have not left this process. */
CHECK_UNUSED static inline size_t bytes_to_send(mln_tcp_conn_t *conn)
{
    size_t n = 0;

    for (mln_chain_t *node = mln_tcp_conn_head(conn, M_C_SEND); node != NULL; node = node->next)
        n += (size_t)mln_buf_left_size(node->buf);
    return n;
}

CHECK_UNUSED static inline void break_loop(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

/* A handler that ends the dispatch. */
CHECK_UNUSED static inline void break_on_message(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    mln_event_break_set(ev);
}

/* Both sides know the type, with handlers of their own; NULL: dropped there. */
CHECK_UNUSED static inline void handle(mln_u32_t type, ipc_handler master, ipc_handler worker)
{
    CHECK(mln_ipc_handler_register(type, master, worker, NULL, NULL) != NULL);
}

/* ---- peers that do not use the library ---- */

/*
 * Starts this program once more, as a worker: its arguments are `role` and the number of its descriptor, and it is not
 * started again when it ends.
 */
CHECK_UNUSED static inline mln_fork_t *start_peer(mln_event_t *ev, const char *role)
{
    static char program[] = "/proc/self/exe";
    mln_s8ptr_t *args = (mln_s8ptr_t *)calloc(4, sizeof *args);

    CHECK(args != NULL);
    args[0] = program;
    args[1] = (mln_s8ptr_t)role;
    CHECK_INT(mln_fork_spawn(M_PST_DFL, args, 2, ev), 0);
    return last_worker(ev);
}

CHECK_UNUSED static inline void write_bytes(int fd, const void *bytes, size_t size)
{
    const char *at = (const char *)bytes;

    while (size > 0) {
        ssize_t n = write(fd, at, size);

        CHECK(n > 0);
        at += n;
        size -= (size_t)n;
    }
}

/* 1, or 0 at the end of the stream. */
CHECK_UNUSED static inline int read_bytes(int fd, void *bytes, size_t size)
{
    char *at = (char *)bytes;

    while (size > 0) {
        ssize_t n = read(fd, at, size);

        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return 0;
        CHECK(n > 0);
        at += n;
        size -= (size_t)n;
    }
    return 1;
}

/* Puts a frame to `at` and returns its end. */
CHECK_UNUSED static inline char *put_frame(char *at, uint32_t type, const void *payload, uint32_t size)
{
    uint32_t header[2] = {4 + size, type};

    memcpy(at, header, sizeof header);
    if (size > 0)
        memcpy(at + sizeof header, payload, size);
    return at + sizeof header + size;
}

CHECK_UNUSED static inline void write_frame(int fd, uint32_t type, const void *payload, uint32_t size)
{
    char *frame = (char *)malloc(8 + (size_t)size);

    CHECK(frame != NULL);
    write_bytes(fd, frame, (size_t)(put_frame(frame, type, payload, size) - frame));
    free(frame);
}

/* Waits until the other end has read everything. */
CHECK_UNUSED static inline void await_read(int fd)
{
    int unread;

    do {
        CHECK_INT(ioctl(fd, SIOCOUTQ, &unread), 0);
    } while (unread > 0 && usleep(20) == 0);
}

/* Waits until the other end has closed. */
CHECK_UNUSED static inline void await_end(int fd)
{
    char byte;

    while (read_bytes(fd, &byte, 1))
        ;
}

/* ---- what the process uses ---- */

/* A field of /proc/self/status, in KiB. */
CHECK_UNUSED static inline long memory_kib(const char *field)
{
    FILE *status = fopen("/proc/self/status", "r");
    size_t length = strlen(field);
    char line[256];
    long kib = -1;

    CHECK(status != NULL);
    while (kib < 0 && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, field, length) == 0 && line[length] == ':')
            kib = atol(line + length + 1);
    fclose(status);
    CHECK(kib >= 0);
    return kib;
}

/* Milliseconds of CPU that all threads of this process have used. */
CHECK_UNUSED static inline long cpu_ms(void)
{
    struct rusage used;

    CHECK_INT(getrusage(RUSAGE_SELF, &used), 0);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
}

#endif
