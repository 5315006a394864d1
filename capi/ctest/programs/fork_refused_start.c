/*
 * Workers that cannot be started when the group is, plain ones and programs to be kept alive, are started as soon as they can: the
 * group is complete then, and nobody has to look after it.
 */
#include "ipc.h"
#include "processes.h"

#include "framework.h"

#include <fcntl.h>
#include <sys/resource.h>

enum { HELLO = 2000, WORKERS = 3 };

static int hellos, programs;
static struct rlimit limit;

static void on_hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)buf;
    (void)len;
    (void)udata;
    if (f->etype == M_PET_EXE)
        ++programs;
    else
        ++hellos;
    if (hellos == WORKERS && programs == 1)
        mln_event_break_set(ev);
}

static void add_program(void)
{
    mln_string_t path = mln_string("/proc/self/exe"), role = mln_string("peer");
    mln_conf_t *cf = mln_conf();
    mln_conf_domain_t *cd = cf->insert(cf, "proc_exec");
    mln_conf_cmd_t *cc = cd == NULL ? NULL : cd->insert(cd, "keepalive");
    mln_conf_item_t items[2];

    CHECK(cc != NULL);
    memset(items, 0, sizeof items);
    items[0].type = items[1].type = CONF_STR;
    items[0].val.s = &path;
    items[1].val.s = &role;
    CHECK_INT(cc->update(cc, items, 2), 0);
}

/* No number is left for the descriptors of a channel. */
static void forbid(void)
{
    int next = fcntl(0, F_DUPFD_CLOEXEC, 3);
    struct rlimit none = limit;

    CHECK(next > 2);
    close(next);
    none.rlim_cur = (rlim_t)next + 1;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void say_hello(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
}

int main(int argc, char **argv)
{
    mln_event_t *ev;

    if (argc > 1) {
        char byte;

        write_frame(atoi(argv[argc - 1]), HELLO, NULL, 0);
        return read_bytes(atoi(argv[argc - 1]), &byte, 1); /* until the master has gone */
    }
    handle(HELLO, on_hello, NULL);
    CHECK_INT(mln_conf_load(), 0);
    configure_number("worker_proc", WORKERS);
    add_program();
    ev = become_master();
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    forbid();
    CHECK_INT(mln_fork(), 1);
    CHECK_INT(worker_count(ev), 0);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    mln_fork_master_set_events(ev);
    dispatch(ev, say_hello);
    CHECK_INT(hellos, WORKERS);
    CHECK_INT(programs, 1);
    return 0;
}
