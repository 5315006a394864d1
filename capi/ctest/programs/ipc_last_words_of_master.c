/*
 * A worker gets what its master wrote before it ended, in whatever way, and ends with status 127 after that; also when it
 * answers, and the answers find nobody.
 */
#include "ipc.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { SMALL = 2000, LARGE, ANSWER, MANY = 2000, SIZE = 150000, WAYS = 3 };

static int small, large, way, refused;
static pid_t master;
static int report[2]; /* by which the worker says that it got everything */

/* Runs at exit(127). */
static void at_exit(void)
{
    if (small == MANY && large == 1 && refused > 0)
        write_bytes(report[1], "k", 1);
}

static void on_small(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int i;

    (void)f;
    (void)udata;
    CHECK_INT(len, sizeof i);
    memcpy(&i, buf, sizeof i);
    CHECK_INT(i, small);
    if (++small == 1)
        while (getppid() == master) /* which ends before the rest is read */
            usleep(1000);
    if (mln_ipc_worker_send_prepare(ev, ANSWER, buf, len) == 0)
        return;
    CHECK_INT(errno, EPIPE);
    ++refused;
}

static void on_large(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    CHECK_INT(small, MANY);
    CHECK_INT(len, SIZE);
    CHECK(filled(buf, len, SIZE));
    ++large;
}

static void begin(mln_event_t *ev)
{
    (void)ev;
    CHECK_INT(atexit(at_exit), 0);
}

static void end(mln_event_t *ev, void *data)
{
    if (bytes_to_send(data) > 0) { /* not all is written yet */
        CHECK(mln_event_timer_set(ev, 1, data, end) != NULL);
        return;
    }
    if (way == 0)
        exit(0);
    if (way == 1)
        _exit(0);
    raise(SIGKILL);
}

static void be_master(void)
{
    static char payload[SIZE];
    mln_event_t *ev;
    mln_fork_t *f;

    handle(SMALL, NULL, on_small);
    handle(LARGE, NULL, on_large);
    ev = become_master();
    start_worker(ev, begin);
    f = last_worker(ev);
    for (int i = 0; i < MANY; ++i)
        CHECK_INT(mln_ipc_master_send_prepare(ev, SMALL, &i, sizeof i, f), 0);
    fill(payload, SIZE, SIZE);
    CHECK_INT(mln_ipc_master_send_prepare(ev, LARGE, payload, SIZE, f), 0);
    end(ev, &f->conn);
    mln_event_dispatch(ev);
    CHECK(!"the master ends itself");
}

int main(void)
{
    CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* the worker becomes this process's child */
    for (way = 0; way < WAYS; ++way) {
        int status;
        char byte;

        CHECK_INT(pipe(report), 0);
        master = fork();
        CHECK(master >= 0);
        if (master == 0) {
            master = getpid();
            close(report[0]);
            be_master();
        }
        close(report[1]);
        CHECK_INT(waitpid(master, &status, 0), master);
        CHECK_INT(way < 2 ? WEXITSTATUS(status) : WTERMSIG(status), way < 2 ? 0 : SIGKILL);
        CHECK(wait(&status) > 0);
        CHECK(WIFEXITED(status));
        CHECK_INT(WEXITSTATUS(status), 127);
        CHECK_INT(read(report[0], &byte, 1), 1);
        close(report[0]);
    }
    CHECK_INT(wait(NULL), -1);
    return 0;
}
