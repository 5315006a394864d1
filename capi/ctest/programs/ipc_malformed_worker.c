/*
 * A plain worker that sends what is no frame is replaced; one that receives such a thing says so and ends with status
 * 127.
 */
#include "ipc.h"

#include "scratch.h"

enum { HELLO = 2000, BREAK_IT };

static int hellos;
static pid_t first;

static void begin(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
}

/* The first sends garbage, the second is sent garbage, the third is well. */
static void on_hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    static const uint32_t garbage[] = {2, 2};
    mln_fork_t *f = f_ptr;

    (void)buf;
    (void)len;
    (void)udata;
    CHECK_INT(worker_count(ev), 1);
    if (++hellos == 1) {
        first = f->pid;
        CHECK_INT(mln_ipc_master_send_prepare(ev, BREAK_IT, NULL, 0, f), 0);
    } else if (hellos == 2) {
        CHECK(f->pid != first);
        write_bytes(f->conn.sockfd, garbage, sizeof garbage);
    } else {
        mln_event_break_set(ev);
    }
}

static void break_it(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    static const uint32_t garbage[] = {0xfffffff0, 0};

    (void)ev;
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    write_bytes(mln_fork_get_master_connection()->sockfd, garbage, sizeof garbage);
}

int main(void)
{
    mln_event_t *ev;
    char *path;

    handle(HELLO, on_hello, NULL);
    handle(BREAK_IT, NULL, break_it);
    scratch_make();
    path = scratch_path("stderr");
    scratch_catch_stderr(path);
    ev = become_master();
    start_worker(ev, begin);
    dispatch(ev, begin);
    CHECK_INT(hellos, 3);
    scratch_expect_part(path, "is closed: ipc: malformed frame: it announces a payload of 4294967276 bytes");
    scratch_expect_part(path, "the master is gone: ipc: malformed frame: its length is 2, the least is 4");
    scratch_expect_part(path, "exited with status 127; another is started");
    mln_event_free(ev);
    return 0;
}
