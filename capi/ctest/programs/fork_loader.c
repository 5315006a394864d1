/*
 * A fork while another thread is inside the dynamic loader: the worker, which can never load its engine, is ended and
 * another takes its place.
 * deadline: 60s
 */
#include "scratch.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <link.h>
#include <pthread.h>
#include <stdatomic.h>

enum { HELLO = 3000 };

static atomic_int inside, leave;
static int hellos;

/* Holds the loader's lock. */
static int linger(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info;
    (void)size;
    (void)data;
    atomic_store(&inside, 1);
    while (!atomic_load(&leave))
        usleep(1000);
    return 1;
}

static void *be_inside(void *arg)
{
    (void)arg;
    CHECK_INT(dl_iterate_phdr(linger, NULL), 1);
    return NULL;
}

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
    ++hellos;
    mln_event_break_set(ev);
}

int main(void)
{
    pid_t master = getpid();
    mln_event_t *ev = mln_event_new();
    pthread_t thread;
    char *log_path;
    int result;

    CHECK(ev != NULL);
    scratch_make();
    log_path = strdup(scratch_path("stderr"));
    scratch_catch_stderr(log_path);
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK_INT(pthread_create(&thread, NULL, be_inside, NULL), 0);
    while (!atomic_load(&inside))
        usleep(1000);
    CHECK((result = mln_fork_restart(ev)) >= 0);
    if (getpid() == master) {
        CHECK_INT(result, 1);
        atomic_store(&leave, 1);
        CHECK_INT(pthread_join(thread, NULL), 0);
        mln_event_dispatch(ev);
    }
    if (getpid() != master) {
        CHECK((ev = mln_event_new()) != NULL);
        mln_fork_worker_events_set(ev);
        CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
        mln_event_dispatch(ev);
        _exit(2);
    }
    CHECK_INT(hellos, 1);
    scratch_expect_part(log_path, "killed by signal 14");
    free(log_path);
    return 0;
}
