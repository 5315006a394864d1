/*
 * What a worker that was taken over can send beside messages does nothing to its master: signs of life of odd sizes and kinds,
 * replayed and by the thousand, and descriptors, which are never taken in. The master's memory does not grow, and its other worker
 * is served meanwhile.
 */
#include "ipc.h"
#include "framework.h"
#include "processes.h"

#include <fcntl.h>
#include <sys/socket.h>

enum { CONTROL = -1, READY = 2000, PING, PONG, ROUNDS = 20000, PASSED = 200 };

static int pongs, attacked, before;
static mln_fork_t *sibling;
static long memory;

static void send_with_descriptors(int fd, const void *bytes, size_t size)
{
    char space[CMSG_SPACE(8 * sizeof(int))];
    struct iovec part = {(void *)bytes, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    int fds[8] = {0};

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    if (sendmsg(fd, &message, 0) == (ssize_t)size)
        return;
    CHECK_INT(errno, EPERM); /* Linux 6.16 and later can refuse them */
    write_bytes(fd, bytes, size);
}

static int attack(int fd)
{
    static const uint32_t sizes[] = {0, 1, 2, 3, 4, 7, 8, 255, 4096, 100000};
    char frame[16], *bytes = calloc(1, 100000);

    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        memset(bytes, (int)i, sizes[i]);
        write_frame(fd, (uint32_t)CONTROL, bytes, sizes[i]);
    }
    for (int kind = 0; kind < 256; ++kind) {
        char byte = (char)kind;

        write_frame(fd, (uint32_t)CONTROL, &byte, 1);
    }
    for (int i = 0; i < ROUNDS; ++i)
        write_frame(fd, (uint32_t)CONTROL, "\1", 1);
    for (int i = 0; i < PASSED; ++i)
        send_with_descriptors(fd, frame, (size_t)(put_frame(frame, (uint32_t)CONTROL, "\2", 1) - frame));
    write_frame(fd, READY, NULL, 0);
    await_end(fd);
    free(bytes);
    return 0;
}

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK(f != sibling);
    CHECK_INT(fd_count(), before);
    CHECK(memory_kib("VmRSS") - memory < 8 << 10);
    attacked = 1;
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
    if (++pongs > 20 && attacked)
        mln_event_break_set(ev);
    CHECK_INT(mln_ipc_master_send_prepare(ev, PING, NULL, 0, sibling), 0);
}

static int prepare(void)
{
    configure_workers(1);
    configure_number("worker_start_timeout", 20000); /* so that what workers tell of themselves is listened to */
    configure_number("worker_heartbeat", 20000);
    handle(READY, on_ready, NULL);
    handle(PING, NULL, on_ping);
    handle(PONG, on_pong, NULL);
    return 0;
}

static void in_master(mln_event_t *ev)
{
    sibling = last_worker(ev);
    (void)start_peer(ev, "attack");
    before = fd_count();
    memory = memory_kib("VmRSS");
    CHECK_INT(mln_ipc_master_send_prepare(ev, PING, NULL, 0, sibling), 0);
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {1, argv, prepare, NULL, in_master, NULL};

    if (argc > 1)
        return attack(atoi(argv[argc - 1]));
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK(attacked);
    remove_log();
    return 0;
}
