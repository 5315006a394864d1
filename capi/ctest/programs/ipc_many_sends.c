/*
 * Ten thousand messages sent in a row from one place arrive in order: from master_process and worker_process, before the
 * loop runs, and from one handler.
 */
#include "ipc.h"

#include "framework.h"

enum { EARLY = 2000, LATER, MANY = 10000, WORKERS = 2 };

static pid_t pids[WORKERS];
static int got_early[WORKERS], got_later[WORKERS], sums;
static int in_worker;

static void send_many(mln_event_t *ev, mln_u32_t type, mln_fork_t *f)
{
    for (int i = 0; i < MANY; ++i) {
        int numbers[] = {i, i, i, i};
        size_t size = sizeof(int) * (1 + (size_t)i % 4);

        CHECK_INT(in_worker ? mln_ipc_worker_send_prepare(ev, type, numbers, size)
                            : mln_ipc_master_send_prepare(ev, type, numbers, size, f), 0);
    }
}

static int index_of(mln_fork_t *f)
{
    for (int i = 0; i < WORKERS; ++i) {
        if (pids[i] == 0)
            pids[i] = f->pid;
        if (pids[i] == f->pid)
            return i;
    }
    CHECK(!"a worker of the first generation");
    return -1;
}

static void expect(const void *buf, mln_u32_t len, int *counter)
{
    int i;

    CHECK_INT(len, sizeof i * (1 + (size_t)*counter % 4));
    memcpy(&i, buf, sizeof i);
    CHECK_INT(i, *counter);
    ++*counter;
}

static void on_early(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int i = index_of(f);

    (void)udata;
    expect(buf, len, &got_early[i]);
    if (got_early[i] == MANY / 2)
        send_many(ev, LATER, f);
}

static void on_later(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int i = index_of(f);

    (void)udata;
    expect(buf, len, &got_later[i]);
    sums += got_later[i] == MANY;
    if (sums == WORKERS && !in_worker)
        mln_event_break_set(ev);
}

static int prepare(void)
{
    configure_workers(WORKERS);
    handle(EARLY, on_early, on_early);
    handle(LATER, on_later, on_later);
    return 0;
}

static int send_early(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    send_many(ev, EARLY, f);
    return 0;
}

static void master(mln_event_t *ev)
{
    CHECK_INT(mln_fork_iterate(ev, send_early, NULL), 0);
}

static void worker(mln_event_t *ev)
{
    in_worker = 1;
    send_many(ev, EARLY, NULL);
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, master, worker};

    CHECK_INT(mln_framework_init(&attr), 0);
    if (in_worker)
        return 1; /* a worker ends with its master, inside its loop */
    for (int i = 0; i < WORKERS; ++i) {
        CHECK_INT(got_early[i], MANY);
        CHECK_INT(got_later[i], MANY);
    }
    remove_log();
    return 0;
}
