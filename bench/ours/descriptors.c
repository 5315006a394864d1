/*
 * descriptors.c - many descriptors of which few are active, with the C API. Options and results are those of the floor's
 * program of this name.
 */
#include "../bench.h"

#include "mln_event.h"

#include <sys/eventfd.h>

static long descriptors, active, rounds, warm, round_number, left;
static uint64_t start;
static int *fds;

static void next_round(mln_event_t *ev)
{
    static const uint64_t one = 1;

    if (round_number == warm)
        start = now();
    if (round_number++ == rounds + warm) {
        mln_event_break_set(ev);
        return;
    }
    left = active;
    for (long i = 0; i < active; ++i)
        EXPECT(write(fds[i * (descriptors / active)], &one, sizeof one) == sizeof one);
}

static void on_ready(mln_event_t *ev, int fd, void *data)
{
    uint64_t value;

    (void)data;
    EXPECT(read(fd, &value, sizeof value) == sizeof value && value == 1);
    if (--left == 0)
        next_round(ev);
}

int main(int argc, char **argv)
{
    mln_event_t *ev;

    begin(argc, argv);
    descriptors = option(argc, argv, "descriptors", 10000);
    active = option(argc, argv, "active", 100);
    rounds = option(argc, argv, "count", 1000);
    warm = rounds / 10 + 1;
    many_descriptors(descriptors + 100);
    fds = calloc((size_t)descriptors, sizeof *fds);
    if ((ev = mln_event_new()) == NULL)
        fail("mln_event_new: %s", strerror(errno));
    for (long i = 0; i < descriptors; ++i) {
        MUST(fds[i] = eventfd(0, EFD_CLOEXEC));
        MUST(mln_event_fd_set(ev, fds[i], M_EV_RECV | M_EV_NONBLOCK, M_EV_UNLIMITED, NULL, on_ready));
    }
    next_round(ev);
    mln_event_dispatch(ev);
    report("event", (double)(now() - start) / (double)(rounds * active));
    report_end();
    return 0;
}
