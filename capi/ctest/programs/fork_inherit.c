/*
 * What a worker has from its master: memory, descriptors, handlers and the configuration as they are at its fork, at its
 * first start and at later ones, and pointers from before stay valid. What it changes is its own copy.
 */
#include "check.h"
#include "framework.h"
#include "mln_fork.h"
#include "processes.h"

#include <sys/stat.h>

enum { WORKERS = 2, REPORT = 3000, QUESTION, REPLACED, LATE };

struct report {
    pid_t pid;
    int generation;   /* a variable of the master */
    int heap;         /* memory that the master changes */
    int setting;      /* in the configuration in memory */
    int replaced;     /* which handler of REPLACED is in force */
    int late;         /* whether there is a handler of LATE */
    char byte;        /* read from the inherited file */
};

static pid_t master;
static int generation = 1, *heap;
static FILE *file;
static ino_t file_inode;
static mln_conf_cmd_t *setting, *changed;
static mln_conf_item_t *shared_setting;
static mln_tcp_conn_t *connection;
static mln_log_t *log_state;
static struct report mine;
static int reports, killed;

static void set_number(mln_conf_cmd_t *cc, int value)
{
    mln_conf_item_t item;

    memset(&item, 0, sizeof item);
    item.type = CONF_INT;
    item.val.i = value;
    CHECK_INT(cc->update(cc, &item, 1), 0);
}

/* ---- in a worker ---- */

static void first_handler(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f_ptr;
    (void)buf;
    (void)len;
    CHECK_INT((long)*udata, 17);
    mine.replaced = 1;
}

static void second_handler(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f_ptr;
    (void)buf;
    (void)len;
    CHECK_INT((long)*udata, 18);
    mine.replaced = 2;
}

static void late_handler(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
    mine.late = 1;
}

static void asked(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct stat status;

    (void)f_ptr;
    (void)buf;
    (void)udata;
    CHECK_INT(len, 0);
    mine.pid = getpid();
    mine.generation = generation;
    mine.heap = heap[1000];
    mine.setting = (int)setting->search(setting, 1)->val.i;
    CHECK_INT(fstat(fileno(file), &status), 0);
    CHECK_INT(status.st_ino, file_inode);
    CHECK_INT(pread(fileno(file), &mine.byte, 1, 0), 1);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, REPORT, &mine, sizeof mine), 0);
}

static void in_worker(mln_event_t *ev)
{
    mln_conf_domain_t *cd = mln_conf()->search(mln_conf(), "main");

    (void)ev;
    CHECK(getpid() != master);
    CHECK_PTR(cd->search(cd, "a_number"), setting);
    CHECK_PTR(setting->search(setting, 1), shared_setting);
    /* As the master has it, whatever other workers did to theirs; this one changes its own. */
    CHECK_INT(changed->search(changed, 1)->val.i, 1);
    CHECK(cd->search(cd, "doomed") != NULL);
    CHECK_PTR(cd->search(cd, "of_a_worker"), NULL);
    set_number(changed, 100);
    cd->remove(cd, "doomed");
    CHECK(cd->insert(cd, "of_a_worker") != NULL);
    CHECK_INT(changed->search(changed, 1)->val.i, 100);
    CHECK_PTR(cd->search(cd, "doomed"), NULL);
    CHECK_PTR(mln_log_state(), log_state);
    CHECK_STR(mln_log_logfile_path(), "./logs/test.log");
    /* The address is known since before the fork; what is behind it is this worker's. */
    CHECK_PTR(mln_fork_master_connection_get(), connection);
    CHECK(connection->sockfd >= 0);
}

/* ---- in the master ---- */

static int ask(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    CHECK_INT(mln_ipc_master_send_prepare(ev, REPLACED, NULL, 0, f), 0);
    CHECK_INT(mln_ipc_master_send_prepare(ev, LATE, NULL, 0, f), 0);
    return mln_ipc_master_send_prepare(ev, QUESTION, NULL, 0, f);
}

static void ask_all(mln_event_t *ev)
{
    CHECK_INT(mln_fork_iterate(ev, ask, NULL), 0);
}

static int count_others(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    *(int *)data += f->pid != killed;
    return 0;
}

static void await_successor(mln_event_t *ev, void *data)
{
    int n = 0;

    CHECK_INT(mln_fork_iterate(ev, count_others, &n), 0);
    if (n == WORKERS)
        ask_all(ev);
    else
        CHECK(mln_event_timer_set(ev, 1, data, await_successor) != NULL);
}

static void reported(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct report r;
    int later;

    (void)udata;
    CHECK_INT(len, sizeof r);
    memcpy(&r, buf, sizeof r);
    CHECK_INT(r.pid, ((mln_fork_t *)f_ptr)->pid);
    /* Those of the first round, and the one that was left alone, are as they were at the beginning. */
    later = killed != 0 && r.generation == 2;
    CHECK_INT(r.generation, later ? 2 : 1);
    CHECK_INT(r.heap, later ? 222 : 111);
    CHECK_INT(r.setting, later ? 7 : 5);
    CHECK_INT(r.replaced, later ? 2 : 1);
    CHECK_INT(r.late, later);
    CHECK_INT(r.byte, later ? 'B' : reports < WORKERS ? 'A' : 'B'); /* a file is shared, not copied */
    if (++reports == 2 * WORKERS) {
        mln_event_break_set(ev);
        return;
    }
    if (reports != WORKERS)
        return;
    generation = 2;
    heap[1000] = 222;
    set_number(setting, 7);
    shared_setting = setting->search(setting, 1);
    CHECK_INT(mln_fork_worker_ipc_handler_set(REPLACED, second_handler, (void *)18L), 0);
    CHECK_INT(mln_fork_worker_ipc_handler_set(LATE, late_handler, NULL), 0);
    CHECK_INT(pwrite(fileno(file), "B", 1, 0), 1);
    killed = r.pid;
    CHECK_INT(kill(killed, SIGKILL), 0);
    await_successor(ev, NULL);
}

static int prepare(void)
{
    mln_conf_domain_t *cd = mln_conf()->search(mln_conf(), "main");

    configure_workers(WORKERS);
    setting = cd->insert(cd, "a_number");
    CHECK(setting != NULL);
    set_number(setting, 5);
    shared_setting = setting->search(setting, 1);
    CHECK((changed = cd->insert(cd, "changed")) != NULL && cd->insert(cd, "doomed") != NULL);
    set_number(changed, 1);
    connection = mln_fork_master_connection_get();
    CHECK(connection != NULL);
    CHECK_INT(connection->sockfd, -1);
    log_state = mln_log_state();
    CHECK(mln_ipc_handler_register(REPORT, reported, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(QUESTION, NULL, asked, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(REPLACED, NULL, first_handler, NULL, (void *)17L) != NULL);
    return 0;
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, ask_all, in_worker};
    mln_conf_domain_t *cd;
    struct stat status;

    master = getpid();
    heap = calloc(2000, sizeof *heap);
    CHECK(heap != NULL);
    heap[1000] = 111;
    CHECK((file = tmpfile()) != NULL);
    CHECK_INT(pwrite(fileno(file), "A", 1, 0), 1);
    CHECK_INT(fstat(fileno(file), &status), 0);
    file_inode = status.st_ino;
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(reports, 2 * WORKERS);
    cd = mln_conf()->search(mln_conf(), "main");
    CHECK_INT(changed->search(changed, 1)->val.i, 1);
    CHECK(cd->search(cd, "doomed") != NULL);
    CHECK_PTR(cd->search(cd, "of_a_worker"), NULL);
    free(heap);
    fclose(file);
    remove_log();
    return 0;
}
