/*
 * A master that is out of descriptors or processes says so and goes on: a fork fails with -1 and leaves nothing behind, and a
 * worker that has to be replaced is replaced as soon as that is possible.
 */
#include "ipc.h"
#include "scratch.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

enum { HELLO = 2000 };

static struct rlimit enough;
static int hellos, tries;
static char *errors; /* path of what the log said */

static void say_hello(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
}

static void no_more_descriptors(void)
{
    struct rlimit none_left = enough;

    none_left.rlim_cur = 4; /* descriptors that are open stay open */
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none_left), 0);
}

static int end(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)data;
    return kill(f->pid, SIGKILL);
}

/* Waits until the loop has tried to replace the worker in vain. */
static void relieve(mln_event_t *ev, void *data)
{
    struct stat status;

    (void)data;
    ++tries;
    if (stat(errors, &status) != 0 || status.st_size == 0) {
        CHECK(tries < 1000);
        CHECK(mln_event_timer_set(ev, 10, NULL, relieve) != NULL);
        return;
    }
    CHECK_INT(hellos, 1);
    CHECK_INT(worker_count(ev), 0);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &enough), 0);
}

static void on_hello(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int before = fd_count();

    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    if (++hellos == 2) {
        mln_event_break_set(ev);
        return;
    }
    scratch_catch_stderr(errors);
    no_more_descriptors();
    errno = 0;
    CHECK_INT(mln_fork_restart(ev), -1);
    CHECK_INT(errno, EMFILE);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &enough), 0);
    CHECK_INT(fd_count(), before + 1); /* the stream for failed checks */
    CHECK_INT(worker_count(ev), 1);
    scratch_expect_part(errors, "cannot fork a worker: Too many open files");
    CHECK_INT(truncate(errors, 0), 0);

    no_more_descriptors();
    CHECK_INT(mln_fork_iterate(ev, end, NULL), 0);
    relieve(ev, NULL);
}

int main(void)
{
    static char path[600];
    mln_event_t *ev;

    scratch_make();
    snprintf(path, sizeof path, "%s", scratch_path("errors"));
    errors = path;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &enough), 0);
    handle(HELLO, on_hello, NULL);
    ev = become_master();
    start_worker(ev, say_hello);
    dispatch(ev, say_hello);
    CHECK_INT(hellos, 2);
    scratch_expect_part(errors, "cannot start a worker again: Too many open files");
    mln_event_free(ev);
    return 0;
}
