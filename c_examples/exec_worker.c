/*
 * exec_worker.c - a worker that is a program of its own, and needs nothing of the library: bare read() and write().
 *
 * It is started by a master; see exec_master.c. Its last argument is the number of an open descriptor: a stream socket that
 * leads to the master. In both directions messages travel on it as frames, in the byte order of the machine:
 *
 *     uint32_t length     4 + number of payload bytes: the type counts, the length itself does not
 *     uint32_t type       a number that both sides know
 *     payload             any bytes, or none
 *
 * The end of the stream means that the master is gone. Any language will do that can read and write a descriptor.
 */
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec_messages.h"

enum { PAYLOAD_MAX = 64 << 10 }; /* more than this program's master ever sends */

/* Reads exactly n bytes. Returns n; less, when the stream ended before; or -1. */
static ssize_t read_all(int fd, void *buf, size_t n)
{
    size_t have = 0;

    while (have < n) {
        ssize_t got = read(fd, (char *)buf + have, n - have);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

static int write_all(int fd, const void *buf, size_t n)
{
    while (n > 0) {
        ssize_t put = write(fd, buf, n);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        buf = (const char *)buf + put;
        n -= (size_t)put;
    }
    return 0;
}

static int send_frame(int fd, uint32_t type, const void *payload, uint32_t size)
{
    uint32_t header[2] = {(uint32_t)sizeof type + size, type};

    return write_all(fd, header, sizeof header) == 0 && write_all(fd, payload, size) == 0 ? 0 : -1;
}

/* Receives a frame. Returns 1; 0 when the stream ended between frames; or -1. */
static int receive_frame(int fd, uint32_t *type, char *payload, uint32_t *size)
{
    uint32_t header[2];
    ssize_t got = read_all(fd, header, sizeof header);

    if (got == 0)
        return 0;
    if (got < 0)
        return -1;
    errno = EBADMSG;
    if (got < (ssize_t)sizeof header || header[0] < sizeof *type || header[0] - sizeof *type > PAYLOAD_MAX)
        return -1;
    *size = header[0] - (uint32_t)sizeof *type;
    *type = header[1];
    return read_all(fd, payload, *size) == (ssize_t)*size ? 1 : -1;
}

int main(int argc, char *argv[])
{
    static char payload[PAYLOAD_MAX];
    const char *name = argc == 3 ? argv[1] : "";
    char *end = "";
    long fd = argc == 3 ? strtol(argv[2], &end, 10) : -1;
    uint32_t type, size;
    int result;

    if (fd < 3 || *end != '\0') {
        fprintf(stderr, "usage: exec_worker NAME DESCRIPTOR (started by a master, which adds the descriptor)\n");
        return 2;
    }
    if (send_frame((int)fd, HELLO, name, (uint32_t)strlen(name)) != 0)
        goto failed;
    while ((result = receive_frame((int)fd, &type, payload, &size)) > 0) {
        if (type == FINISH)
            return 0;
        if (type != SHOUT)
            continue; /* the library's own, as the one about a reload: not for this program */
        for (uint32_t i = 0; i < size; ++i)
            payload[i] = (char)toupper((unsigned char)payload[i]);
        if (send_frame((int)fd, SHOUTED, payload, size) != 0)
            goto failed;
    }
    if (result == 0)
        return 0; /* without a master there is nothing to do */
failed:
    fprintf(stderr, "exec_worker %s: the connection to the master: %s\n", name, strerror(errno));
    return 1;
}
