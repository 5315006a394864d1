/*
 * A program that closes every descriptor from 3 on before it forks, and whose own files then have the numbers of the
 * library's: nothing of it is closed or read, and the workers come up.
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { FILES = 20, HELLO = 3000 };

static pid_t master;
static int hellos;

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    if (++hellos == 2)
        mln_event_break_set(ev);
    else
        CHECK_INT(kill(((mln_fork_t *)f_ptr)->pid, SIGKILL), 0);
}

static void work(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    mln_fork_worker_events_set(ev);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
    mln_event_dispatch(ev);
    _exit(2);
}

static void start_worker(mln_event_t *ev)
{
    int result = mln_fork_restart(ev);

    CHECK(result >= 0);
    if (result == 0)
        work();
}

static void close_all(void)
{
    CHECK_INT(close_range(3, ~0U, 0), 0);
}

static ino_t inode_of(int fd)
{
    struct stat status;

    CHECK_INT(fstat(fd, &status), 0);
    return status.st_ino;
}

/* A master, a worker and its successor, all of whose forks find other files under the old numbers. */
static void serve(void)
{
    mln_event_t *ev;
    int files[FILES][2];
    ino_t inodes[FILES];

    close_all();
    for (int i = 0; i < FILES; ++i) {
        CHECK_INT(pipe(files[i]), 0);
        inodes[i] = inode_of(files[i][0]);
        CHECK_INT(write(files[i][1], "x", 1), 1);
    }
    hellos = 0;
    CHECK((ev = mln_event_new()) != NULL);
    start_worker(ev);
    mln_event_dispatch(ev);
    if (getpid() != master)
        work();
    CHECK_INT(hellos, 2);
    for (int i = 0; i < FILES; ++i) {
        char byte;

        CHECK_INT(inode_of(files[i][0]), inodes[i]);
        CHECK_INT(read(files[i][0], &byte, 1), 1);
        CHECK_INT(byte, 'x');
    }
}

int main(void)
{
    master = getpid();
    mln_log_logger_set(NULL);
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    close_all(); /* what the library has had open since it was loaded */
    CHECK_INT(mln_fork_prepare(), 0);
    serve();
    serve(); /* and what it opened for the first fork */
    return 0;
}
