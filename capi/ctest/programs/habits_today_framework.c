/*
 * habits_today_framework.c - a program of today as they are written: global_init edits the configuration and registers messages,
 * master_process sends to all workers before the loop runs, the answers come later, and the last one ends the program with
 * exit(0) from the handler.
 */
#include "check.h"

#include "mln_conf.h"
#include "mln_framework.h"
#include "mln_fork.h"
#include "mln_ipc.h"
#include "mln_log.h"

enum { WORKERS = 3, MANY = 150, TEXT = 255 };

static mln_string_t multiprocess = mln_string("multiprocess");
static mln_string_t log_file = mln_string("./habits.log");
static mln_conf_item_t framework_item = {CONF_STR, .val.s = &multiprocess};
static mln_conf_item_t log_item = {CONF_STR, .val.s = &log_file};
static mln_conf_item_t workers_item = {CONF_INT, .val.i = WORKERS};

static void clean_up(void)
{
    unlink("habits.log");
    unlink("melon.pid");
}

static void text_master(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr)
{
    static int answers;
    mln_fork_t *f = (mln_fork_t *)f_ptr;

    (void)ev;
    (void)len;
    CHECK_STR((char *)*udata_ptr, "the master's");
    CHECK_STR((char *)buf, "an answer");
    printf("worker %d gives %s\n", (int)f->pid, (char *)buf);
    if (++answers < WORKERS * MANY)
        return;
    clean_up();
    exit(0); /* the workers end by themselves */
}

static void text_worker(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr)
{
    static char answer[] = "an answer";

    (void)f_ptr;
    (void)len;
    CHECK_STR((char *)*udata_ptr, "a worker's");
    CHECK_STR((char *)buf, "a text");
    CHECK_INT(mln_ipc_worker_send_prepare(ev, TEXT, answer, sizeof answer), 0);
}

static void wrong(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr)
{
    (void)ev;
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata_ptr;
    CHECK(!"a handler that was replaced or unregistered is called");
}

static void register_messages(void)
{
    mln_ipc_cb_t *registered[500];
    int i;

    for (i = 0; i < 500; i++)
        CHECK((registered[i] = mln_ipc_handler_register((mln_u32_t)(2000 + i), wrong, wrong, NULL, NULL)) != NULL);
    for (i = 0; i < 500; i++)
        mln_ipc_handler_unregister(registered[i]);
    CHECK(mln_ipc_handler_register(TEXT, wrong, wrong, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(TEXT, text_master, text_worker, (void *)"the master's", (void *)"a worker's") != NULL);
}

static void set_item(mln_conf_domain_t *cd, const char *name, mln_conf_item_t *item)
{
    mln_conf_cmd_t *cc = cd->search(cd, name);

    if (cc == NULL)
        CHECK((cc = cd->insert(cd, name)) != NULL);
    CHECK_INT(cc->update(cc, item, 1), 0);
}

static int global_init(void)
{
    mln_conf_t *cf = mln_conf();
    mln_conf_domain_t *cd = cf->search(cf, "main");

    set_item(cd, "framework", &framework_item);
    set_item(cd, "log_path", &log_item);
    set_item(cd, "worker_proc", &workers_item);
    register_messages();
    CHECK(mln_fork_master_connection_get() != NULL); /* asked for in the master, too */
    return 0;
}

static int send_texts(mln_event_t *ev, mln_fork_t *f, void *data)
{
    int i;

    for (i = 0; i < MANY; i++)
        CHECK_INT(mln_ipc_master_send_prepare(ev, TEXT, data, strlen((char *)data) + 1, f), 0);
    return 0;
}

static void master_process(mln_event_t *ev)
{
    CHECK_INT(mln_fork_iterate(ev, send_texts, (void *)"a text"), 0);
}

static void worker_process(mln_event_t *ev)
{
    (void)ev;
    mln_log(debug, "worker %d begins\n", getpid());
}

int main(int argc, char *argv[])
{
    struct mln_framework_attr attr;

    attr.argc = argc;
    attr.argv = argv;
    attr.global_init = global_init;
    attr.main_thread = NULL;
    attr.master_process = master_process;
    attr.worker_process = worker_process;
    return mln_framework_init(&attr);
}
