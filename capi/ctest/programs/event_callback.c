/*
 * The callback begins every iteration: callback, timers, descriptors, timeouts, and a wait.
 */
#include "check.h"
#include "events.h"

#include <pthread.h>
#include <stdatomic.h>

static char trace[256];

static void note(const char *what)
{
    if (strlen(trace) + 1 < sizeof trace)
        strcat(trace, what);
}

static void note_round(mln_event_t *ev, void *data)
{
    (void)ev;
    note(data);
}

static void note_fd(mln_event_t *ev, int fd, void *data)
{
    (void)ev;
    (void)fd;
    note(data);
}

static void note_last(mln_event_t *ev, int fd, void *data)
{
    note_fd(ev, fd, data);
    CHECK(mln_event_timer_set(ev, 1, NULL, stop) != NULL);
}

static void note_timer(mln_event_t *ev, void *data)
{
    (void)ev;
    note(data);
}

static int ready[2], silent[2];

/* While this handler is busy, everything becomes due. */
static void be_late(mln_event_t *ev, void *data)
{
    (void)data;
    CHECK_INT(mln_event_fd_set(ev, silent[0], M_EV_RECV, 5, NULL, never), 0);
    mln_event_fd_timeout_handler_set(ev, silent[0], "o", note_last);
    CHECK_INT(mln_event_fd_set(ev, ready[0], M_EV_SEND | M_EV_ONESHOT, M_EV_UNLIMITED, "s", note_fd), 0);
    CHECK_INT(mln_event_fd_set(ev, ready[0], M_EV_RECV | M_EV_APPEND | M_EV_ONESHOT, M_EV_UNLIMITED, "r", note_fd), 0);
    CHECK(mln_event_timer_set(ev, 5, "t", note_timer) != NULL);
    usleep(20000);
    trace[0] = '\0';
}

static void order_of_an_iteration(mln_event_t *ev)
{
    make_sockets(ready);
    make_pipe(silent);
    put_byte(ready[1]);
    mln_event_callback_set(ev, note_round, "c");
    CHECK(mln_event_timer_set(ev, 0, NULL, be_late) != NULL);
    mln_event_dispatch(ev);
    mln_event_set_callback(ev, NULL, NULL);
    CHECK_INT(strncmp(trace, "ctrsoc", 6), 0);
    CHECK_INT(mln_event_fd_set(ev, ready[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    CHECK_INT(mln_event_fd_set(ev, silent[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close_both(ready);
    close_both(silent);
}

static void read_one(mln_event_t *ev, int fd, void *data)
{
    count_byte(ev, fd, data);
    if (*(int *)data == 100)
        mln_event_set_break(ev);
}

/* One byte an iteration: as many rounds. */
static void once_an_iteration(mln_event_t *ev)
{
    int ends[2], rounds = 0, bytes = 0;

    make_pipe(ends);
    for (int i = 0; i < 100; ++i)
        put_byte(ends[1]);
    mln_event_callback_set(ev, count_timer, &rounds);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, M_EV_UNLIMITED, &bytes, read_one), 0);
    mln_event_dispatch(ev);
    CHECK_INT(bytes, 100);
    CHECK(rounds >= 100 && rounds <= 105);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close_both(ends);

    /* Not only when the loop sleeps: a regular file lets it have no rest. */
    int file = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(file >= 0);
    CHECK_INT(unlink("file"), 0);
    rounds = bytes = 0;
    CHECK_INT(mln_event_fd_set(ev, file, M_EV_RECV, M_EV_UNLIMITED, &bytes, count), 0);
    run_for(ev, 20);
    CHECK(bytes > 10);
    CHECK(rounds >= bytes && rounds <= bytes + 5);
    CHECK_INT(mln_event_fd_set(ev, file, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close(file);

    /* And an idle loop has none: nothing wakes it for the callback's sake. */
    rounds = 0;
    check_sleeps(ev);
    CHECK(rounds <= 5);
    mln_event_callback_set(ev, NULL, NULL);
    run_for(ev, 10);
    CHECK(rounds <= 5);
}

static void second(mln_event_t *ev, void *data)
{
    ++*(int *)data;
    mln_event_set_break(ev);
}

static void first(mln_event_t *ev, void *data)
{
    CHECK(mln_event_timer_set(ev, 1, NULL, NULL) != NULL);
    mln_event_callback_set(ev, second, data);
}

static void removes_itself(mln_event_t *ev, void *data)
{
    ++*(int *)data;
    mln_event_callback_set(ev, NULL, NULL);
}

static void sets_itself(mln_event_t *ev, void *data)
{
    ++*(int *)data;
    mln_event_callback_set(ev, sets_itself, data);
}

static void from_inside(mln_event_t *ev)
{
    int calls = 0;

    mln_event_callback_set(ev, first, &calls);
    mln_event_dispatch(ev);
    CHECK_INT(calls, 1);
    mln_event_callback_set(ev, removes_itself, &calls);
    run_for(ev, 10);
    CHECK_INT(calls, 2);

    /* It begins no iteration by that. */
    calls = 0;
    mln_event_callback_set(ev, sets_itself, &calls);
    check_sleeps(ev);
    CHECK(calls <= 5);
    mln_event_callback_set(ev, NULL, NULL);
}

static int apples, pears;

static void apple(mln_event_t *ev, void *data)
{
    (void)ev;
    CHECK_PTR(data, &apples);
}

static void pear(mln_event_t *ev, void *data)
{
    (void)ev;
    CHECK_PTR(data, &pears);
}

static atomic_int dispatching;

static void note_dispatching(mln_event_t *ev, int fd, void *data)
{
    (void)ev;
    (void)fd;
    atomic_store((atomic_int *)data, 1);
}

static void *change(void *data)
{
    while (!atomic_load(&dispatching))
        sched_yield();
    for (int i = 0; i < 20000; ++i) {
        mln_event_callback_set(data, apple, &apples);
        mln_event_callback_set(data, pear, &pears);
        mln_event_callback_set(data, NULL, NULL);
    }
    mln_event_set_break(data);
    return NULL;
}

/* Another thread changes it meanwhile: a callback gets its own data, and NULL is not called. */
static void by_another_thread(mln_event_t *ev)
{
    pthread_t thread;
    int ends[2];

    make_pipe(ends);
    put_byte(ends[1]);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, M_EV_UNLIMITED, &dispatching, note_dispatching), 0);
    CHECK_INT(pthread_create(&thread, NULL, change, ev), 0);
    mln_event_dispatch(ev);
    CHECK_INT(pthread_join(thread, NULL), 0);
    close_both(ends);
}

int main(void)
{
    mln_event_t *ev = new_loop();

    order_of_an_iteration(ev);
    once_an_iteration(ev);
    from_inside(ev);
    by_another_thread(ev);
    mln_event_free(ev);
    return 0;
}
