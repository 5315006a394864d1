/*
 * habits_seed_framework.c - a program of the seed era as they are written: initialisation is the last call in main, handlers are
 * set in global_init, workers speak first, texts travel with their terminating NUL, the master answers with many messages in a
 * row, and ends the program with exit(0) from a handler.
 */
#include "check.h"

#include "mln_core.h"
#include "mln_fork.h"

enum { WORKERS = 3, MANY = 150, HELLO = 2001, NUMBER, SUM };

static int sums;

/* The program leaves nothing behind. */
static void clean_up(void)
{
    unlink("habits.conf");
    unlink("habits.log");
    unlink("melon.pid");
}

static void hello_master(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr)
{
    mln_fork_t *f = (mln_fork_t *)f_ptr;
    int i;

    printf("worker %d says %s\n", (int)f->pid, (char *)buf);
    CHECK_STR((char *)buf, "hello");
    CHECK_INT(len, sizeof "hello");
    CHECK(f->conn.sockfd >= 0 && f->args == NULL && f->n_args == 0 && f->etype == M_PET_DFL && f->stype == M_PST_SUP);
    CHECK(*udata_ptr == NULL || *udata_ptr == &sums); /* what an earlier call stored */
    *udata_ptr = &sums;
    for (i = 1; i <= MANY; i++)
        CHECK_INT(mln_ipc_master_send_prepare(ev, NUMBER, &i, sizeof i, f), 0);
}

static void number_worker(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr)
{
    long sum = (long)*udata_ptr + *(int *)buf;

    (void)f_ptr;
    CHECK_INT(len, sizeof(int));
    *udata_ptr = (void *)sum;
    if (*(int *)buf == MANY)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, SUM, &sum, sizeof sum), 0);
}

static int count(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)f;
    ++*(int *)data;
    return 0;
}

static void sum_master(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr)
{
    int n = 0;

    (void)f_ptr;
    (void)udata_ptr;
    CHECK_INT(len, sizeof(long));
    CHECK_INT(*(long *)buf, MANY * (MANY + 1) / 2);
    if (++sums < WORKERS)
        return;
    CHECK_INT(mln_fork_scan_all(ev, count, &n), 0);
    CHECK_INT(n, WORKERS);
    clean_up();
    exit(0); /* the workers end by themselves */
}

static mln_ipc_handler_t master_handlers[] = {{hello_master, NULL, HELLO}, {sum_master, NULL, SUM}};
static mln_ipc_handler_t worker_handler = {number_worker, NULL, NUMBER};
static pid_t master;

static int global_init(void)
{
    CHECK(mln_fork_get_master_connection() != NULL); /* asked for in the master, too */
    CHECK_INT(mln_tcp_conn_get_fd(mln_fork_get_master_connection()), -1);
    mln_set_master_ipc_handler(&master_handlers[0]);
    mln_set_master_ipc_handler(&master_handlers[1]);
    mln_set_worker_ipc_handler(&worker_handler);
    master = getpid();
    return 0;
}

static void worker_process(mln_event_t *ev)
{
    static char hello[] = "hello";

    CHECK(getpid() != master); /* inherited, and not the master's routine */
    CHECK(mln_tcp_conn_get_fd(mln_fork_get_master_connection()) >= 0);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, hello, sizeof hello), 0);
}

int main(int argc, char *argv[])
{
    struct mln_core_attr attr;
    FILE *file = fopen("habits.conf", "w");

    CHECK(file != NULL);
    fprintf(file, "log_level \"none\";\nlog_path \"./habits.log\";\ndaemon off;\ncore_file_size \"unlimited\";\n"
                  "worker_proc %d;\nthread_mode off;\nframework on;\nexec_proc {\n}\nthread_exec {\n}\n", WORKERS);
    CHECK_INT(fclose(file), 0);
    CHECK_INT(setenv("MLN_CONF", "habits.conf", 1), 0);

    attr.argc = argc;
    attr.argv = argv;
    attr.global_init = global_init;
    attr.worker_process = worker_process;
    return mln_core_init(&attr);
}
