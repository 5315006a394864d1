/*
 * start.c - starting workers with the C API, from before the fork to the first message in the master. Options and results
 * are those of the floor's program of this name; do=exec is a plain fork and exec of this program, which loads the library.
 */
#include "processes.h"

#include <fcntl.h>
#include <sys/wait.h>

enum { HELLO = 2000, HELLO_SIZE = 64 };

static long count, live, said;
static int kills, asked;
static uint64_t start;
static struct samples samples;
static pid_t *pids;

static void say_hello(mln_event_t *ev)
{
    char message[HELLO_SIZE] = "";

    stamp(message, sizeof message, 0);
    MUST(mln_ipc_worker_send_prepare(ev, HELLO, message, sizeof message));
}

static void on_request(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    check(buf, len, HELLO_SIZE, 0);
    say_hello(ev);
}

static void start_next(mln_event_t *ev)
{
    char message[HELLO_SIZE] = "";

    start = now();
    start_worker(ev, asked ? NULL : say_hello);
    if (asked)
        MUST(mln_ipc_master_send_prepare(ev, HELLO, message, sizeof message, last_worker(ev)));
}

static void kill_next(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    start = now();
    MUST(kill(pids[said - live], SIGKILL));
}

static void on_hello(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    check(buf, len, HELLO_SIZE, 0);
    if (said >= live)
        samples_add(&samples, now() - start);
    else
        pids[said] = ((mln_fork_t *)f)->pid;
    ++said;
    if (kills && said >= live && said < live + count)
        EXPECT(mln_event_timer_set(ev, SETTLE_MS, NULL, kill_next) != NULL);
    else
        mln_event_break_set(ev); /* the next one is started outside the loop, where a worker's life is to begin */
}

/* ---- fork and exec, without the library ---- */

static void execute_child(int fd)
{
    char role[32];

    MUST(fcntl(fd, F_SETFD, 0));
    snprintf(role, sizeof role, "child=%d", fd);
    execl("/proc/self/exe", "start", role, (char *)NULL);
    fail("exec: %s", strerror(errno));
}

static void time_exec(void)
{
    char message[HELLO_SIZE];
    int pair[2];
    pid_t pid;

    settle(SETTLE_MS);
    start = now();
    open_pair(pair, 0);
    MUST(pid = fork());
    if (pid == 0)
        execute_child(pair[1]);
    close(pair[1]);
    EXPECT(recv(pair[0], message, sizeof message, MSG_WAITALL) == (ssize_t)sizeof message);
    check(message, sizeof message, HELLO_SIZE, 0);
    samples_add(&samples, now() - start);
    close(pair[0]);
    MUST(waitpid(pid, NULL, 0));
}

static int be_child(int fd)
{
    char message[HELLO_SIZE] = "";

    end_with_parent();
    stamp(message, sizeof message, 0);
    EXPECT(write(fd, message, sizeof message) == (ssize_t)sizeof message);
    return 0;
}

int main(int argc, char **argv)
{
    int child = (int)option(argc, argv, "child", -1);
    mln_event_t *ev;

    if (child >= 0)
        return be_child(child);
    begin(argc, argv);
    count = option(argc, argv, "count", 20);
    kills = option_is(argc, argv, "do", "kill");
    asked = (int)option(argc, argv, "asked", 0);
    live = option(argc, argv, "live", 0) + (kills ? count : 0);
    pids = calloc((size_t)live, sizeof *pids);
    for (long i = 0; option_is(argc, argv, "do", "exec") && i < count; ++i)
        time_exec();
    if (!option_is(argc, argv, "do", "exec")) {
        handle(HELLO, on_hello, on_request);
        ev = become_master();
        for (long i = 0; i < (kills ? live : live + count); ++i) {
            settle(i >= live ? SETTLE_MS : SETTLE_UNMEASURED_MS);
            start_next(ev);
            mln_event_break_reset(ev);
            run_master(ev, say_hello);
        }
    }
    report_samples(&samples);
    report_end();
    return 0;
}
