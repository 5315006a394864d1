/*
 * exec_master.c - a master whose workers are programs of their own, executed and not only forked.
 *
 *   * One worker is in the configuration: `keepalive` in the domain proc_exec. When it ends, for whatever reason, it is
 *     started again. (With `default` in its place it would not be.)
 *   * Another is started by the program while it runs, with mln_fork_spawn(), and is not started again.
 *   * Both run exec_worker, which speaks the frame format on the descriptor in its last argument and does not know the
 *     library at all.
 *
 * Run it with `build/examples/exec_master`; exec_worker has to be in the same folder. It ends by itself, with status 0.
 * `exec_master PROGRAM` runs another program in its place, such as go_examples/go_worker, which says the same in Go.
 */
#define _GNU_SOURCE /* realpath */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mln_fork.h"
#include "mln_framework.h"

#include "exec_messages.h"
#include "settings.h"

enum { PATIENCE_MS = 10000 }; /* how long the whole thing may take */

static char worker_path[4096]; /* PATH_MAX */
static char spawned_name[] = "spawned";
static int answers, finished;

static int shout(mln_event_t *ev, mln_fork_t *f, const char *text)
{
    return mln_ipc_master_send_prepare(ev, SHOUT, (void *)text, strlen(text), f);
}

static int tell_to_finish(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    return mln_ipc_master_send_prepare(ev, FINISH, NULL, 0, f);
}

static void on_hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)udata;
    printf("worker %d says hello: %s \"%.*s\" (%s)\n", (int)f->pid, f->args[0], (int)len, len > 0 ? (char *)buf : "",
           f->stype == M_PST_SUP ? "keepalive" : "default");
    if (answers < 2) {
        if (shout(ev, f, len > 0 && *(char *)buf == 's' ? "one of us" : "is kept alive") != 0)
            perror("exec_master: cannot send");
        return;
    }
    printf("that is the successor of the one that is kept alive; the other one has none\n");
    finished = 1;
    mln_event_break_set(ev);
}

static void on_shouted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)udata;
    printf("worker %d shouts: %.*s\n", (int)f->pid, (int)len, len > 0 ? (char *)buf : "");
    if (++answers < 2)
        return;
    printf("both are told to finish\n");
    mln_fork_iterate(ev, tell_to_finish, NULL);
}

static void give_up(mln_event_t *ev, void *data)
{
    (void)data;
    fprintf(stderr, "exec_master: the workers did not do their part in %d s; is %s in its place?\n", PATIENCE_MS / 1000,
            worker_path);
    mln_event_break_set(ev);
}

static int global_init(void)
{
    /* Only the master has handlers: the workers do not run this program. */
    if (mln_ipc_handler_register(HELLO, on_hello, NULL, NULL, NULL) == NULL ||
        mln_ipc_handler_register(SHOUTED, on_shouted, NULL, NULL, NULL) == NULL) {
        perror("exec_master: cannot register the messages");
        return -1;
    }
    return 0;
}

/* The worker of the configuration has been started at this point. */
static void master_process(mln_event_t *ev)
{
    mln_s8ptr_t *args = calloc(2, sizeof *args); /* on the heap: the library frees the array, but not the strings */

    if (args == NULL || mln_event_timer_set(ev, PATIENCE_MS, NULL, give_up) == NULL) {
        perror("exec_master");
        exit(1);
    }
    args[0] = worker_path;
    args[1] = spawned_name;
    if (mln_fork_spawn(M_PST_DFL, args, 2, ev) != 0) {
        perror("exec_master: cannot start a worker");
        exit(1);
    }
}

/* Takes the program that was named, or finds exec_worker beside this one. */
static int find_worker(const char *named)
{
    ssize_t n;
    char *slash;

    if (named != NULL) {
        if (realpath(named, worker_path) != NULL)
            return 0;
        fprintf(stderr, "exec_master: %s: %s\n", named, strerror(errno));
        return -1;
    }
    n = readlink("/proc/self/exe", worker_path, sizeof worker_path - sizeof "exec_worker");
    if (n < 0) {
        perror("exec_master: /proc/self/exe");
        return -1;
    }
    worker_path[n] = '\0';
    slash = strrchr(worker_path, '/');
    strcpy(slash + 1, "exec_worker");
    if (access(worker_path, X_OK) != 0) {
        fprintf(stderr, "exec_master: %s: %s; `make examples` builds it\n", worker_path, strerror(errno));
        return -1;
    }
    return 0;
}

int main(int argc, char *argv[])
{
    struct mln_framework_attr attr = {
        .argc = 1, .argv = argv, .global_init = global_init, .master_process = master_process};
    char configuration[sizeof worker_path + 128];

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (find_worker(argc > 1 ? argv[1] : NULL) != 0)
        return 1;
    snprintf(configuration, sizeof configuration,
             "framework \"multiprocess\";\n"
             "log_level \"report\";\n"
             "proc_exec {\n"
             "    keepalive \"%s\" \"configured\";\n"
             "}\n",
             worker_path);
    if (settings_use(configuration) != 0)
        return 1;
    return mln_framework_init(&attr) == 0 && finished ? 0 : 1;
}
