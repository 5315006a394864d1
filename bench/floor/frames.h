/*
 * frames.h - frames over a stream socket by hand: u32 length (of what follows), u32 type, payload. As little as does it.
 */
#ifndef FRAMES_H
#define FRAMES_H

#include "../bench.h"

#include <fcntl.h>
#include <sys/uio.h>

enum { HEADER = 8, BUFFER = 64 << 10 };

struct end {
    int fd;
    char *in, *out;
    size_t room;             /* of both buffers */
    size_t start, received;  /* of what is in `in` */
    size_t sent, filled;     /* of what is in `out` */
};

static void open_end(struct end *e, int fd, size_t message)
{
    size_t frame = HEADER + message;

    memset(e, 0, sizeof *e);
    e->fd = fd;
    e->room = frame > BUFFER ? frame : BUFFER;
    e->in = malloc(e->room);
    e->out = malloc(e->room);
    if (e->in == NULL || e->out == NULL)
        fail("out of memory");
}

/* A frame that has arrived; NULL when there is none. Valid until the next receive. */
static inline char *take(struct end *e, uint32_t *type, size_t *size)
{
    uint32_t header[2];
    char *payload;

    if (e->received - e->start < HEADER)
        return NULL;
    memcpy(header, e->in + e->start, HEADER);
    if (e->received - e->start < sizeof header[0] + header[0])
        return NULL;
    payload = e->in + e->start + HEADER;
    *type = header[1];
    *size = header[0] - sizeof header[1];
    e->start += sizeof header[0] + header[0];
    return payload;
}

/* Reads once. Bytes received, 0 if there are none for now. */
static inline size_t receive(struct end *e)
{
    ssize_t n;

    if (e->start > 0) {
        memmove(e->in, e->in + e->start, e->received - e->start);
        e->received -= e->start;
        e->start = 0;
    }
    n = read(e->fd, e->in + e->received, e->room - e->received);
    if (n == 0)
        fail("the other end is gone");
    if (n < 0 && errno != EAGAIN)
        fail("read: %s", strerror(errno));
    n = n < 0 ? 0 : n;
    e->received += (size_t)n;
    return (size_t)n;
}

/* The next frame, on a blocking socket. */
static inline char *next(struct end *e, uint32_t *type, size_t *size)
{
    char *payload;

    while ((payload = take(e, type, size)) == NULL)
        (void)receive(e);
    return payload;
}

/* Writes what is in the buffer, on a blocking socket. */
static inline void flush(struct end *e)
{
    while (e->sent < e->filled) {
        ssize_t n = write(e->fd, e->out + e->sent, e->filled - e->sent);

        MUST(n);
        e->sent += (size_t)n;
    }
    e->sent = e->filled = 0;
}

static inline int fits(const struct end *e, size_t size)
{
    return e->room - e->filled >= HEADER + size;
}

/* Adds a frame to the buffer, in which there is room. */
static inline void add(struct end *e, uint32_t type, const void *payload, size_t size)
{
    uint32_t header[2] = {(uint32_t)(sizeof type + size), type};

    memcpy(e->out + e->filled, header, HEADER);
    memcpy(e->out + e->filled + HEADER, payload, size);
    e->filled += HEADER + size;
}

/* Sends a frame, on a blocking socket, sooner or later. */
static inline void put(struct end *e, uint32_t type, const void *payload, size_t size)
{
    if (HEADER + size > BUFFER / 4) { /* without a copy, which would cost more than the call */
        uint32_t header[2] = {(uint32_t)(sizeof type + size), type};
        struct iovec parts[2] = {{header, HEADER}, {(void *)payload, size}};

        flush(e);
        for (int i = 0; i < 2;) {
            ssize_t n = writev(e->fd, parts + i, 2 - i);

            MUST(n);
            for (; i < 2 && (size_t)n >= parts[i].iov_len; ++i)
                n -= (ssize_t)parts[i].iov_len;
            if (i < 2) {
                parts[i].iov_base = (char *)parts[i].iov_base + n;
                parts[i].iov_len -= (size_t)n;
            }
        }
        return;
    }
    if (!fits(e, size))
        flush(e);
    add(e, type, payload, size);
}

static inline void put_now(struct end *e, uint32_t type, const void *payload, size_t size)
{
    put(e, type, payload, size);
    flush(e);
}

static inline void set_nonblocking(int fd, int nonblocking)
{
    int flags = fcntl(fd, F_GETFL);

    MUST(flags);
    MUST(fcntl(fd, F_SETFL, nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

#endif
