/*
 * event_messages.c - libevent: a bufferevent over a socket pair. Messages are added to its output buffer one by one; more follow
 * when it has drained.
 */
#include "loop.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

static struct event_base *base;
static struct bufferevent *stream;

static void send_frame(uint32_t type, const void *payload, size_t n)
{
    uint32_t header[2] = {(uint32_t)(sizeof type + n), type};

    EXPECT(bufferevent_write(stream, header, sizeof header) == 0);
    if (n < LONG)
        EXPECT(bufferevent_write(stream, payload, n) == 0);
    else
        EXPECT(evbuffer_add_reference(bufferevent_get_output(stream), payload, n, NULL, NULL) == 0);
}

/* Nothing is left to be written, or it comes here again. */
static void write_on(struct bufferevent *b, void *data)
{
    (void)data;
    if (evbuffer_get_length(bufferevent_get_output(b)) == 0)
        send_more();
}

static void on_read(struct bufferevent *b, void *data)
{
    struct evbuffer *in = bufferevent_get_input(b);
    uint32_t header[2];

    (void)data;
    while (evbuffer_copyout(in, header, sizeof header) == (ssize_t)sizeof header) {
        size_t frame = sizeof header[0] + header[0];

        if (evbuffer_get_length(in) < frame)
            break;
        on_frame(header[1], (char *)evbuffer_pullup(in, (ssize_t)frame) + HEADER, frame - HEADER);
        evbuffer_drain(in, frame);
    }
    write_on(b, NULL);
}

static void on_event(struct bufferevent *b, short what, void *data)
{
    (void)b;
    (void)what;
    (void)data;
    stop_loop();
}

static void stop_loop(void)
{
    event_base_loopbreak(base);
}

static void run_loop(int fd)
{
    EXPECT((base = event_base_new()) != NULL);
    EXPECT((stream = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE)) != NULL);
    /* The default, 16 KiB, is for many connections. There is one for reading, too, but libevent 2.1 never reads more than 4 KiB at once. */
    bufferevent_set_max_single_write(stream, size < LONG ? PIECE : HEADER + size);
    bufferevent_setcb(stream, on_read, write_on, on_event, NULL);
    EXPECT(bufferevent_enable(stream, EV_READ | EV_WRITE) == 0);
    if (!is_child)
        begin_work();
    write_on(stream, NULL);
    event_base_dispatch(base);
    bufferevent_free(stream);
    event_base_free(base);
}
