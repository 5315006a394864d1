/*
 * fork_interrupted.c - a signal handler of the program forks while its thread is in the middle of sending, with the locks held that
 * every fork takes: nobody waits for them, parent and child go on, and the message arrives once.
 * deadline: 60s
 */
#include "ipc.h"
#include "processes.h"

#include <sys/socket.h>

enum { NUMBER = 2000, MESSAGES = 50, FINE = 7 };

static pid_t child;
static int interrupt_next, forks;

/* What the library sends so little with, which holds its locks meanwhile. */
ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    if (interrupt_next && getpid() == gettid()) {
        interrupt_next = 0;
        raise(SIGUSR1);
    }
    return sendto(fd, bytes, size, flags, NULL, 0);
}

/* The child goes on with the library, in as far as it is not in the middle of what was interrupted. */
static void on_signal(int signo)
{
    (void)signo;
    CHECK((child = fork()) >= 0);
    if (child == 0) {
        mln_event_t *ev = mln_event_new();

        CHECK(ev != NULL);
        CHECK(mln_event_timer_set(ev, 0, NULL, break_loop) != NULL);
        mln_event_dispatch(ev);
        mln_event_free(ev);
        _exit(FINE);
    }
    ++forks;
}

static int send_number(mln_event_t *ev, mln_fork_t *worker, void *data)
{
    return mln_ipc_master_send_prepare(ev, NUMBER, data, sizeof(int), worker);
}

static void next(mln_event_t *ev, int number)
{
    interrupt_next = 1;
    CHECK_INT(mln_fork_iterate(ev, send_number, &number), 0);
}

static void in_master(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    static int expected;

    (void)f;
    (void)udata;
    CHECK_INT(len, sizeof expected);
    CHECK_INT(memcmp(buf, &expected, sizeof expected), 0);
    CHECK_INT(forks, expected + 1);
    CHECK_INT(await_status(child), FINE);
    if (++expected == MESSAGES)
        mln_event_break_set(ev);
    else
        next(ev, expected);
}

static void in_worker(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, NUMBER, buf, len), 0);
}

int main(void)
{
    mln_event_t *ev = become_master();

    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    CHECK(mln_ipc_handler_register(NUMBER, in_master, in_worker, NULL, NULL) != NULL);
    CHECK_INT(mln_ipc_set_process_handlers(), 0);
    start_worker(ev, NULL);
    mln_fork_master_events_set(ev);
    next(ev, 0);
    dispatch(ev, NULL);
    CHECK_INT(forks, MESSAGES);
    return 0;
}
