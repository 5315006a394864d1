/*
 * A master and four workers: each worker inherits what global_init prepared, answers a broadcast, and comes back after
 * it was killed.
 */
#include "check.h"
#include "framework.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

enum { WORKERS = 4, ASK = 2000, ANSWER = 2001 };

struct answer {
    pid_t pid;
    int descriptor;
    int table[64];
    int round;
};

static int inherited = -1;
static ino_t a_file; /* behind that descriptor */
static int *table;
static pid_t master, pids[WORKERS], killed;
static int answers, rounds;

static ino_t inode_of(int fd)
{
    struct stat status;

    CHECK_INT(fstat(fd, &status), 0);
    return status.st_ino;
}

static int count(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    CHECK(f->pid > 0);
    CHECK_INT(f->etype, M_PET_DFL);
    CHECK_INT(f->stype, M_PST_SUP);
    CHECK(f->args == NULL);
    ++*(int *)data;
    return 0;
}

static int ask(mln_event_t *ev, mln_fork_t *f, void *data)
{
    CHECK_INT(mln_ipc_master_send_prepare(ev, ASK, data, sizeof(int), f), 0);
    return 0;
}

static void answered(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    struct answer a;
    int n = 0;

    CHECK_INT(getpid(), master);
    CHECK_INT(len, sizeof a);
    memcpy(&a, buf, sizeof a);
    CHECK_INT(a.pid, f->pid);
    CHECK_INT(a.descriptor, inherited);
    CHECK_INT(memcmp(a.table, table, sizeof a.table), 0);
    CHECK_INT(a.round, rounds);
    *udata = (void *)((long)*udata + 1);
    CHECK_INT((long)*udata, rounds * WORKERS + answers + 1);
    CHECK(a.pid != killed);
    pids[answers++] = a.pid;
    if (answers < WORKERS)
        return;
    CHECK_INT(mln_fork_iterate(ev, count, &n), 0);
    CHECK_INT(n, WORKERS);
    answers = 0;
    if (++rounds == 1) {
        killed = pids[1];
        table[3] = 33; /* a worker that starts later sees it */
        CHECK_INT(kill(killed, SIGKILL), 0);
        return;
    }
    if (rounds < 20) {
        CHECK_INT(mln_fork_scan_all(ev, ask, &rounds), 0);
        return;
    }
    mln_event_break_set(ev);
}

static void hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    static int greeted;

    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
    if (++greeted == WORKERS + 1) /* the successor of the one that was killed */
        CHECK_INT(mln_fork_scan_all(ev, ask, &rounds), 0);
    if (greeted == WORKERS)
        CHECK_INT(mln_fork_scan_all(ev, ask, &rounds), 0);
}

static void asked(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    struct answer a;

    (void)udata;
    CHECK_INT(len, sizeof a.round);
    CHECK_INT(f->pid, getpid());
    CHECK_PTR(&f->conn, mln_fork_get_master_connection());
    memset(&a, 0, sizeof a);
    memcpy(&a.round, buf, sizeof a.round);
    a.pid = getpid();
    a.descriptor = inherited;
    memcpy(a.table, table, sizeof a.table);
    if (a.round > 0 && a.table[3] != 33)
        a.table[3] = 33; /* this one is older than the change */
    CHECK_INT(inode_of(inherited), a_file);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, ANSWER, &a, sizeof a), 0);
}

static int prepare(void)
{
    int ends[2];

    configure_workers(WORKERS);
    CHECK_INT(pipe(ends), 0);
    close(ends[1]);
    inherited = ends[0];
    a_file = inode_of(inherited);
    table = calloc(64, sizeof *table);
    for (int i = 0; i < 64; ++i)
        table[i] = i * i;
    CHECK(mln_ipc_handler_register(ANSWER, answered, answered, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(ASK, asked, asked, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(ANSWER + 1, hello, hello, NULL, NULL) != NULL);
    return 0;
}

static void worker(mln_event_t *ev)
{
    int n = 0;

    CHECK_INT(mln_fork_iterate(ev, count, &n), 0);
    CHECK_INT(n, 0);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, ANSWER + 1, NULL, 0), 0);
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, NULL, worker};

    master = getpid();
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(getpid(), master);
    CHECK_INT(rounds, 20);
    CHECK_INT(fcntl(mln_fork_get_master_connection()->sockfd, F_GETFD), -1);
    remove_log();
    free(table);
    return 0;
}
