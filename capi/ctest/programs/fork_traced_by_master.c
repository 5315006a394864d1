/*
 * A worker makes its master the tracer of one of its threads, which any process can do to its parent. What a tracer has not waited for stays,
 * and keeps the process from being seen to have ended. It is replaced all the same, and a stop ends it.
 * deadline: 60s
 */
#include "ipc.h"
#include "processes.h"

#include "framework.h"
#include "scratch.h"

#include <sys/ptrace.h>

enum { READY = 2000 };

static int by_main_thread;
static int traced[2]; /* by which a thread of a worker tells whether it is traced */
static pid_t first, second;

static int prepare(void)
{
    configure_workers(1);
    return 0;
}

static char have_myself_traced(void)
{
    return ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 ? 'y' : 'n';
}

/* A signal would stop what is traced. */
static void block_all_signals(void)
{
    sigset_t all;

    CHECK_INT(sigfillset(&all), 0);
    CHECK_INT(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
}

static void *live(void *data)
{
    char answer;

    (void)data;
    block_all_signals();
    answer = have_myself_traced();
    CHECK_INT(write(traced[1], &answer, 1), 1);
    while (pause() < 0)
        ;
    return NULL;
}

static void begin(mln_event_t *ev)
{
    pthread_t thread;
    char answer;

    if (by_main_thread) {
        block_all_signals();
        answer = have_myself_traced();
    } else {
        CHECK_INT(pipe2(traced, O_CLOEXEC), 0);
        CHECK_INT(pthread_create(&thread, NULL, live, NULL), 0);
        CHECK_INT(read(traced[0], &answer, 1), 1);
    }
    CHECK_INT(mln_ipc_worker_send_prepare(ev, READY, &answer, 1), 0);
}

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)len;
    (void)udata;
    if (*(char *)buf != 'y') {
        puts("note: a process may not have itself traced here; that is not tried");
        raise(SIGTERM);
    } else if (first == 0) {
        first = ((mln_fork_t *)f)->pid;
        CHECK_INT(kill(first, SIGKILL), 0);
    } else {
        second = ((mln_fork_t *)f)->pid;
        CHECK(second != first);
        raise(SIGTERM);
    }
}

static void expect_end(pid_t worker, const char *how)
{
    char line[128];

    snprintf(line, sizeof line, "worker %ld (plain) %s", (long)worker, how);
    scratch_expect_part("logs/test.log", line);
}

static void run(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, NULL, begin};
    pid_t self = getpid();

    handle(READY, on_ready, NULL);
    CHECK_INT(mln_framework_init(&attr), 0);
    if (getpid() != self)
        exit(0);
    if (second == 0)
        return;
    expect_end(first, "was killed by signal 9 (killed); another is started");
    expect_end(second, "exited with status 0");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        by_main_thread = strcmp(argv[1], "main thread") == 0;
        run(1, argv);
        return 0;
    }
    run_self("main thread");
    remove_log();
    run_self("another thread");
    remove_log();
    return 0;
}
