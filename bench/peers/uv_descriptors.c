/*
 * uv_descriptors.c - the floor's descriptors.c with libuv: a uv_poll_t for each descriptor.
 */
#include "../bench.h"

#include <sys/eventfd.h>
#include <uv.h>

static long descriptors, active, rounds, warm, round_number, left;
static uint64_t start;
static int *fds;

static void next_round(uv_loop_t *loop)
{
    static const uint64_t one = 1;

    if (round_number == warm)
        start = now();
    if (round_number++ == rounds + warm) {
        uv_stop(loop);
        return;
    }
    left = active;
    for (long i = 0; i < active; ++i)
        EXPECT(write(fds[i * (descriptors / active)], &one, sizeof one) == sizeof one);
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
    int fd = *(int *)handle->data;
    uint64_t value;

    EXPECT(status == 0 && events == UV_READABLE);
    EXPECT(read(fd, &value, sizeof value) == sizeof value && value == 1);
    if (--left == 0)
        next_round(handle->loop);
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    uv_poll_t *handles;

    begin(argc, argv);
    descriptors = option(argc, argv, "descriptors", 10000);
    active = option(argc, argv, "active", 100);
    rounds = option(argc, argv, "count", 1000);
    warm = rounds / 10 + 1;
    many_descriptors(descriptors + 100);
    fds = calloc((size_t)descriptors, sizeof *fds);
    handles = calloc((size_t)descriptors, sizeof *handles);
    EXPECT(uv_loop_init(&loop) == 0);
    for (long i = 0; i < descriptors; ++i) {
        MUST(fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        EXPECT(uv_poll_init(&loop, &handles[i], fds[i]) == 0);
        handles[i].data = &fds[i];
        EXPECT(uv_poll_start(&handles[i], UV_READABLE, on_ready) == 0);
    }
    next_round(&loop);
    uv_run(&loop, UV_RUN_DEFAULT);
    report("event", (double)(now() - start) / (double)(rounds * active));
    report_end();
    return 0;
}
