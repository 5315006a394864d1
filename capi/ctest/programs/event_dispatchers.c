/*
 * Several threads dispatch one loop: one at a time serves it, another goes on when that one leaves, and nothing is lost or
 * handled twice. A break that lasts ends the dispatches of all of them, until it is reset.
 */
#include "check.h"
#include "events.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 3, BYTES = 600, TURN = 10 };

static mln_event_t *loop;
static __thread int number; /* of this thread */
static atomic_int inside, total, served[THREADS], timers, finished, returns;

/* Called at the beginning of every handler: no other one is running. */
static void enter(void)
{
    CHECK_INT(atomic_fetch_add(&inside, 1), 0);
}

static void leave(void)
{
    usleep(20);
    CHECK_INT(atomic_fetch_sub(&inside, 1), 1);
}

static void receive(mln_event_t *ev, int fd, void *data)
{
    char byte;

    (void)data;
    enter();
    CHECK_INT(read(fd, &byte, 1), 1);
    atomic_fetch_add(&served[number], 1);
    if (atomic_fetch_add(&total, 1) % TURN == 0)
        mln_event_set_break(ev);
    leave();
}

static void expired(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    enter();
    atomic_fetch_add(&timers, 1);
    leave();
}

static void *serve(void *data)
{
    number = (int)(long)data;
    while (!atomic_load(&finished)) {
        mln_event_dispatch(loop);
        atomic_fetch_add(&returns, 1);
        usleep(1000); /* the turn of the others */
    }
    return NULL;
}

static void wait_until(const atomic_int *counter, int value)
{
    while (atomic_load(counter) < value)
        usleep(100);
}

int main(void)
{
    pthread_t threads[THREADS];
    int ends[2], busy = 0;

    loop = new_loop();
    make_pipe(ends);
    CHECK_INT(mln_event_fd_set(loop, ends[0], M_EV_RECV, M_EV_UNLIMITED, NULL, receive), 0);
    for (long i = 0; i < THREADS; ++i)
        CHECK_INT(pthread_create(&threads[i], NULL, serve, (void *)i), 0);
    for (int i = 0; i < BYTES; ++i) {
        put_byte(ends[1]);
        CHECK(mln_event_timer_set(loop, (mln_u32_t)i % 3, NULL, expired) != NULL);
        if (i % 100 == 99) /* until one of them sleeps in the loop, and the others wait for it */
            wait_until(&total, i + 1);
    }
    wait_until(&timers, BYTES);
    CHECK_INT(atomic_load(&total), BYTES);
    for (int i = 0; i < THREADS; ++i)
        busy += atomic_load(&served[i]) > 0;
    CHECK(busy > 1);
    CHECK(atomic_load(&returns) >= BYTES / TURN - 1); /* each break ended one dispatch and no more */
    CHECK(atomic_load(&returns) <= BYTES / TURN);

    atomic_store(&finished, 1);
    mln_event_break_set(loop); /* lasts: all return */
    for (int i = 0; i < THREADS; ++i)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK_INT(atomic_load(&timers), BYTES);

    atomic_store(&finished, 0);
    mln_event_break_reset(loop);
    CHECK_INT(pthread_create(&threads[0], NULL, serve, NULL), 0);
    put_byte(ends[1]);
    wait_until(&total, BYTES + 1);
    atomic_store(&finished, 1);
    mln_event_break_set(loop);
    CHECK_INT(pthread_join(threads[0], NULL), 0);
    mln_event_free(loop);
    close_both(ends);
    return 0;
}
