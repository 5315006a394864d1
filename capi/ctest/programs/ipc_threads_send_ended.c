/*
 * Threads that send to a worker while it is killed, and go on with its old address, are told EPIPE; the master lives on.
 */
#include "ipc.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum { DATA = 2000, HELLO, THREADS = 3, GENERATIONS = 5 };

static mln_event_t *loop;
static _Atomic(mln_fork_t *) current;
static atomic_int over, refused;
static int generations;

static void *sender(void *unused)
{
    char payload[512] = {0};

    while (!atomic_load(&over)) {
        mln_fork_t *f = atomic_load(&current);

        if (f == NULL)
            continue;
        for (int i = 0; i < 64; ++i) {
            if (mln_ipc_master_send_prepare(loop, DATA, payload, sizeof payload, f) == 0)
                continue;
            CHECK_INT(errno, EPIPE);
            atomic_fetch_add(&refused, 1);
        }
        usleep(200);
    }
    return unused;
}

static void kill_it(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    CHECK_INT(kill(atomic_load(&current)->pid, SIGKILL), 0);
}

static void on_hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    if (++generations > GENERATIONS) {
        mln_event_break_set(ev);
        return;
    }
    atomic_store(&current, f_ptr);
    CHECK(mln_event_timer_set(ev, 20, NULL, kill_it) != NULL);
}

static void on_data(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
}

static void begin(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
}

int main(void)
{
    pthread_t threads[THREADS];

    handle(HELLO, on_hello, NULL);
    handle(DATA, NULL, on_data);
    loop = become_master();
    start_worker(loop, begin);
    for (int i = 0; i < THREADS; ++i)
        CHECK_INT(pthread_create(&threads[i], NULL, sender, NULL), 0);
    dispatch(loop, begin);
    atomic_store(&over, 1);
    for (int i = 0; i < THREADS; ++i)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK(atomic_load(&refused) > 0);
    mln_event_free(loop);
    return 0;
}
