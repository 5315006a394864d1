/*
 * SIGUSR2 makes the master reload, and its workers with it: in loop context, for a file that is right. A worker that gets
 * the signal itself ignores it, a restarted one too, and a broken file changes nothing anywhere.
 */
#include "ipc.h"
#include "scratch.h"

#include <signal.h>

#include "mln_framework.h"

enum { WORKERS = 2, VALUE = 2000 };

static pid_t master;
static mln_event_t *loop; /* of this process */
static int values, broken_values, killed;

static void configure_value(const char *value)
{
    char text[300];

    snprintf(text, sizeof text, "framework \"multiprocess\"; worker_proc %d; log_path \"%s\"; value %s;\n", WORKERS,
             scratch_path("logs/test.log"), value);
    snprintf(scratch_conf_path, sizeof scratch_conf_path, "%s/melon.conf", scratch_dir);
    scratch_write(scratch_conf_path, text);
}

static int value(void)
{
    mln_conf_domain_t *cd = mln_conf()->search(mln_conf(), "main");
    mln_conf_cmd_t *cc = cd->search(cd, "value");

    return (int)cc->search(cc, 1)->val.i;
}

static int tell_value(void)
{
    int now = value();

    return mln_ipc_worker_send_prepare(loop, VALUE, &now, sizeof now);
}

static int on_reload(void *unused)
{
    sigset_t blocked;

    (void)unused;
    if (getpid() != master)
        return tell_value();
    /* Memory, the log and the loop may be used: this is no signal handler, in which the signal would be blocked. */
    CHECK_INT(pthread_sigmask(SIG_BLOCK, NULL, &blocked), 0);
    CHECK_INT(sigismember(&blocked, SIGUSR2), 0);
    free(malloc(100000));
    mln_log(none, "the master has value %d\n", value());
    return 0;
}

static int signal_worker(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)data;
    return kill(f->pid, SIGUSR2);
}

/* The broken file is ignored by now, and so is the signal to each worker: nobody has said anything. */
static void mend(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    CHECK_INT(values, broken_values);
    CHECK_INT(value(), 1);
    configure_value("2");
    CHECK_INT(kill(master, SIGUSR2), 0);
}

static void on_value(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = (mln_fork_t *)f_ptr;

    (void)udata;
    CHECK_INT(getpid(), master);
    CHECK_INT(len, sizeof(int));
    ++values;
    if (values == WORKERS) { /* they run: now one of them gets a successor */
        killed = f->pid;
        CHECK_INT(kill(killed, SIGKILL), 0);
    } else if (values == WORKERS + 1) {
        CHECK(f->pid != killed);
        CHECK_INT(mln_fork_iterate(ev, signal_worker, NULL), 0);
        configure_value("broken");
        broken_values = values;
        CHECK_INT(kill(master, SIGUSR2), 0);
        CHECK(mln_event_timer_set(ev, 200, NULL, mend) != NULL);
    } else if (values > WORKERS + 1) {
        CHECK_INT(*(int *)buf, 2);
        CHECK_INT(value(), 2);
        if (values == broken_values + WORKERS)
            mln_event_break_set(ev);
    }
}

static int global_init(void)
{
    CHECK(mln_ipc_handler_register(VALUE, on_value, on_value, NULL, NULL) != NULL);
    CHECK(mln_conf_hook_set(on_reload, NULL) != NULL); /* workers inherit it */
    return 0;
}

static void worker_process(mln_event_t *ev)
{
    loop = ev;
    CHECK_INT(tell_value(), 0);
}

int main(int argc, char *argv[])
{
    struct mln_framework_attr attr = {argc, argv, global_init, NULL, NULL, worker_process};

    scratch_make();
    master = getpid();
    configure_value("1");
    mln_path_hook_set(m_p_conf, scratch_conf_file);
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(values, broken_values + WORKERS);
    return 0;
}
