/*
 * uv_messages.c - libuv: a uv_pipe_t over a socket pair. libuv has no buffer for small writes: frames are put into one of 64 KiB
 * that is written in one piece, at once if the kernel takes it (uv_try_write), else with uv_write. Long frames are written from
 * where they are.
 */
#include "loop.h"

#include <uv.h>

static uv_loop_t loop;
static uv_pipe_t stream;
static uv_write_t request;
static char *in, *out, *writing; /* `writing` is being written, NULL while nothing is; what comes meanwhile is put into `out` */
static char *spare;
static size_t filled, kept, in_room;

enum { OUT_ROOM = 2 * PIECE + LONG };

static void write_on(void);

static void on_written(uv_write_t *r, int status)
{
    (void)r;
    EXPECT(status == 0);
    spare = writing;
    writing = NULL;
    write_on();
}

/* Writes what is in some buffers: at once what the kernel takes, the rest later. */
static void write_out(uv_buf_t *bufs, unsigned n)
{
    int result = uv_try_write((uv_stream_t *)&stream, bufs, n);
    size_t written = result < 0 ? 0 : (size_t)result;

    EXPECT(result >= 0 || result == UV_EAGAIN);
    for (; n > 0 && written >= bufs->len; ++bufs, --n)
        written -= bufs->len;
    if (n == 0)
        return;
    bufs->base += written;
    bufs->len -= written;
    EXPECT(uv_write(&request, (uv_stream_t *)&stream, bufs, n, on_written) == 0);
    writing = out;
    out = spare;
}

static void flush(void)
{
    uv_buf_t buf = uv_buf_init(out, (unsigned)filled);

    if (writing != NULL || filled == 0)
        return;
    filled = 0;
    write_out(&buf, 1);
}

static void send_frame(uint32_t type, const void *payload, size_t n)
{
    uint32_t header[2] = {(uint32_t)(sizeof type + n), type};

    EXPECT(filled + HEADER <= OUT_ROOM);
    memcpy(out + filled, header, HEADER);
    filled += HEADER;
    if (n >= LONG && writing == NULL) {
        uv_buf_t bufs[2] = {uv_buf_init(out, (unsigned)filled), uv_buf_init((char *)payload, (unsigned)n)};

        filled = 0;
        write_out(bufs, 2);
        return;
    }
    EXPECT(filled + n <= OUT_ROOM);
    memcpy(out + filled, payload, n);
    filled += n;
}

/* Sends as long as the kernel takes it at once. */
static void write_on(void)
{
    do {
        if (writing == NULL)
            send_more();
        flush();
    } while (writing == NULL && may_send());
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(in + kept, (unsigned)(in_room - kept));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    size_t used;

    (void)s;
    (void)buf;
    if (n < 0) {
        stop_loop();
        return;
    }
    kept += (size_t)n;
    used = cut(in, kept);
    memmove(in, in + used, kept - used);
    kept -= used;
    write_on();
}

static void stop_loop(void)
{
    uv_stop(&loop);
}

static void run_loop(int fd)
{
    in_room = PIECE > HEADER + size ? PIECE : HEADER + size;
    EXPECT((in = malloc(in_room)) != NULL && (out = malloc(OUT_ROOM)) != NULL && (spare = malloc(OUT_ROOM)) != NULL);
    EXPECT(uv_loop_init(&loop) == 0);
    EXPECT(uv_pipe_init(&loop, &stream, 0) == 0);
    EXPECT(uv_pipe_open(&stream, fd) == 0);
    EXPECT(uv_read_start((uv_stream_t *)&stream, on_alloc, on_read) == 0);
    if (!is_child)
        begin_work();
    write_on();
    uv_run(&loop, UV_RUN_DEFAULT);
}
