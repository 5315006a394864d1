/*
 * workers.c - the floor for a parent with several children, by hand: a socket pair each, one epoll loop.
 *
 *     do=broadcast    a message to each child, an answer from each; a round at a time       p50, p99 (ns a round)
 *     do=sleepers     a message to a child that has been idle for a second, and its answer  p50, p99 (ns)
 *     do=stay         starts the children, prints the process IDs and waits; for those who look at them from outside.
 *                     timers=1: each has a timer pending
 * workers=N size=BYTES count=N
 */
#include "frames.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

enum { DATA = 1 };

static size_t size;
static uint64_t count;
static long workers;
static int with_timers, in_turn; /* in_turn: one worker after the other is sent a message, not all at once */

struct worker {
    struct end end;
    pid_t pid;
};

/* A timer that is far off. */
static void set_timer(int epoll)
{
    struct itimerspec when = {.it_value.tv_sec = 3600};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

    MUST(fd);
    MUST(timerfd_settime(fd, 0, &when, NULL));
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

__attribute__((noreturn)) static void work(int fd, uint64_t index)
{
    uint64_t due = in_turn ? index : 0;
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct end e;

    end_with_parent();
    MUST(epoll);
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    if (with_timers)
        set_timer(epoll);
    open_end(&e, fd, size);
    for (;;) {
        uint32_t type;
        size_t length;
        char *payload;

        MUST(epoll_wait(epoll, &event, 1, -1));
        (void)receive(&e);
        while ((payload = take(&e, &type, &length)) != NULL) {
            check(payload, length, size, due);
            due += in_turn ? (uint64_t)workers : 1;
            put_now(&e, DATA, payload, length);
        }
    }
}

static struct worker *start_workers(int epoll)
{
    struct worker *all = calloc((size_t)workers, sizeof *all);

    for (long i = 0; i < workers; ++i) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        int pair[2];

        open_pair(pair, 0);
        MUST(all[i].pid = fork());
        if (all[i].pid == 0) {
            for (long j = 0; j < i; ++j)
                close(all[j].end.fd);
            close(pair[0]);
            close(epoll);
            work(pair[1], (uint64_t)i);
        }
        close(pair[1]);
        open_end(&all[i].end, pair[0], size);
        MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event));
    }
    return all;
}

/* Takes answers until so many have come. */
static void take_answers(int epoll, long expected, uint64_t number)
{
    struct epoll_event events[128];

    while (expected > 0) {
        int n = epoll_wait(epoll, events, 128, -1);

        MUST(n);
        for (int i = 0; i < n; ++i) {
            struct worker *w = events[i].data.ptr;
            uint32_t type;
            size_t length;
            char *payload;

            (void)receive(&w->end);
            while ((payload = take(&w->end, &type, &length)) != NULL) {
                check(payload, length, size, number);
                --expected;
            }
        }
    }
    EXPECT(expected == 0);
}

int main(int argc, char **argv)
{
    struct samples samples = {0};
    struct worker *all;
    char *message;
    int epoll;

    begin(argc, argv);
    size = (size_t)option(argc, argv, "size", 64);
    count = (uint64_t)option(argc, argv, "count", 1000);
    workers = option(argc, argv, "workers", 4);
    with_timers = (int)option(argc, argv, "timers", 0);
    in_turn = option_is(argc, argv, "do", "sleepers");
    message = calloc(1, size);
    MUST(epoll = epoll_create1(EPOLL_CLOEXEC));
    all = start_workers(epoll);
    for (uint64_t number = 0; option_is(argc, argv, "do", "broadcast") && number < count + count / 10; ++number) {
        uint64_t start = now();

        stamp(message, size, number);
        for (long i = 0; i < workers; ++i)
            put_now(&all[i].end, DATA, message, size);
        take_answers(epoll, workers, number);
        if (number >= count / 10)
            samples_add(&samples, now() - start);
    }
    for (uint64_t number = 0; in_turn && number < count + (uint64_t)workers; ++number) {
        uint64_t start;

        usleep((useconds_t)(1000000 / workers));
        start = now();
        stamp(message, size, number);
        put_now(&all[number % (uint64_t)workers].end, DATA, message, size);
        take_answers(epoll, 1, number);
        if (number >= (uint64_t)workers) /* the first to each is another thing */
            samples_add(&samples, now() - start);
    }
    if (option_is(argc, argv, "do", "stay")) {
        stamp(message, size, 0);
        for (long i = 0; i < workers; ++i)
            put_now(&all[i].end, DATA, message, size);
        take_answers(epoll, workers, 0);
        if (with_timers)
            set_timer(epoll);
        printf("{\"master\": %ld", (long)getpid());
        for (long i = 0; i < workers; ++i)
            printf(", \"worker%ld\": %ld", i, (long)all[i].pid);
        printf("}\n");
        fflush(stdout);
        for (;;)
            take_answers(epoll, 1, 0);
    }
    report_samples(&samples);
    report_end();
    for (long i = 0; i < workers; ++i) {
        MUST(kill(all[i].pid, SIGKILL));
        MUST(waitpid(all[i].pid, NULL, 0));
    }
    return 0;
}
