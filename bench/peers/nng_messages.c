/*
 * nng_messages.c - nng: pair1 over its local transport, nng_sendmsg() for each message, and queues as long as ZeroMQ's, since the
 * default of nng, next to none, has every message wait for a thread.
 */
#include "exchange.h"

#include <nng/nng.h>
#include <nng/protocol/pair1/pair.h>
#include <nng/supplemental/util/platform.h>

static nng_socket own_end;
static nng_msg *to_send, *received;

static void connect_ends(int is_parent, const char *address)
{
    char url[128];

    snprintf(url, sizeof url, "abstract://%s", address);
    if (!is_parent)
        end_with_parent();
    EXPECT(nng_pair1_open(&own_end) == 0);
    EXPECT(nng_socket_set_int(own_end, NNG_OPT_SENDBUF, queue_length()) == 0);
    EXPECT(nng_socket_set_int(own_end, NNG_OPT_RECVBUF, queue_length()) == 0);
    EXPECT(nng_socket_set_size(own_end, NNG_OPT_RECVMAXSZ, 0) == 0);
    if (is_parent) {
        EXPECT(nng_listen(own_end, url, NULL, 0) == 0);
    } else { /* retried until the parent listens */
        EXPECT(nng_dial(own_end, url, NULL, NNG_FLAG_NONBLOCK) == 0);
    }
}

static char *new_message(size_t n)
{
    EXPECT(nng_msg_alloc(&to_send, n) == 0);
    return nng_msg_body(to_send);
}

static int send_message(int wait)
{
    int error = nng_sendmsg(own_end, to_send, wait ? 0 : NNG_FLAG_NONBLOCK);

    EXPECT(error == 0 || (error == NNG_EAGAIN && !wait));
    return error == 0;
}

static void return_message(void)
{
    EXPECT(nng_sendmsg(own_end, received, 0) == 0);
    received = NULL;
}

static char *receive_message(size_t *n, int wait)
{
    int error;

    nng_msg_free(received);
    received = NULL;
    error = nng_recvmsg(own_end, &received, wait ? 0 : NNG_FLAG_NONBLOCK);
    EXPECT(error == 0 || (error == NNG_EAGAIN && !wait));
    if (error != 0)
        return NULL;
    *n = nng_msg_len(received);
    return nng_msg_body(received);
}

static void disconnect_ends(void)
{
    nng_msleep(50); /* closing drops what has not left yet */
    nng_close(own_end);
}
