/*
 * interchange.c - the master of one exec'ed worker, whose command line is this program's: it sends every message of type ECHO and
 * above back, until the worker says how many it got.
 */
#include "check.h"

#include "mln_event.h"
#include "mln_fork.h"
#include "mln_ipc.h"

enum { DONE = 3000, ECHO, ECHO_END = ECHO + 16 };

static mln_u32_t echoed;
static int done;

static void echo(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = (mln_fork_t *)f_ptr;
    mln_u32_t type = f->msg_type;

    (void)udata;
    /* One that the worker has no use for, as the library's own about a reload would be. */
    if (echoed++ % 100 == 0)
        CHECK_INT(mln_ipc_master_send_prepare(ev, M_IPC_CONF_RELOAD, (void *)"conf_reload", 11, f), 0);
    CHECK_INT(mln_ipc_master_send_prepare(ev, type, buf, len, f), 0);
}

static void finish(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_u32_t received;

    (void)f_ptr;
    (void)udata;
    CHECK_INT(len, sizeof received);
    memcpy(&received, buf, sizeof received);
    CHECK_INT(received, echoed);
    CHECK(received > 1000);
    done = 1;
    mln_event_break_set(ev);
}

static int count(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    CHECK(f->etype == M_PET_EXE && f->args != NULL);
    ++*(int *)data;
    return 0;
}

/* The worker must not end before it is done. */
static void look(mln_event_t *ev, void *data)
{
    int n = 0;

    (void)data;
    CHECK_INT(mln_fork_iterate(ev, count, &n), 0);
    CHECK(n == 1 || done);
    CHECK(mln_event_timer_set(ev, 50, NULL, look) != NULL);
}

int main(int argc, char *argv[])
{
    mln_s8ptr_t *args = (mln_s8ptr_t *)calloc((size_t)argc + 1, sizeof *args);
    mln_event_t *ev;
    int i;

    CHECK(args != NULL && argc > 1);
    for (i = 1; i < argc; i++)
        args[i - 1] = argv[i];
    CHECK(mln_ipc_handler_register(DONE, finish, finish, NULL, NULL) != NULL);
    for (i = ECHO; i < ECHO_END; i++)
        CHECK(mln_ipc_handler_register((mln_u32_t)i, echo, echo, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((ev = mln_event_new()) != NULL);
    CHECK_INT(mln_fork_spawn(M_PST_DFL, args, (mln_u32_t)argc - 1, ev), 0);
    look(ev, NULL);
    mln_event_dispatch(ev);
    CHECK(done);
    mln_event_free(ev);
    return 0; /* the end of the stream ends the worker */
}
