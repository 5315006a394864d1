/*
 * zmq_messages.c - ZeroMQ: PAIR sockets over ipc, default high-water marks, one zmq_send() for each message.
 */
#include "exchange.h"

#include <zmq.h>

static void *context, *zmq_socket_;
static zmq_msg_t received;

static void connect_ends(int is_parent, const char *address)
{
    char url[128];

    snprintf(url, sizeof url, "ipc://@%s", address);
    if (!is_parent)
        end_with_parent();
    EXPECT((context = zmq_ctx_new()) != NULL);
    EXPECT((zmq_socket_ = zmq_socket(context, ZMQ_PAIR)) != NULL);
    EXPECT((is_parent ? zmq_bind(zmq_socket_, url) : zmq_connect(zmq_socket_, url)) == 0);
    EXPECT(zmq_msg_init(&received) == 0);
}

static void send_message(const char *message, size_t n)
{
    EXPECT(zmq_send(zmq_socket_, message, n, 0) == (int)n);
}

static char *receive_message(size_t *n)
{
    int result = zmq_msg_recv(&received, zmq_socket_, 0);

    EXPECT(result >= 0);
    *n = (size_t)result;
    return zmq_msg_data(&received);
}

static void disconnect_ends(void)
{
    zmq_msg_close(&received);
    zmq_close(zmq_socket_);
    zmq_ctx_term(context); /* lets go of what is still to be sent first */
}
