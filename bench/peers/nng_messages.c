/*
 * nng_messages.c - nng: pair1 over its local transport, nng_sendmsg() for each message, and queues of 1000 messages like ZeroMQ's,
 * since the default of nng, next to none, has every message wait for a thread.
 */
#include "exchange.h"

#include <nng/nng.h>
#include <nng/protocol/pair1/pair.h>
#include <nng/supplemental/util/platform.h>

static nng_socket own_end;
static nng_msg *received;

static void connect_ends(int is_parent, const char *address)
{
    char url[128];

    snprintf(url, sizeof url, "abstract://%s", address);
    if (!is_parent)
        end_with_parent();
    EXPECT(nng_pair1_open(&own_end) == 0);
    EXPECT(nng_socket_set_int(own_end, NNG_OPT_SENDBUF, 1000) == 0);
    EXPECT(nng_socket_set_int(own_end, NNG_OPT_RECVBUF, 1000) == 0);
    EXPECT(nng_socket_set_size(own_end, NNG_OPT_RECVMAXSZ, 0) == 0);
    if (is_parent) {
        EXPECT(nng_listen(own_end, url, NULL, 0) == 0);
    } else { /* retried until the parent listens */
        EXPECT(nng_dial(own_end, url, NULL, NNG_FLAG_NONBLOCK) == 0);
    }
}

static void send_message(const char *bytes, size_t n)
{
    nng_msg *m;

    EXPECT(nng_msg_alloc(&m, n) == 0);
    memcpy(nng_msg_body(m), bytes, n);
    EXPECT(nng_sendmsg(own_end, m, 0) == 0);
}

static char *receive_message(size_t *n)
{
    if (received != NULL)
        nng_msg_free(received);
    EXPECT(nng_recvmsg(own_end, &received, 0) == 0);
    *n = nng_msg_len(received);
    return nng_msg_body(received);
}

static void disconnect_ends(void)
{
    nng_msleep(50); /* closing drops what has not left yet */
    nng_close(own_end);
}
