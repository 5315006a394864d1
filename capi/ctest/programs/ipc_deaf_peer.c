/*
 * A peer that closes its channel for reading alone is asked to end when it is sent something, and made to; the log says why. One
 * that ends inside of a message has sent nothing but what came before. The other worker goes on.
 */
#include "ipc.h"

#include <signal.h>
#include <sys/socket.h>

#include "scratch.h"

enum { READY = 2000, HALF, PING, PONG, SIZE = 1000 };

static int ready, pongs;
static pid_t deaf;
static mln_fork_t *sibling;

__attribute__((noreturn)) static void be_deaf(int fd)
{
    CHECK_INT(shutdown(fd, SHUT_RD), 0);
    write_frame(fd, READY, NULL, 0);
    for (;;)
        pause();
}

static int end_inside(int fd)
{
    const uint32_t begun[] = {4 + SIZE, HALF, 0, 0};

    write_frame(fd, READY, NULL, 0);
    write_bytes(fd, begun, sizeof begun);
    return 0;
}

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    ++ready;
    if (((mln_fork_t *)f)->pid == deaf)
        CHECK_INT(mln_ipc_master_send_prepare(ev, PING, NULL, 0, f), 0);
}

static void on_half(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK(!"half a message is no message");
}

static void ping(mln_event_t *ev, void *data)
{
    (void)data;
    CHECK_INT(mln_ipc_master_send_prepare(ev, PING, NULL, 0, sibling), 0);
}

static void on_ping(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, PONG, buf, len), 0);
}

static void on_pong(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_PTR(f, sibling);
    ++pongs;
    if (ready == 2 && worker_count(ev) == 1 && child_count() == 1)
        mln_event_break_set(ev);
    CHECK(mln_event_timer_set(ev, 5, NULL, ping) != NULL);
}

int main(int argc, char **argv)
{
    char line[256], *path;
    mln_event_t *ev;

    if (argc > 1 && strcmp(argv[1], "deaf") == 0)
        be_deaf(atoi(argv[argc - 1]));
    if (argc > 1)
        return end_inside(atoi(argv[argc - 1]));
    handle(READY, on_ready, NULL);
    handle(HALF, on_half, NULL);
    handle(PING, NULL, on_ping);
    handle(PONG, on_pong, NULL);
    scratch_make();
    path = scratch_path("stderr");
    ev = become_master();
    start_worker(ev, NULL);
    sibling = last_worker(ev);
    scratch_catch_stderr(path);
    deaf = start_peer(ev, "deaf")->pid;
    (void)start_peer(ev, "half");
    ping(ev, NULL);
    dispatch(ev, NULL);
    CHECK_PTR(last_worker(ev), sibling);
    CHECK(pongs > 50 || check_slowness() > 1);
    snprintf(line, sizeof line, "worker %ld is asked to end: nothing can be sent to it: Broken pipe", (long)deaf);
    scratch_expect_part(path, line);
    snprintf(line, sizeof line, "worker %ld (/proc/self/exe) was killed by signal 15", (long)deaf);
    scratch_expect_part(path, line);
    mln_event_free(ev);
    return 0;
}
