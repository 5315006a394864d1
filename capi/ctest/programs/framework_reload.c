/*
 * Reload by SIGUSR2, from the first moment on: the master and every worker have the new file, a broken file leaves the old
 * one in force everywhere and is named in the log with its line, and no signal ever ends a worker.
 * deadline: 60s
 */
#include "scratch.h"
#include "mln_fork.h"
#include "mln_framework.h"
#include "processes.h"

#include <sys/prctl.h>

enum { WORKERS = 3, STARTED = 3000, VALUE, STORM_MS = 1500 };

static pid_t master, stormer;
static mln_event_t *loop;
static int started, in_handler, storm_reloads;
static char *log_path;

/* What the workers said after their last reload. */
static struct report {
    pid_t pid;
    int value;
} reports[WORKERS];

static void configure_value(const char *value)
{
    snprintf(scratch_conf_path, sizeof scratch_conf_path, "%s/melon.conf", scratch_dir);
    char text[2000];

    snprintf(text, sizeof text, "framework \"multiprocess\"; worker_proc %d; log_level \"report\";\nlog_path \"%s/log\";\nvalue %s;\n",
             WORKERS, scratch_dir, value);
    /* In one step: a storm of signals must never find half a file. */
    char *next = scratch_path("next.conf");
    scratch_write(next, text);
    CHECK_INT(rename(next, scratch_conf_path), 0);
}

static int value(void)
{
    mln_conf_domain_t *cd = mln_conf()->search(mln_conf(), "main");

    return (int)cd->search(cd, "value")->search(cd->search(cd, "value"), 1)->val.i;
}

static int reloaded(void *data)
{
    int v = value();

    CHECK_PTR(data, reports);
    CHECK_INT(in_handler, 0); /* in loop context: never inside another handler */
    free(malloc(10000));
    if (getpid() == master)
        ++storm_reloads;
    else
        CHECK_INT(mln_ipc_worker_send_prepare(loop, VALUE, &v, sizeof v), 0);
    return 0;
}

/* Busy memory and a busy loop: a reload in signal context would soon meet a locked one. */
static void busy(mln_event_t *ev, void *data)
{
    in_handler = 1;
    for (int i = 0; i < 200; ++i)
        free(malloc((size_t)i * 100));
    in_handler = 0;
    CHECK(mln_event_timer_set(ev, 1, data, busy) != NULL);
}

static int signal_worker(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)data;
    return kill(f->pid, SIGUSR2);
}

/* How many workers have this value. */
static int informed(int wanted)
{
    int n = 0;

    for (int i = 0; i < WORKERS; ++i)
        n += reports[i].value == wanted;
    return n;
}

static void finish(mln_event_t *ev, void *data)
{
    (void)data;
    if (informed(3) < WORKERS) {
        CHECK(mln_event_timer_set(ev, 20, NULL, finish) != NULL);
        return;
    }
    CHECK_INT(value(), 3);
    CHECK_INT(started, WORKERS); /* none was ever ended */
    mln_event_break_set(ev);
}

static void after_broken(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    CHECK_INT(value(), 2);
    CHECK_INT(informed(2), WORKERS);
    scratch_expect_part(log_path, "melon.conf:4:");
    configure_value("3");
    CHECK_INT(kill(master, SIGUSR2), 0);
    finish(ev, NULL);
}

static void after_good(mln_event_t *ev, void *data)
{
    (void)data;
    if (informed(2) < WORKERS) {
        CHECK(mln_event_timer_set(ev, 20, NULL, after_good) != NULL);
        return;
    }
    CHECK_INT(value(), 2);
    configure_value("\n= broken");
    CHECK_INT(mln_fork_iterate(ev, signal_worker, NULL), 0);
    CHECK_INT(kill(master, SIGUSR2), 0);
    CHECK(mln_event_timer_set(ev, 1000, NULL, after_broken) != NULL);
}

static void after_storm(mln_event_t *ev, void *data)
{
    (void)data;
    if (started < WORKERS || informed(1) < WORKERS) {
        CHECK(mln_event_timer_set(ev, 100, NULL, after_storm) != NULL);
        return;
    }
    CHECK_INT(started, WORKERS);
    CHECK(storm_reloads > 1);
    CHECK_INT(kill(stormer, SIGKILL), 0);
    CHECK_INT(await_status(stormer), 128 + SIGKILL);
    configure_value("2");
    CHECK_INT(kill(master, SIGUSR2), 0);
    after_good(ev, NULL);
}

static void on_started(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
    ++started;
}

static void on_value(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    pid_t pid = ((mln_fork_t *)f_ptr)->pid;
    int i = 0;

    (void)ev;
    (void)udata;
    CHECK_INT(len, sizeof reports[i].value);
    while (i < WORKERS && reports[i].pid != 0 && reports[i].pid != pid)
        ++i;
    CHECK(i < WORKERS);
    reports[i].pid = pid;
    memcpy(&reports[i].value, buf, len);
    CHECK(reports[i].value >= 1 && reports[i].value <= 3);
}

/* Sends SIGUSR2 to all children of the master, from the moment on when they exist, and to the master when it has some. */
__attribute__((noreturn)) static void storm(void)
{
    char path[64];
    long pid;

    CHECK_INT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)master, (long)master);
    for (;;) {
        FILE *children = fopen(path, "r");
        int n = 0;

        if (children == NULL)
            _exit(0);
        while (fscanf(children, "%ld", &pid) == 1)
            if (pid != getpid() && ++n > 0)
                kill((pid_t)pid, SIGUSR2);
        fclose(children);
        if (n > 0)
            kill(master, SIGUSR2);
    }
}

static int prepare(void)
{
    CHECK(mln_ipc_handler_register(STARTED, on_started, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(VALUE, on_value, NULL, NULL, NULL) != NULL);
    CHECK(mln_conf_hook_set(reloaded, reports) != NULL);
    return 0;
}

static void in_master(mln_event_t *ev)
{
    loop = ev;
    busy(ev, NULL);
    CHECK(mln_event_timer_set(ev, STORM_MS, NULL, after_storm) != NULL);
}

static void in_worker(mln_event_t *ev)
{
    loop = ev;
    busy(ev, NULL);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, STARTED, NULL, 0), 0);
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, in_master, in_worker};

    scratch_make();
    master = getpid();
    log_path = strdup(scratch_path("log"));
    scratch_catch_stderr(scratch_path("stderr"));
    configure_value("1");
    mln_path_hook_set(m_p_conf, scratch_conf_file);
    if ((stormer = fork()) == 0)
        storm();
    CHECK(stormer > 0);
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(getpid(), master);
    free(log_path);
    return 0;
}
