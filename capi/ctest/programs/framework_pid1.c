/*
 * The master is the first process of a pid namespace, as in a container without an init: the group starts, talks, has an ended worker
 * replaced, reloads, and is stopped by SIGTERM, which such a process gets only if it handles it. All workers are waited for. What these
 * leave behind becomes the master's: it is left to the program, as every child is that the program has forked; and the program may wait for
 * all children.
 * deadline: 60s
 */
#include "scratch.h"
#include "mln_fork.h"
#include "mln_framework.h"
#include "processes.h"

#include <sched.h>
#include <sys/mount.h>

enum { WORKERS = 2, LIVES, HELLO = 3000, RELOADED, STOP, HOST_CHILD = 7, CANNOT = 77 };

static mln_event_t *loop;
static pid_t host_child, workers[LIVES];
static int hellos, reloads;
static volatile sig_atomic_t handler_waits;

static void wait_for_all(int signo)
{
    int saved = errno;

    (void)signo;
    while (handler_waits && waitpid(-1, NULL, WNOHANG) > 0)
        ;
    errno = saved;
}

static void tell(mln_u32_t type)
{
    CHECK_INT(mln_ipc_worker_send_prepare(loop, type, NULL, 0), 0);
}

static int reloaded(void *data)
{
    (void)data;
    if (getpid() != 1)
        tell(RELOADED);
    return 0;
}

static void on_hello(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK(hellos < LIVES);
    workers[hellos++] = ((mln_fork_t *)f)->pid;
    if (hellos == WORKERS)
        CHECK_INT(kill(workers[0], SIGKILL), 0);
    if (hellos == LIVES)
        CHECK_INT(raise(SIGUSR2), 0);
}

static void on_reloaded(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    if (++reloads == WORKERS)
        CHECK_INT(mln_ipc_master_send_prepare(ev, STOP, NULL, 0, f), 0);
}

static void on_stop(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_INT(kill(1, SIGTERM), 0);
}

static int prepare(void)
{
    CHECK(mln_ipc_handler_register(HELLO, on_hello, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(RELOADED, on_reloaded, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(STOP, NULL, on_stop, NULL, NULL) != NULL);
    CHECK(mln_conf_hook_set(reloaded, NULL) != NULL);
    return 0;
}

static void in_master(mln_event_t *ev)
{
    loop = ev;
    if ((host_child = fork()) == 0)
        _exit(HOST_CHILD);
    CHECK(host_child > 0);
}

/* It leaves a child behind, which ends after it. */
static void in_worker(mln_event_t *ev)
{
    pid_t self = getpid(), pid;

    loop = ev;
    if ((pid = fork()) == 0) {
        while (getppid() == self)
            usleep(1000);
        _exit(0);
    }
    CHECK(pid > 0);
    tell(HELLO);
}

/* Waits for what is left, as the program's affair. */
static void wait_for_rest(void)
{
    pid_t pid;
    int rest = 0;

    CHECK_INT(await_status(host_child), HOST_CHILD);
    while ((pid = waitpid(-1, NULL, 0)) > 0) {
        ++rest;
        for (int i = 0; i < LIVES; ++i)
            CHECK(pid != workers[i]);
    }
    CHECK_INT(errno, ECHILD);
    CHECK_INT(rest, LIVES);
}

static void be_first(int waits)
{
    static char name[] = "test";
    char *argv[] = {name, NULL};
    struct mln_framework_attr attr = {1, argv, prepare, NULL, in_master, in_worker};
    char text[1000];

    CHECK_INT(getpid(), 1);
    scratch_make();
    scratch_catch_stderr(scratch_path("stderr"));
    snprintf(scratch_conf_path, sizeof scratch_conf_path, "%s", scratch_path("conf"));
    snprintf(text, sizeof text, "framework \"multiprocess\"; worker_proc %d; log_level \"report\"; log_path \"%s/log\";\n", WORKERS,
             scratch_dir);
    scratch_write(scratch_conf_path, text);
    mln_path_hook_set(m_p_conf, scratch_conf_file);
    handler_waits = waits;
    if (waits)
        CHECK(signal(SIGCHLD, wait_for_all) != SIG_ERR);
    CHECK_INT(mln_framework_init(&attr), 0);
    if (getpid() != 1)
        exit(0);
    CHECK_INT(reloads, WORKERS);
    if (waits)
        while (child_count() > 0)
            usleep(1000);
    else
        wait_for_rest();
    for (int i = 0; i < LIVES; ++i)
        CHECK_INT(process_state(workers[i]), 'X');
}

/* Runs this program as the first process of a namespace. Returns its status, or CANNOT. */
static int run_first(const char *mode)
{
    pid_t maker, first;

    CHECK((maker = fork()) >= 0);
    if (maker > 0)
        return await_status(maker);
    /* One thread only, which the kernel asks for. */
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0)
        _exit(CANNOT);
    CHECK((first = fork()) >= 0);
    if (first == 0) {
        if (mount("proc", "/proc", "proc", 0, NULL) != 0)
            _exit(CANNOT);
        execl("/proc/self/exe", "self", mode, (char *)NULL);
        _exit(126);
    }
    _exit(await_status(first));
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"leaves", "waits"};

    if (argc > 1) {
        be_first(strcmp(argv[1], modes[1]) == 0);
        return 0;
    }
    for (int i = 0; i < 2; ++i) {
        int status = run_first(modes[i]);

        if (status == CANNOT) {
            puts("note: this account may not make a pid namespace; that is not tried");
            return 0;
        }
        CHECK_INT(status, 0);
    }
    return 0;
}
