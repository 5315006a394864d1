/*
 * echo_server.c - a TCP server with pre-forked workers: every client gets back what it sends.
 *
 *   * The master opens the listening socket; the workers inherit it and accept on it, all of them.
 *   * A connection is a mln_tcp_conn_t. What was received is sent as it is, without a copy. While a client does not take
 *     its echo, no more is read from it; one that does nothing for a minute is dropped.
 *   * A worker tells the master of every connection that it served. After SIGTERM or SIGINT (Ctrl-C) to the master the
 *     workers accept no more, and the master prints the totals and ends; the workers end with it.
 *
 * Run it with `build/examples/echo_server [PORT]`; talk to it with `nc 127.0.0.1 PORT`. Without a port it takes a free one
 * and says which.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mln_connection.h"
#include "mln_core.h"
#include "mln_fork.h"
#include "mln_log.h"

#include "settings.h"

enum {
    WORKERS = 4,
    IDLE_MS = 60000,       /* after which a silent client is dropped */
    ACCEPT_PAUSE_MS = 100, /* before accepting again when descriptors or memory ran out */
    FINISH_MS = 2000       /* how long the master waits for its workers to say that they have finished */
};

static const char configuration[] = "framework on;\nworker_proc 4;\nlog_level \"report\";\n";

/* The messages of this program. Numbers up to 1024 are the library's. */
enum { READY = 2001, CLOSED, FINISH, FINISHED };

static int listener = -1;

/* ---- in a worker ---- */

struct client {
    mln_tcp_conn_t conn;
    int ended; /* it sends no more */
};

static void on_client(mln_event_t *ev, int fd, void *data);
static void accept_again(mln_event_t *ev, void *data);

static void close_client(mln_event_t *ev, int fd, void *data)
{
    struct client *c = data;

    mln_event_set_fd(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL);
    /* Before the client sees the end: who has seen it can rely on being counted. */
    if (mln_ipc_worker_send_prepare(ev, CLOSED, NULL, 0) != 0)
        mln_log(error, "a connection is not counted: %s\n", strerror(errno));
    close(fd);
    mln_tcp_conn_destroy(&c->conn);
    free(c);
}

/* Waits for what is to be done next: sending what is left, or receiving more. */
static int watch_client(mln_event_t *ev, struct client *c)
{
    mln_u32_t direction = mln_tcp_conn_send_empty(&c->conn) ? M_EV_RECV : M_EV_SEND;
    int fd = mln_tcp_conn_get_fd(&c->conn);

    if (mln_event_set_fd(ev, fd, direction | M_EV_NONBLOCK, IDLE_MS, c, on_client) != 0)
        return -1;
    mln_event_set_fd_timeout_handler(ev, fd, c, close_client);
    return 0;
}

static void on_client(mln_event_t *ev, int fd, void *data)
{
    struct client *c = data;
    int result = M_C_NOTYET;

    if (mln_tcp_conn_send_empty(&c->conn)) {
        result = mln_tcp_conn_recv(&c->conn, M_C_TYPE_MEMORY);
        c->ended = result == M_C_CLOSED;
        mln_tcp_conn_append_chain(&c->conn, mln_tcp_conn_remove(&c->conn, M_C_RECV), NULL, M_C_SEND);
    }
    if (result != M_C_ERROR)
        result = mln_tcp_conn_send(&c->conn);
    mln_chain_pool_release_all(mln_tcp_conn_remove(&c->conn, M_C_SENT));
    if (result == M_C_ERROR || (c->ended && mln_tcp_conn_send_empty(&c->conn)) || watch_client(ev, c) != 0)
        close_client(ev, fd, c);
}

static void on_listener(mln_event_t *ev, int fd, void *data)
{
    struct client *c;
    int client_fd = accept(fd, NULL, NULL);

    (void)data;
    if (client_fd < 0) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
            return; /* another worker was faster, or the client has gone */
        mln_log(error, "no more clients for the moment: %s\n", strerror(errno));
        /* The socket stays readable: without a pause the loop would spin. */
        mln_event_set_fd(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL);
        mln_event_set_timer(ev, ACCEPT_PAUSE_MS, NULL, accept_again);
        return;
    }
    if ((c = calloc(1, sizeof *c)) == NULL || mln_tcp_conn_init(&c->conn, client_fd) != 0) {
        mln_log(error, "no memory for a client\n");
        close(client_fd);
        free(c);
        return;
    }
    if (watch_client(ev, c) != 0)
        close_client(ev, client_fd, c);
}

static void accept_again(mln_event_t *ev, void *data)
{
    (void)data;
    if (listener >= 0 && mln_event_set_fd(ev, listener, M_EV_RECV | M_EV_NONBLOCK, M_EV_UNLIMITED, NULL, on_listener) != 0)
        mln_log(error, "cannot accept clients: %s\n", strerror(errno));
}

