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
    EXPECT(bufferevent_write(stream, payload, n) == 0);
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
}

static void on_drained(struct bufferevent *b, void *data)
{
    (void)b;
    (void)data;
    send_more();
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
    bufferevent_set_max_single_read(stream, PIECE);  /* the default, 16 KiB, is for many connections */
    bufferevent_set_max_single_write(stream, PIECE);
    bufferevent_setcb(stream, on_read, on_drained, on_event, NULL);
    EXPECT(bufferevent_enable(stream, EV_READ | EV_WRITE) == 0);
    begin_work();
    event_base_dispatch(base);
    bufferevent_free(stream);
    event_base_free(base);
}
