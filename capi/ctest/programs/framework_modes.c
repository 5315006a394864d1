/*
 * With and without the framework, in both eras: what runs where and in which order, and what init returns.
 * deadline: 60s
 */
#include "scratch.h"
#include "mln_core.h"
#include "mln_fork.h"
#include "mln_framework.h"
#include "processes.h"

enum { WORKERS = 2, HELLO = 3000 };

static pid_t first;
static int inits, masters, hellos, failing;

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)udata;
    CHECK_INT(getpid(), first);
    CHECK_INT(len, sizeof(int));
    CHECK_INT(*(int *)buf, 0);
    if (++hellos == WORKERS)
        mln_event_break_set(ev);
}

static int prepare(void)
{
    CHECK_INT(getpid(), first);
    CHECK(mln_conf() != NULL); /* loaded, and open to changes */
    CHECK_INT(masters, 0);
    ++inits;
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    return failing ? -1 : inits; /* whatever is not below 0 is fine */
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
    int n = 0;

    CHECK_INT(getpid(), first);
    CHECK_INT(inits, 1);
    CHECK_INT(hellos, 0); /* the loop does not run yet */
    CHECK_INT(mln_fork_iterate(ev, count, &n), 0);
    CHECK_INT(n, WORKERS);
    ++masters;
}

static void in_worker(mln_event_t *ev)
{
    CHECK(getpid() != first);
    CHECK_INT(getppid(), first);
    CHECK_INT(inits, 1);
    CHECK_INT(masters, 0);
    CHECK(mln_fork_master_connection_get()->sockfd >= 0);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, &masters, sizeof masters), 0);
}

static void never(mln_event_t *ev)
{
    (void)ev;
    CHECK(!"a callback of the framework ran without the framework");
}

static int init_today(int (*global_init)(void), void (*master)(mln_event_t *), void (*worker)(mln_event_t *))
{
    char *argv[] = {(char *)"modes", NULL};
    struct mln_framework_attr attr = {1, argv, global_init, never, master, worker};

    return mln_framework_init(&attr);
}

static int init_seed(int (*global_init)(void), void (*worker)(mln_event_t *))
{
    char *argv[] = {(char *)"modes", NULL};
    struct mln_core_attr attr = {1, argv, global_init, worker};

    return mln_core_init(&attr);
}

static void use(const char *text)
{
    char all[2000];

    snprintf(all, sizeof all, "log_path \"%s/log\"; %s", scratch_dir, text);
    CHECK_INT(scratch_conf(all), 0);
}

/* ---- the parts ---- */

static void off_today(void)
{
    use("framework off; worker_proc 3; daemon off;");
    for (int i = 1; i <= 3; ++i) {
        CHECK_INT(init_today(prepare, never, never), 0);
        CHECK_INT(inits, i);
    }
    CHECK_INT(child_count(), 0);
}

static void off_seed(void)
{
    use("framework off; worker_proc 3; daemon off;");
    CHECK_INT(init_seed(prepare, never), 0);
    CHECK_INT(inits, 1);
    CHECK_INT(init_seed(NULL, NULL), 0);
    CHECK_INT(child_count(), 0);
}

static void absent(void)
{
    use("worker_proc 3; daemon off;");
    CHECK_INT(init_today(prepare, never, never), 0);
    CHECK_INT(init_seed(prepare, never), 0);
    CHECK_INT(child_count(), 0);
}

static void no_mode(void)
{
    use("framework 5;"); /* today any other type means none */
    CHECK_INT(init_today(prepare, never, never), 0);
    CHECK_INT(child_count(), 0);
}

static void on_seed(void)
{
    use("framework on; worker_proc 2;");
    CHECK_INT(init_seed(prepare, in_worker), 0);
    CHECK_INT(hellos, WORKERS);
    CHECK_INT(child_count(), 0);
}

static void on_today(void)
{
    use("framework \"multiprocess\"; worker_proc 2;");
    CHECK_INT(init_today(prepare, in_master, in_worker), 0);
    CHECK_INT(masters, 1);
    CHECK_INT(hellos, WORKERS);
    CHECK_INT(child_count(), 0);
}

static void on_edited(void)
{
    use("framework off;");
    CHECK_INT(mln_conf_load(), 0);
    use("framework \"multiprocess\"; worker_proc 2; daemon off;");
    CHECK_INT(init_today(prepare, in_master, in_worker), 0);
    CHECK_INT(hellos, WORKERS);
}

static void init_fails(void)
{
    failing = 1;
    use("framework \"multiprocess\"; worker_proc 2;");
    CHECK_INT(init_today(prepare, never, never), -1);
    use("framework on; worker_proc 2;");
    CHECK_INT(init_seed(prepare, never), -1);
    use("framework off; daemon off;");
    CHECK_INT(init_today(prepare, never, never), -1);
    CHECK_INT(init_seed(prepare, never), -1);
    CHECK_INT(inits, 4);
    CHECK_INT(child_count(), 0);
}

/* In the exact words of a script: the status is 1, and something was said. */
static void refuse_today(const char *text)
{
    use(text);
    init_today(prepare, never, never);
    CHECK(!"the program started");
}

static void bad_mode(void) { refuse_today("framework \"multithread\"; worker_proc 2;"); }
static void bad_word(void) { refuse_today("framework \"nonsense\"; worker_proc 2;"); }
static void bad_switch(void) { refuse_today("framework on; worker_proc 2;"); }
static void bad_number(void) { refuse_today("framework \"multiprocess\"; worker_proc -2;"); }
static void bad_type(void) { refuse_today("framework \"multiprocess\"; worker_proc \"2\";"); }
static void bad_count(void) { refuse_today("framework \"multiprocess\"; worker_proc 2 3;"); }

static const struct {
    const char *name;
    void (*run)(void);
    const char *key; /* of a refusal: ends with status 1 and a message with this key */
} parts[] = {
    {"off today", off_today, NULL},      {"off seed", off_seed, NULL},         {"absent", absent, NULL},
    {"no mode", no_mode, NULL},          {"on seed", on_seed, NULL},           {"on today", on_today, NULL},
    {"on edited", on_edited, NULL},      {"init fails", init_fails, NULL},     {"bad mode", bad_mode, "framework"},
    {"bad word", bad_word, "framework"}, {"bad switch", bad_switch, "framework"},
    {"bad number", bad_number, "worker_proc"}, {"bad type", bad_type, "worker_proc"},
    {"bad count", bad_count, "worker_proc"},
};

int main(int argc, char **argv)
{
    first = getpid();
    if (argc == 1)
        scratch_make();
    else
        snprintf(scratch_dir, sizeof scratch_dir, "%s", argv[2]);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
        const char *const words[] = {parts[i].name, scratch_dir, NULL};
        int status;

        if (argc == 3) {
            if (strcmp(argv[1], parts[i].name) != 0)
                continue;
            scratch_catch_stderr(scratch_path("complaint"));
            parts[i].run();
            return 0;
        }
        status = await_status(start_self(words));
        if (status != (parts[i].key != NULL))
            fprintf(stderr, "the part \"%s\" ended with status %d\n", parts[i].name, status);
        CHECK_INT(status, parts[i].key != NULL);
        if (parts[i].key != NULL) {
            scratch_expect_part(scratch_path("complaint"), "configuration: ");
            scratch_expect_part(scratch_path("complaint"), parts[i].key);
        }
    }
    return argc != 1; /* a part that does not exist */
}
