/*
 * zmq_messages.c - ZeroMQ: PAIR sockets over ipc, default high-water marks, one zmq_send() for each message.
 */
#include "exchange.h"

#include <zmq.h>

static void *context, *own_end;
static zmq_msg_t received;

static void connect_ends(int is_parent, const char *address)
{
    char url[128];

    snprintf(url, sizeof url, "ipc://@%s", address);
    if (!is_parent)
        end_with_parent();
    EXPECT((context = zmq_ctx_new()) != NULL);
    EXPECT((own_end = zmq_socket(context, ZMQ_PAIR)) != NULL);
    EXPECT((is_parent ? zmq_bind(own_end, url) : zmq_connect(own_end, url)) == 0);
    EXPECT(zmq_msg_init(&received) == 0);
}

static void send_message(const char *message, size_t n)
{
    EXPECT(zmq_send(own_end, message, n, 0) == (int)n);
}

static char *receive_message(size_t *n)
{
    int result = zmq_msg_recv(&received, own_end, 0);

    EXPECT(result >= 0);
    *n = (size_t)result;
    return zmq_msg_data(&received);
}

static void disconnect_ends(void)
{
    zmq_msg_close(&received);
    zmq_close(own_end);
    zmq_ctx_term(context); /* lets go of what is still to be sent first */
}
