/*
 * A worker of the framework forks workers of its own: each goes on as a worker of the framework, with the one that forked it as its
 * master, and so does the successor of one that was killed.
 */
#include "check.h"
#include "framework.h"

#include <signal.h>

enum { HELLO = 2000, LEVELS = 3 };

struct hello {
    int level;
    pid_t pid, master;
};

static int level; /* how many forks lie between the first master and this process */
static int heard, killed;

/* Passed on from master to master, up to the first. */
static void on_hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct hello hello;

    (void)udata;
    CHECK_INT(len, sizeof hello);
    memcpy(&hello, buf, sizeof hello);
    if (hello.level == level + 1) {
        CHECK_INT(((mln_fork_t *)f_ptr)->pid, hello.pid);
        CHECK_INT(hello.master, getpid());
    }
    if (level > 0) {
        CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, buf, len), 0);
        return;
    }
    ++heard;
    if (hello.level == LEVELS && !killed) {
        killed = 1;
        CHECK_INT(kill(hello.pid, SIGKILL), 0);
    } else if (hello.level == LEVELS) {
        CHECK_INT(heard, LEVELS + 1);
        mln_event_break_set(ev);
    }
}

static void ignore(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
}

static void worker(mln_event_t *ev)
{
    static pid_t master;
    struct hello hello;
    int result;

    /* A successor is forked by the same process, and is of the same level. */
    if (master != getppid())
        ++level;
    master = getppid();
    memset(&hello, 0, sizeof hello);
    hello.level = level;
    hello.pid = getpid();
    hello.master = getppid();
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, &hello, sizeof hello), 0);
    if (level == LEVELS)
        return;
    CHECK_INT(mln_fork_prepare(), 0);
    result = mln_fork_restart(ev);
    CHECK(result >= 0);
}

static int prepare(void)
{
    configure_workers(1);
    CHECK(mln_ipc_handler_register(HELLO, on_hello, ignore, NULL, NULL) != NULL);
    return 0;
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, NULL, worker};

    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(level, 0);
    CHECK_INT(heard, LEVELS + 1);
    remove_log();
    return 0;
}
