/*
 * start.c - the floor for starting children: from before the fork to the first message in the parent.
 *
 *     do=fork    p50, p99 (ns); asked=1: the child is sent a message, and its first one is the answer
 *     do=exec    the same with this program executed anew in the child
 *     do=kill    from kill -9 of a child to the first message of its successor
 * count=N live=N (so many children are there before)
 */
#include "frames.h"

#include <sys/epoll.h>
#include <sys/wait.h>

enum { HELLO = 1, HELLO_SIZE = 64 };

static int epoll;
static int executes, asked;

struct child {
    struct end end;
    pid_t pid;
};

__attribute__((noreturn)) static void say_hello(int fd)
{
    char message[HELLO_SIZE] = "";
    struct end e;
    char byte;

    end_with_parent();
    open_end(&e, fd, sizeof message);
    if (asked) {
        uint32_t type;
        size_t length;
        char *payload = next(&e, &type, &length);

        check(payload, length, sizeof message, 0);
    }
    stamp(message, sizeof message, 0);
    put_now(&e, HELLO, message, sizeof message);
    while (read(fd, &byte, 1) > 0)
        ;
    _exit(0);
}

static void start_child(struct child *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int pair[2];

    open_pair(pair, 0);
    MUST(c->pid = fork());
    if (c->pid == 0) {
        char role[32];

        if (!executes)
            say_hello(pair[1]);
        MUST(fcntl(pair[1], F_SETFD, 0));
        snprintf(role, sizeof role, "child=%d", pair[1]);
        execl("/proc/self/exe", "start", role, (char *)NULL);
        fail("exec: %s", strerror(errno));
    }
    close(pair[1]);
    open_end(&c->end, pair[0], HELLO_SIZE);
    if (asked) {
        char message[HELLO_SIZE] = "";

        put_now(&c->end, HELLO, message, sizeof message);
    }
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event));
}

static void close_child(struct child *c)
{
    MUST(epoll_ctl(epoll, EPOLL_CTL_DEL, c->end.fd, NULL)); /* closing is not enough: later children have it too */
    close(c->end.fd);
    free(c->end.in);
    free(c->end.out);
    MUST(waitpid(c->pid, NULL, 0));
}

/* The end of a child's channel is that of the child: another takes its place, as soon as its message is there. */
static void await_hello(int restarts)
{
    for (;;) {
        struct epoll_event event;
        struct child *c;
        uint32_t type;
        size_t length;
        char *payload, byte;

        MUST(epoll_wait(epoll, &event, 1, -1));
        c = event.data.ptr;
        if (restarts && recv(c->end.fd, &byte, 1, MSG_PEEK) == 0) {
            close_child(c);
            start_child(c);
            continue;
        }
        (void)receive(&c->end);
        if ((payload = take(&c->end, &type, &length)) != NULL) {
            check(payload, length, HELLO_SIZE, 0);
            return;
        }
    }
}

int main(int argc, char **argv)
{
    int fd = (int)option(argc, argv, "child", -1), kills = option_is(argc, argv, "do", "kill");
    long count = option(argc, argv, "count", 20), live = option(argc, argv, "live", 0) + (kills ? count : 0);
    long children = kills ? live : live + count;
    struct samples samples = {0};
    struct child *all;

    if (fd >= 0)
        say_hello(fd);
    begin(argc, argv);
    executes = option_is(argc, argv, "do", "exec");
    asked = (int)option(argc, argv, "asked", 0);
    MUST(epoll = epoll_create1(EPOLL_CLOEXEC));
    all = calloc((size_t)children, sizeof *all);
    for (long i = 0; i < children; ++i) {
        uint64_t start;

        settle(i >= live ? SETTLE_MS : SETTLE_UNMEASURED_MS);
        start = now();
        start_child(&all[i]);
        await_hello(0);
        if (i >= live)
            samples_add(&samples, now() - start);
    }
    for (long i = 0; kills && i < count; ++i) {
        uint64_t start;

        settle(SETTLE_MS);
        start = now();
        MUST(kill(all[i].pid, SIGKILL));
        await_hello(1);
        samples_add(&samples, now() - start);
    }
    for (long i = 0; i < children; ++i) {
        MUST(kill(all[i].pid, SIGKILL));
        close_child(&all[i]);
    }
    report_samples(&samples);
    report_end();
    return 0;
}
