/*
 * Where the engine has a part of a message, what comes next belongs to that, and is received by nobody else: the last bytes of a large
 * message are not taken for a message, whatever they look like, and one that comes with them arrives behind it.
 */
#include "ipc.h"

#include <poll.h>

enum { READY = 2000, LARGE, FORGED, LAST, SIZE = 100000, REST = 1000 };

static int wakes[2]; /* readable when the first part of a message is there */
static int large;

/* Its standard input leads to the master. */
static int peer(int fd)
{
    static char frame[8 + SIZE], payload[SIZE];

    fill(payload, SIZE, 1);
    put_frame(payload + SIZE - REST, FORGED, payload, REST - 8);
    put_frame(frame, LARGE, payload, SIZE);
    for (int last = 0; last < 2; ++last) {
        char rest[REST + 8];

        write_frame(fd, READY, NULL, 0);
        await_read(fd);
        write_bytes(fd, frame, sizeof frame - REST);
        write_bytes(STDIN_FILENO, "x", 1);
        await_read(fd);
        memcpy(rest, frame + sizeof frame - REST, REST);
        (void)put_frame(rest + REST, LAST, NULL, 0);
        write_bytes(fd, rest, last ? sizeof rest : REST);
    }
    await_end(fd);
    return 0;
}

/* The next wait brings more than this channel, so that the engine receives. */
static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    struct pollfd wake = {.fd = wakes[0], .events = POLLIN};

    (void)ev;
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_INT(poll(&wake, 1, -1), 1);
}

static void on_wake(mln_event_t *ev, int fd, void *data)
{
    char byte;

    (void)ev;
    (void)data;
    CHECK_INT(read(fd, &byte, 1), 1);
}

static void on_large(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    CHECK_INT(len, SIZE);
    CHECK(filled(buf, SIZE - REST, 1));
    ++large;
}

static void on_forged(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK(!"a part of a message was taken for one");
}

int main(int argc, char **argv)
{
    mln_event_t *ev;

    if (argc > 1)
        return peer(atoi(argv[argc - 1]));
    handle(READY, on_ready, NULL);
    handle(LARGE, on_large, NULL);
    handle(FORGED, on_forged, NULL);
    handle(LAST, break_on_message, NULL);
    CHECK_INT(pipe(wakes), 0);
    CHECK_INT(dup2(wakes[1], STDIN_FILENO), STDIN_FILENO);
    ev = become_master();
    CHECK_INT(mln_event_fd_set(ev, wakes[0], M_EV_RECV | M_EV_NONBLOCK, M_EV_UNLIMITED, NULL, on_wake), 0);
    (void)start_peer(ev, "peer");
    mln_event_dispatch(ev);
    CHECK_INT(large, 2);
    mln_event_free(ev);
    return 0;
}
