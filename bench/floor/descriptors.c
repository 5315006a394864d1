/*
 * descriptors.c - the floor for many descriptors of which few are active: eventfds, one epoll instance.
 *
 * descriptors=N active=N count=ROUNDS: in each round the active ones are written to, and each is reported and read.
 * Result: event (ns for one, its write and read included)
 */
#include "../bench.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

int main(int argc, char **argv)
{
    long descriptors = option(argc, argv, "descriptors", 10000), active = option(argc, argv, "active", 100);
    long rounds = option(argc, argv, "count", 1000), warm = rounds / 10 + 1;
    int *fds = calloc((size_t)descriptors, sizeof *fds), epoll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t one = 1, value, start = 0;

    begin(argc, argv);
    MUST(epoll);
    many_descriptors(descriptors + 100);
    for (long i = 0; i < descriptors; ++i) {
        struct epoll_event event = {.events = EPOLLIN};

        MUST(event.data.fd = fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event));
    }
    for (long round = 0; round < rounds + warm; ++round) {
        long left = active;

        if (round == warm)
            start = now();
        for (long i = 0; i < active; ++i)
            EXPECT(write(fds[i * (descriptors / active)], &one, sizeof one) == sizeof one);
        while (left > 0) {
            struct epoll_event events[128];
            int n = epoll_wait(epoll, events, 128, -1);

            MUST(n);
            for (int i = 0; i < n; ++i, --left)
                EXPECT(read(events[i].data.fd, &value, sizeof value) == sizeof value && value == 1);
        }
        EXPECT(left == 0);
    }
    report("event", (double)(now() - start) / (double)(rounds * active));
    report_end();
    return 0;
}
