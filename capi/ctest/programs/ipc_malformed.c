/*
 * A peer that sends what is no frame loses its channel, and its process if it does not end by itself; the log names it
 * and the cause. The master and the other workers go on.
 */
#include "ipc.h"

#include "scratch.h"

enum { READY = 2000, PING, PONG };

struct bad {
    const char *bytes;
    size_t size;
    const char *cause;
};

#define LENGTH(a, b, c, d) (const char[]){(char)a, (char)b, (char)c, (char)d}
#define LEAST(n) "its length is " #n ", the least is 4"
#define ANNOUNCES(n) "it announces a payload of " #n " bytes, the limit is 67108864"

static const struct bad cases[] = {
    {LENGTH(0, 0, 0, 0), 4, LEAST(0)},
    {LENGTH(1, 0, 0, 0), 4, LEAST(1)},
    {LENGTH(2, 0, 0, 0), 4, LEAST(2)},
    {LENGTH(3, 0, 0, 0), 4, LEAST(3)},
    {LENGTH(5, 0, 0, 4), 4, ANNOUNCES(67108865)},
    {LENGTH(0xff, 0xff, 0xff, 0x7f), 4, ANNOUNCES(2147483643)},
    {LENGTH(0, 0, 0, 0x80), 4, ANNOUNCES(2147483644)},
    {LENGTH(0xff, 0xff, 0xff, 0xff), 4, ANNOUNCES(4294967291)},
    {"GET / HTTP/1.1\r\n\r\n", 18, "it announces a payload of 542393667 bytes"},
};

enum { CASES = sizeof cases / sizeof cases[0], STUBBORN = 3 };

static pid_t pids[CASES];
static int ready, pongs;
static mln_fork_t *sibling;

static int peer(int number, int fd)
{
    uint32_t n = (uint32_t)number;

    write_frame(fd, READY, &n, sizeof n);
    write_bytes(fd, cases[number].bytes, cases[number].size);
    await_end(fd); /* the master's answer */
    while (number == STUBBORN)
        pause();
    return 0;
}

/* What came before the bad frame arrives. */
static void on_ready(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    uint32_t n;

    (void)ev;
    (void)udata;
    CHECK_INT(len, sizeof n);
    memcpy(&n, buf, sizeof n);
    CHECK_INT(f->pid, pids[n]);
    ++ready;
}

static void on_ping(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, PONG, buf, len), 0);
}

static void ping(mln_event_t *ev, void *data)
{
    (void)data;
    CHECK_INT(mln_ipc_master_send_prepare(ev, PING, NULL, 0, sibling), 0);
}

static void on_pong(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_PTR(f, sibling);
    ++pongs;
    if (ready == CASES && worker_count(ev) == 1 && child_count() == 1)
        mln_event_break_set(ev);
    CHECK(mln_event_timer_set(ev, 5, NULL, ping) != NULL);
}

static void verify_log(const char *path)
{
    char line[256];

    for (int i = 0; i < CASES; ++i) {
        snprintf(line, sizeof line, "the channel to worker %ld is closed: ipc: malformed frame: %s", (long)pids[i],
                 cases[i].cause);
        scratch_expect_part(path, line);
        snprintf(line, sizeof line, "worker %ld (/proc/self/exe) %s", (long)pids[i],
                 i == STUBBORN ? "was killed by signal 15" : "exited with status 0");
        scratch_expect_part(path, line);
    }
}

int main(int argc, char **argv)
{
    char numbers[CASES][12], *path;
    mln_event_t *ev;

    if (argc > 1)
        return peer(atoi(argv[1]), atoi(argv[argc - 1]));
    handle(READY, on_ready, NULL);
    handle(PING, NULL, on_ping);
    handle(PONG, on_pong, NULL);
    scratch_make();
    path = scratch_path("stderr");
    ev = become_master();
    start_worker(ev, NULL);
    sibling = last_worker(ev);
    scratch_catch_stderr(path);
    for (int i = 0; i < CASES; ++i) {
        snprintf(numbers[i], sizeof numbers[i], "%d", i);
        pids[i] = start_peer(ev, numbers[i])->pid;
    }
    CHECK_INT(worker_count(ev), CASES + 1);
    ping(ev, NULL);
    dispatch(ev, NULL);
    CHECK_INT(ready, CASES);
    CHECK_PTR(last_worker(ev), sibling);
    CHECK(pongs > 50 || check_slowness() > 1); /* while the stubborn one had its second */
    verify_log(path);
    mln_event_free(ev);
    return 0;
}
