/*
 * Without any configuration file the framework runs with its defaults and says so once, in both eras; MLN_CONF and the path
 * hook name a file, the hook before the variable.
 */
#include "scratch.h"
#include "framework.h"
#include "mln_fork.h"
#include "mln_core.h"
#include "processes.h"

enum { HELLO = 3000 };

static pid_t master;
static int workers;

static void stop(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

static int count(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)f;
    ++*(int *)data;
    return 0;
}

static void in_master(mln_event_t *ev)
{
    CHECK_INT(mln_fork_iterate(ev, count, &workers), 0);
    CHECK(mln_event_timer_set(ev, 50, NULL, stop) != NULL);
}

static char *folder;

static char *log_file(void)
{
    static char path[600];

    snprintf(path, sizeof path, "%s/log", folder);
    return path;
}

static int switch_on(void)
{
    mln_string_t multiprocess = mln_string("multiprocess"), path = mln_string(log_file());
    mln_conf_item_t item;

    memset(&item, 0, sizeof item);
    item.type = CONF_STR;
    item.val.s = &multiprocess;
    configure("framework", &item);
    path.len = strlen(log_file());
    item.val.s = &path;
    configure("log_path", &item);
    return 0;
}

static int init(int (*global_init)(void))
{
    char *argv[] = {(char *)"defaults", NULL};
    struct mln_framework_attr attr = {1, argv, global_init, NULL, in_master, NULL};
    int result = mln_framework_init(&attr);

    CHECK_INT(getpid(), master);
    return result;
}

/* ---- the seed era, in which nothing of the program runs in the master but handlers ---- */

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_INT(mln_fork_scan_all(ev, count, &workers), 0);
    mln_event_set_break(ev);
}

static mln_ipc_handler_t greeting = {greeted, NULL, HELLO};

static void greet(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
}

static int switch_on_seed(void)
{
    mln_conf_item_t item;

    CHECK(mln_get_conf() != NULL);
    CHECK_INT(switch_on(), 0);
    memset(&item, 0, sizeof item);
    item.type = CONF_BOOL;
    item.val.b = 1;
    configure("framework", &item);
    item.type = CONF_INT;
    item.val.i = 1;
    configure("worker_proc", &item);
    mln_set_master_ipc_handler(&greeting);
    return 0;
}

static int init_seed(mln_core_init_t global_init)
{
    char *argv[] = {(char *)"defaults", NULL};
    struct mln_core_attr attr = {1, argv, global_init, greet};
    int result = mln_core_init(&attr);

    CHECK_INT(getpid(), master);
    return result;
}

static char *nowhere(void)
{
    return (char *)"/nowhere/at/all.conf";
}

static char *two_workers(void)
{
    static char path[600];

    snprintf(path, sizeof path, "%s/two.conf", folder);
    return path;
}

static void run(const char *part)
{
    if (strcmp(part, "nothing") == 0) { /* no framework either */
        CHECK_INT(init(NULL), 0);
        CHECK_INT(init(NULL), 0);
        CHECK_INT(workers, 0);
    } else if (strcmp(part, "nothing, switched on") == 0) {
        CHECK_INT(init(switch_on), 0);
        CHECK_INT(init(switch_on), 0);
        CHECK_INT(workers, 0);
    } else if (strcmp(part, "missing file") == 0) {
        mln_path_hook_set(m_p_conf, nowhere);
        CHECK_INT(init(switch_on), 0);
        CHECK_INT(init(switch_on), 0);
    } else if (strcmp(part, "nothing, seed") == 0) {
        CHECK_INT(init_seed(NULL), 0);
        CHECK(mln_get_conf() != NULL);
        CHECK_INT(workers, 0);
    } else if (strcmp(part, "nothing, switched on, seed") == 0) {
        CHECK_INT(init_seed(switch_on_seed), 0);
        CHECK_INT(workers, 1);
    } else if (strcmp(part, "missing file, seed") == 0) {
        CHECK_INT(setenv("MLN_CONF", nowhere(), 1), 0);
        CHECK_INT(init_seed(switch_on_seed), 0);
        CHECK_INT(workers, 1);
    } else if (strcmp(part, "variable") == 0) {
        CHECK_INT(setenv("MLN_CONF", scratch_conf_path, 1), 0);
        CHECK_INT(init(NULL), 0);
        CHECK_INT(workers, 1);
    } else {
        CHECK_STR(part, "hook");
        CHECK_INT(setenv("MLN_CONF", scratch_conf_path, 1), 0);
        mln_path_hook_set(m_p_conf, two_workers);
        CHECK_INT(init(NULL), 0);
        CHECK_INT(workers, 2);
    }
}

static void write_configuration(const char *path, int n)
{
    char text[1500];

    snprintf(text, sizeof text, "framework \"multiprocess\"; worker_proc %d; log_path \"%s/log\";", n, scratch_dir);
    scratch_write(path, text);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *message; /* said exactly once; NULL: nothing is said about files */
    } parts[] = {
        {"nothing", NULL},
        {"nothing, switched on", "built-in defaults"},
        {"missing file", "/nowhere/at/all.conf: the configuration file, named by the program's path hook, does not exist"},
        {"nothing, seed", NULL},
        {"nothing, switched on, seed", "built-in defaults"},
        {"missing file, seed", "/nowhere/at/all.conf: the configuration file, named by the environment variable MLN_CONF, does not exist"},
        {"variable", NULL},
        {"hook", NULL},
    };

    master = getpid();
    if (argc == 4) {
        folder = argv[2];
        snprintf(scratch_conf_path, sizeof scratch_conf_path, "%s/one.conf", folder);
        scratch_catch_stderr(argv[3]);
        run(argv[1]);
        return 0;
    }
    scratch_make();
    write_configuration(scratch_path("one.conf"), 1);
    write_configuration(scratch_path("two.conf"), 2);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
        const char *const words[] = {parts[i].name, scratch_dir, scratch_path("stderr"), NULL};
        int status = await_status(start_self(words));

        if (status != 0)
            fprintf(stderr, "the part \"%s\" ended with status %d\n", parts[i].name, status);
        CHECK_INT(status, 0);
        CHECK_INT(scratch_count(scratch_path("stderr"), "defaults"), parts[i].message != NULL);
        if (parts[i].message != NULL)
            CHECK_INT(scratch_count(scratch_path("stderr"), parts[i].message), 1);
    }
    return 0;
}
