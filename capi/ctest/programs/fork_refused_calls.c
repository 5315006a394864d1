/*
 * The kernel refuses a call for good around the life of a worker: what then cannot be done is not done, the log says why, and nobody
 * waits for it.
 * deadline: 60s
 */
#include "ipc.h"
#include "processes.h"
#include "refuse.h"

#include "framework.h"
#include "scratch.h"

/* ---- a worker cannot be told that there is no more work ---- */

static int prepare_one(void)
{
    configure_workers(1);
    return 0;
}

static void stop(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    raise(SIGTERM);
}

static void stop_soon(mln_event_t *ev)
{
    CHECK(mln_event_timer_set(ev, 50, NULL, stop) != NULL);
}

static void refused_shutdown(void)
{
    static char name[] = "test";
    char *argv[] = {name, NULL};
    struct mln_framework_attr attr = {1, argv, prepare_one, NULL, stop_soon, NULL};
    pid_t self = getpid();

    refuse(SYS_shutdown, ENOBUFS);
    CHECK_INT(mln_framework_init(&attr), 0);
    if (getpid() != self)
        exit(0);
    scratch_expect_part("logs/test.log", "cannot be told that there is no more work for it: No buffer space available");
    CHECK_INT(scratch_count("logs/test.log", "No buffer space available"), 1);
    scratch_expect_part("logs/test.log", "(plain) was killed by signal 15");
    remove_log();
}

static const struct part {
    const char *name;
    void (*run)(void);
} parts[] = {
    {"shutdown", refused_shutdown},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i) {
        if (argc == 1)
            run_self(parts[i].name);
        else if (strcmp(argv[1], parts[i].name) == 0)
            parts[i].run();
    }
    return 0;
}
