/*
 * Frames arrive whole wherever the stream is cut: a peer writes them in two and three pieces, at every pair of places,
 * and byte by byte, and reads the answers one byte at a time.
 */
#include "ipc.h"

enum { FIRST = 2000, FRAMES = 3, STREAM = 8 + 0 + 8 + 5 + 8 + 17 };

static const mln_u32_t sizes[FRAMES] = {0, 5, 17};
static long got;

static void echo(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    mln_u32_t type = FIRST + (mln_u32_t)(got % FRAMES);

    CHECK_INT(((mln_fork_t *)f)->msg_type, type);
    CHECK_INT(len, sizes[got % FRAMES]);
    CHECK(filled(buf, len, type));
    (void)udata;
    ++got;
    CHECK_INT(mln_ipc_master_send_prepare(ev, type, buf, len, f), 0);
}

static void read_answer(int fd, const char *expected)
{
    for (int i = 0; i < STREAM; ++i) {
        char byte;

        CHECK_INT(read_bytes(fd, &byte, 1), 1);
        CHECK_INT(byte, expected[i]);
    }
}

static int peer(int fd)
{
    char stream[STREAM], payload[32], *at = stream;

    for (uint32_t i = 0; i < FRAMES; ++i) {
        fill(payload, sizes[i], FIRST + i);
        at = put_frame(at, FIRST + i, payload, sizes[i]);
    }
    CHECK_INT(at - stream, STREAM);
    for (int first = 1; first < STREAM; ++first) {
        for (int second = first; second < STREAM; ++second) {
            write_bytes(fd, stream, (size_t)first);
            await_read(fd);
            write_bytes(fd, stream + first, (size_t)(second - first));
            await_read(fd);
            write_bytes(fd, stream + second, (size_t)(STREAM - second));
            read_answer(fd, stream);
        }
    }
    for (int i = 0; i < STREAM; ++i) {
        write_bytes(fd, stream + i, 1);
        await_read(fd);
    }
    read_answer(fd, stream);
    write_frame(fd, FIRST + FRAMES, NULL, 0);
    await_end(fd);
    return 0;
}

int main(int argc, char **argv)
{
    mln_event_t *ev;

    if (argc > 1)
        return peer(atoi(argv[argc - 1]));
    for (mln_u32_t i = 0; i < FRAMES; ++i)
        handle(FIRST + i, echo, NULL);
    handle(FIRST + FRAMES, break_on_message, NULL);
    ev = become_master();
    (void)start_peer(ev, "peer");
    mln_event_dispatch(ev);
    CHECK_INT(got, FRAMES * ((STREAM - 1) * STREAM / 2 + 1));
    mln_event_free(ev);
    return 0;
}
