/*
 * A worker that has ended and cannot be reaped, for another process traces it, or a thread of it, of which the kernel does not even report
 * the end; and one that nobody may kill: the log says what keeps them, their master does not run in circles, and a stop does not wait for
 * them.
 * deadline: 60s
 */
#include "ipc.h"
#include "processes.h"

#include "framework.h"
#include "scratch.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

enum { READY = 2000, IDLE_MS = 600, CANNOT = 77 };

static int life[2];     /* its end tells the tracer to end */
static int attached[2]; /* by which the tracer tells that it traces */
static int by_thread;   /* what is traced is a thread, and not the main one */
static pid_t worker;
static long long idle_cpu;

static int prepare_traced(void)
{
    configure_workers(1);
    return 0;
}

static int prepare_unkillable(void)
{
    configure_workers(0);
    return 0;
}

/* ---- a worker that is traced ---- */

static void trace(pid_t pid)
{
    char answer, byte;

    signal(SIGTERM, SIG_IGN);
    for (int fd = 3; fd < 256; ++fd) /* the channel of the worker, too */
        if (fd != life[0] && fd != attached[1])
            close(fd);
    answer = ptrace(PTRACE_SEIZE, pid, 0, 0) == 0 ? 'y' : 'n';
    CHECK_INT(write(attached[1], &answer, 1), 1);
    _exit(read(life[0], &byte, 1) == 0 ? 0 : 1);
}

static void *wait_in_thread(void *tid)
{
    CHECK_INT(write(*(int *)tid, &(pid_t){gettid()}, sizeof(pid_t)), sizeof(pid_t));
    while (pause() < 0)
        ;
    return NULL;
}

static pid_t start_thread(void)
{
    pthread_t thread;
    int tid[2];
    pid_t number;

    CHECK_INT(pipe2(tid, O_CLOEXEC), 0);
    CHECK_INT(pthread_create(&thread, NULL, wait_in_thread, &tid[1]), 0);
    CHECK_INT(read(tid[0], &number, sizeof number), sizeof number);
    return number;
}

static void be_traced(mln_event_t *ev)
{
    pid_t self = getpid(), pid;
    sigset_t all;
    char answer;

    close(life[1]);
    /* A signal would stop what is traced until its tracer lets go, and Go's runtime sends some. */
    CHECK_INT(sigfillset(&all), 0);
    CHECK_INT(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    if (by_thread)
        self = start_thread();
    CHECK((pid = fork()) >= 0);
    if (pid == 0)
        trace(self);
    CHECK_INT(read(attached[0], &answer, 1), 1);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, READY, &answer, 1), 0);
}

static void end_idling(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    CHECK(cpu_ms() - idle_cpu < IDLE_MS / 2);
    raise(SIGTERM);
}

static void begin_idling(mln_event_t *ev, void *data)
{
    idle_cpu = cpu_ms();
    CHECK(mln_event_timer_set(ev, IDLE_MS, data, end_idling) != NULL);
}

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)len;
    (void)udata;
    if (*(char *)buf != 'y') {
        puts("note: a process may not trace another one here; that is not tried");
        worker = 0;
        raise(SIGTERM);
        return;
    }
    worker = ((mln_fork_t *)f)->pid;
    CHECK_INT(kill(worker, SIGKILL), 0);
    CHECK(mln_event_timer_set(ev, 200, NULL, begin_idling) != NULL);
}

static void traced(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare_traced, NULL, NULL, be_traced};
    pid_t self = getpid();
    char line[128];

    CHECK_INT(pipe2(life, 0), 0);
    CHECK_INT(pipe2(attached, 0), 0);
    handle(READY, on_ready, NULL);
    CHECK_INT(mln_framework_init(&attr), 0);
    if (getpid() != self)
        exit(0);
    if (worker == 0)
        return;
    snprintf(line, sizeof line, "worker %ld (plain) cannot be reaped: it has ended, and process ", (long)worker);
    scratch_expect_part("logs/test.log", line);
    snprintf(line, sizeof line, "worker %ld (plain) is given up (its status is unknown: it cannot be reaped, as when another process traces it", (long)worker);
    scratch_expect_part("logs/test.log", line);
}

/* ---- one that nobody may kill ---- */

static void stop(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    raise(SIGTERM);
}

static void start_unkillable(mln_event_t *ev)
{
    worker = start_peer(ev, "peer")->pid;
    CHECK(mln_event_timer_set(ev, 100, NULL, stop) != NULL);
}

static void forbid_signals(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_send_signal, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

    CHECK_INT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) {
        puts("note: there is no seccomp here; what may not be killed is not tried");
        exit(CANNOT);
    }
}

static void unkillable(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare_unkillable, NULL, start_unkillable, NULL};
    char line[128];

    forbid_signals();
    CHECK_INT(mln_framework_init(&attr), 0);
    snprintf(line, sizeof line, "worker %ld (/proc/self/exe) cannot be sent signal 9 (killed): operation not permitted", (long)worker);
    scratch_expect_part("logs/test.log", line);
    snprintf(line, sizeof line, "worker %ld (/proc/self/exe) is left to itself, since it may not be killed", (long)worker);
    scratch_expect_part("logs/test.log", line);
}

/* Goes on until its master has ended. */
static int outlive(void)
{
    pid_t master = getppid();

    signal(SIGTERM, SIG_IGN);
    while (getppid() == master)
        sleep_ms(10);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"traced", "traced thread", "unkillable"};

    if (argc > 1 && strcmp(argv[1], "peer") == 0)
        return outlive();
    if (argc > 1) {
        by_thread = strcmp(argv[1], "traced thread") == 0;
        if (strcmp(argv[1], "unkillable") == 0)
            unkillable(1, argv);
        else
            traced(1, argv);
        return 0;
    }
    CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    for (int i = 0; i < 3; ++i) {
        const char *const words[] = {modes[i], NULL};
        int status = await_status(start_self(words));

        CHECK(status == 0 || status == CANNOT);
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
            ; /* what it left */
        remove_log();
    }
    return 0;
}
