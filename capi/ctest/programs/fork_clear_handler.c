/*
 * The resource clear handler runs once in every child, plain or exec'ed, of a first start or a later one, with its data
 * and before anything else of the program, and never in the master.
 */
#include "check.h"
#include "framework.h"
#include "mln_fork.h"
#include "processes.h"

#include <sys/mman.h>

enum { WORKERS = 2, HELLO = 3000 };

/* Shared with all processes. */
struct counts {
    int calls;
    pid_t in[16];
};

static struct counts *counts;
static pid_t master, killed;
static int hellos, cleared_here;

static void clear(void *data)
{
    struct counts *c = data;

    CHECK_PTR(c, counts);
    CHECK(getpid() != master);
    c->in[__atomic_fetch_add(&c->calls, 1, __ATOMIC_SEQ_CST)] = getpid();
    ++cleared_here;
}

static int calls_in(pid_t pid)
{
    int n = 0;

    for (int i = 0; i < counts->calls; ++i)
        n += counts->in[i] == pid;
    return n;
}

static void run_true(mln_event_t *ev)
{
    mln_s8ptr_t *args = malloc(sizeof *args);

    CHECK(args != NULL);
    args[0] = (mln_s8ptr_t) "/bin/true";
    CHECK_INT(mln_fork_spawn(M_PST_DFL, args, 1, ev), 0);
}

static void finish(mln_event_t *ev)
{
    int before = counts->calls;

    CHECK_INT(before, WORKERS + 2);
    mln_fork_resource_clear_handler_set(NULL, NULL);
    run_true(ev);
    CHECK_INT(counts->calls, before);
    mln_event_break_set(ev);
}

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)udata;
    CHECK_INT(len, sizeof(int));
    CHECK_INT(*(int *)buf, 1);
    CHECK_INT(calls_in(f->pid), 1);
    if (++hellos == WORKERS) {
        run_true(ev);
        CHECK_INT(counts->calls, WORKERS + 1); /* it runs before exec, which the master waited for */
        killed = f->pid;
        CHECK_INT(kill(killed, SIGKILL), 0);
    } else if (hellos == WORKERS + 1) {
        CHECK(f->pid != killed);
        finish(ev);
    }
}

static int prepare(void)
{
    configure_workers(WORKERS);
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    mln_fork_resource_clear_handler_set(NULL, counts);
    mln_fork_resource_clear_handler_set(clear, counts);
    return 0;
}

static void in_worker(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, &cleared_here, sizeof cleared_here), 0);
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, NULL, in_worker};

    master = getpid();
    mln_log_logger_set(NULL);
    counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(counts != MAP_FAILED);
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(hellos, WORKERS + 1);
    CHECK_INT(cleared_here, 0);
    CHECK_INT(counts->calls, WORKERS + 2);
    remove_log();
    return 0;
}
