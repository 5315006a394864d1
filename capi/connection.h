/*
 * connection.h - what the channels between processes need of connections besides mln_connection.h.
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include "mln_connection.h"

/*
 * Sends as mln_tcp_conn_send() does, but all of the queue, whatever is marked last_in_chain; never waits, even if the
 * descriptor is blocking; and never raises SIGPIPE. The descriptor has to be a socket.
 *
 * Returns M_C_FINISH when nothing is left to be sent, M_C_NOTYET when the kernel takes no more, M_C_ERROR with errno.
 */
int connection_send_nosignal(mln_tcp_conn_t *tc);

#endif
