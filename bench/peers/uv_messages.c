/*
 * uv_messages.c - libuv: a uv_pipe_t over a socket pair. libuv has no buffer for small writes: frames are put into one of 64 KiB
 * that is written in one piece, at once if the kernel takes it (uv_try_write), else with uv_write.
 */
#include "loop.h"

#include <uv.h>

static uv_loop_t loop;
static uv_pipe_t stream;
static uv_write_t request;
static uv_idle_t idle;
static uv_prepare_t prepare;
static char *out, *in;
static size_t filled, out_room, kept, in_room;
static int writing;

static void flush(void);

static void on_written(uv_write_t *r, int status)
{
    (void)r;
    EXPECT(status == 0);
    writing = 0;
    filled = 0;
    send_more();
    flush();
}

static void flush(void)
{
    while (!writing && filled > 0) {
        uv_buf_t buf = uv_buf_init(out, (unsigned)filled);
        int n = uv_try_write((uv_stream_t *)&stream, &buf, 1);

        if (n < 0)
            n = 0;
        if ((size_t)n < filled) {
            buf = uv_buf_init(out + n, (unsigned)(filled - (size_t)n));
            writing = 1;
            EXPECT(uv_write(&request, (uv_stream_t *)&stream, &buf, 1, on_written) == 0);
            return;
        }
        filled = 0;
    }
}

/* While a write is under way nothing is added: the work at hand never does more than fill the buffer. */
static void send_frame(uint32_t type, const void *payload, size_t n)
{
    uint32_t header[2] = {(uint32_t)(sizeof type + n), type};

    EXPECT(filled + HEADER + n <= out_room && !writing);
    memcpy(out + filled, header, HEADER);
    memcpy(out + filled + HEADER, payload, n);
    filled += HEADER + n;
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
    flush();
}

/* Sends as long as the kernel takes it at once. */
static void on_idle(uv_idle_t *handle)
{
    (void)handle;
    if (!writing)
        send_more();
    flush();
}

static void on_prepare(uv_prepare_t *handle)
{
    int busy = may_send() && !writing;

    (void)handle;
    if (busy && !uv_is_active((uv_handle_t *)&idle))
        uv_idle_start(&idle, on_idle);
    if (!busy && uv_is_active((uv_handle_t *)&idle))
        uv_idle_stop(&idle);
}

static void stop_loop(void)
{
    uv_stop(&loop);
}

static void run_loop(int fd)
{
    in_room = out_room = 2 * PIECE + 4 * (HEADER + size);
    EXPECT((in = malloc(in_room)) != NULL && (out = malloc(out_room)) != NULL);
    EXPECT(uv_loop_init(&loop) == 0);
    EXPECT(uv_idle_init(&loop, &idle) == 0);
    EXPECT(uv_prepare_init(&loop, &prepare) == 0);
    EXPECT(uv_prepare_start(&prepare, on_prepare) == 0);
    EXPECT(uv_pipe_init(&loop, &stream, 0) == 0);
    EXPECT(uv_pipe_open(&stream, fd) == 0);
    EXPECT(uv_read_start((uv_stream_t *)&stream, on_alloc, on_read) == 0);
    begin_work();
    flush();
    uv_run(&loop, UV_RUN_DEFAULT);
}
