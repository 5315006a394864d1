/*
 * A peer that ends its stream inside of a message and lives on is told of, with its pid and the number of bytes, and ended. One cannot
 * send descriptors along, whose closing would be its receiver's work (where the kernel lets that be refused).
 */
#include "ipc.h"
#include "processes.h"

#include "scratch.h"

#include <sys/socket.h>

enum { WORD = 2000, PASS_RIGHTS = 83, KEPT = 12 };

static pid_t peer;
static int words;

static void cut_off(int fd)
{
    const uint32_t header[3] = {1004, WORD, 0};

    write_frame(fd, WORD, NULL, 0);
    write_bytes(fd, header, KEPT);
    close(fd);
    for (;;)
        pause();
}

static void on_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)udata;
    CHECK_INT(len, 0);
    ++words;
    if (((mln_fork_t *)f)->etype == M_PET_DFL)
        mln_event_break_set(ev);
}

static void look(mln_event_t *ev, void *data)
{
    if (kill(peer, 0) != 0)
        mln_event_break_set(ev);
    else
        CHECK(mln_event_timer_set(ev, 10, data, look) != NULL);
}

/* In a plain worker: sends a descriptor along with a whole message. */
static void send_descriptor(mln_event_t *ev)
{
    uint32_t frame[2] = {4, WORD};
    struct iovec bytes = {frame, sizeof frame};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

    (void)ev;
    memset(&control, 0, sizeof control);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    CHECK_INT(sendmsg(mln_fork_master_connection_get()->sockfd, &message, 0), -1);
    CHECK_INT(errno, EPERM);
    write_bytes(mln_fork_master_connection_get()->sockfd, frame, sizeof frame);
}

static int can_refuse(void)
{
    int pair[2], none = 0, result;

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    result = setsockopt(pair[0], SOL_SOCKET, PASS_RIGHTS, &none, sizeof none);
    close(pair[0]);
    close(pair[1]);
    return result == 0;
}

int main(int argc, char **argv)
{
    char expected[128], *path;
    mln_event_t *ev;

    if (argc > 1)
        cut_off(atoi(argv[argc - 1]));
    handle(WORD, on_word, NULL);
    scratch_make();
    path = scratch_path("stderr");
    scratch_catch_stderr(path);
    ev = become_master();
    peer = start_peer(ev, "peer")->pid;
    look(ev, NULL);
    mln_event_dispatch(ev);
    CHECK_INT(words, 1);
    CHECK_INT(worker_count(ev), 0);
    snprintf(expected, sizeof expected, "worker %ld is closed: it ends inside of a message, of which %d bytes have come", (long)peer, KEPT);
    scratch_expect_part(path, expected);
    if (can_refuse()) {
        mln_event_break_reset(ev);
        start_worker(ev, send_descriptor);
        dispatch(ev, send_descriptor);
        CHECK_INT(words, 2);
    } else {
        puts("note: this kernel cannot refuse descriptors (Linux 6.16 can)");
    }
    return 0;
}
