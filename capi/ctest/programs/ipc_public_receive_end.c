/*
 * A program that registers the receive handler itself has its workers supervised all the same: one that ends is reaped
 * and replaced.
 */
#include "ipc.h"

enum { HELLO = 2000 };

static int hellos;
static pid_t first;

static void watch(mln_event_t *ev)
{
    mln_fork_t *f = last_worker(ev);

    CHECK_INT(mln_event_fd_set(ev, f->conn.sockfd, M_EV_RECV | M_EV_NONBLOCK, M_EV_UNLIMITED, f, mln_ipc_fd_handler_master),
              0);
}

/* The first ends right after it was heard. */
static void on_hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    int is_first;

    (void)udata;
    CHECK_INT(len, sizeof is_first);
    memcpy(&is_first, buf, sizeof is_first);
    if (++hellos == 1) {
        CHECK_INT(is_first, 1);
        first = f->pid;
        return;
    }
    CHECK(f->pid != first);
    CHECK_INT(worker_count(ev), 1);
    CHECK_INT(child_count(), 1);
    mln_event_break_set(ev);
}

static void end(mln_event_t *ev, void *data)
{
    if (bytes_to_send(mln_fork_get_master_connection()) == 0)
        exit(3);
    CHECK(mln_event_timer_set(ev, 1, data, end) != NULL);
}

static void begin(mln_event_t *ev)
{
    int is_first = hellos == 0;

    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, &is_first, sizeof is_first), 0);
    if (is_first)
        end(ev, NULL);
}

static void refuse(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    CHECK(!"a successor in time");
}

int main(void)
{
    mln_event_t *ev;
    int result;

    handle(HELLO, on_hello, NULL);
    ev = become_master();
    result = mln_fork_restart(NULL);
    CHECK(result >= 0);
    if (result == 0)
        work(ev, begin);
    watch(ev);
    CHECK(mln_event_timer_set(ev, 5000 * check_slowness(), NULL, refuse) != NULL);
    dispatch(ev, begin);
    CHECK_INT(hellos, 2);
    mln_event_free(ev);
    return 0;
}