static void on_finish(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr, (void)buf, (void)len, (void)udata;
    mln_event_set_fd(ev, listener, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL);
    close(listener);
    listener = -1;
    mln_ipc_worker_send_prepare(ev, FINISHED, NULL, 0);
}

static void worker_process(mln_event_t *ev)
{
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group; the master sees to the end */
    accept_again(ev, NULL);
    mln_ipc_worker_send_prepare(ev, READY, NULL, 0);
}

/* ---- in the master ---- */

/* What one worker has done. Its successor gets an entry of its own. */
static struct tally {
    struct tally *next;
    pid_t pid;
    unsigned long connections;
} *tallies;

static int ready, unfinished;

static struct tally *tally_of(mln_fork_t *f)
{
    struct tally **at = &tallies;

    while (*at != NULL && (*at)->pid != f->pid)
        at = &(*at)->next;
    if (*at == NULL) {
        if ((*at = calloc(1, sizeof **at)) == NULL) {
            perror("echo_server");
            exit(1);
        }
        (*at)->pid = f->pid;
    }
    return *at;
}

static void finish(mln_event_t *ev, void *data)
{
    unsigned long total = 0;

    (void)data;
    for (struct tally *t = tallies; t != NULL; t = t->next) {
        printf("worker %d served %lu connections\n", (int)t->pid, t->connections);
        total += t->connections;
    }
    printf("total: %lu connections\n", total);
    mln_event_set_break(ev);
}

static int ask_to_finish(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    if (mln_ipc_master_send_prepare(ev, FINISH, NULL, 0, f) == 0)
        ++unfinished;
    return 0;
}

static void on_signal(mln_event_t *ev, int signo, void *data)
{
    static int asked;

    (void)signo, (void)data;
    if (!asked++)
        mln_fork_scan_all(ev, ask_to_finish, NULL);
    else
        unfinished = 0;
    /* A worker that was killed in the meantime will not answer: hence the timer. */
    if (unfinished == 0 || mln_event_set_timer(ev, FINISH_MS, NULL, finish) != 0)
        finish(ev, NULL);
}

static void on_ready(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)buf, (void)len, (void)udata;
    tally_of(f_ptr);
    /* The first message is the first time that this program sees the master's loop. */
    if (++ready == 1 && (mln_event_set_signal(ev, M_EV_SET, SIGTERM, NULL, on_signal) != 0 ||
                         mln_event_set_signal(ev, M_EV_SET, SIGINT, NULL, on_signal) != 0))
        perror("echo_server: cannot handle signals");
    if (ready == WORKERS)
        printf("all %d workers are ready\n", WORKERS);
}

static void on_closed(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)ev, (void)buf, (void)len, (void)udata;
    ++tally_of(f_ptr)->connections;
}

static void on_finished(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr, (void)buf, (void)len, (void)udata;
    if (--unfinished == 0)
        finish(ev, NULL);
}

/* ---- before any fork ---- */

static struct sockaddr_in address = {.sin_family = AF_INET};

static mln_ipc_handler_t in_master[] = {{on_ready, NULL, READY}, {on_closed, NULL, CLOSED}, {on_finished, NULL, FINISHED}};
static mln_ipc_handler_t in_worker = {on_finish, NULL, FINISH};

static int global_init(void)
{
    socklen_t length = sizeof address;
    int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if ((listener = socket(AF_INET, SOCK_STREAM, 0)) < 0 ||
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, SOMAXCONN) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
        fprintf(stderr, "echo_server: cannot listen on port %d: %s\n", ntohs(address.sin_port), strerror(errno));
        return -1;
    }
    for (size_t i = 0; i < sizeof in_master / sizeof in_master[0]; ++i)
        mln_set_master_ipc_handler(&in_master[i]);
    mln_set_worker_ipc_handler(&in_worker);
    printf("master %d listens on 127.0.0.1 port %d\n", (int)getpid(), ntohs(address.sin_port));
    return 0;
}

int main(int argc, char *argv[])
{
    struct mln_core_attr attr = {
        .argc = argc, .argv = argv, .global_init = global_init, .worker_process = worker_process};
    char *end = "";
    long port = argc > 1 ? strtol(argv[1], &end, 10) : 0;

    if (argc > 2 || *end != '\0' || port < 0 || port > 65535) {
        fprintf(stderr, "usage: echo_server [PORT], with PORT from 1 to 65535\n");
        return 2;
    }
    address.sin_port = htons((unsigned short)port);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (settings_use(configuration) != 0)
        return 1;
    return mln_core_init(&attr) == 0 ? 0 : 1;
}
