/*
 * processes.h - masters and workers with the library's C API.
 */
#ifndef PROCESSES_H
#define PROCESSES_H

#include "../bench.h"

#include "mln_event.h"
#include "mln_fork.h"
#include "mln_ipc.h"

BENCH_UNUSED static void handle(mln_u32_t type, ipc_handler master, ipc_handler worker)
{
    if (mln_ipc_handler_register(type, master, worker, NULL, NULL) == NULL)
        fail("cannot register a message");
}

BENCH_UNUSED static mln_event_t *become_master(void)
{
    mln_event_t *ev;

    MUST(mln_fork_prepare());
    if ((ev = mln_event_new()) == NULL)
        fail("mln_event_new: %s", strerror(errno));
    return ev;
}

/* In a child: its life as a worker, which ends with its master's. */
__attribute__((noreturn)) BENCH_UNUSED static void work(mln_event_t *masters, void (*start)(mln_event_t *))
{
    mln_event_t *ev;

    end_with_parent();
    mln_event_free(masters);
    if ((ev = mln_event_new()) == NULL)
        fail("mln_event_new: %s", strerror(errno));
    mln_fork_worker_events_set(ev);
    if (start != NULL)
        start(ev);
    mln_event_dispatch(ev);
    exit(0);
}

BENCH_UNUSED static void start_worker(mln_event_t *ev, void (*start)(mln_event_t *))
{
    int result = mln_fork_restart(ev);

    MUST(result);
    if (result == 0)
        work(ev, start);
}

/* What returns from the dispatch may also be the successor of a worker that ended. */
BENCH_UNUSED static void run_master(mln_event_t *ev, void (*start)(mln_event_t *))
{
    pid_t self = getpid();

    mln_event_dispatch(ev);
    if (getpid() != self)
        work(ev, start);
}

static int keep_last(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    *(mln_fork_t **)data = f;
    return 0;
}

/* The worker that was started last. */
BENCH_UNUSED static mln_fork_t *last_worker(mln_event_t *ev)
{
    mln_fork_t *f = NULL;

    MUST(mln_fork_iterate(ev, keep_last, &f));
    return f;
}

#endif
