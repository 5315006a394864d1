/*
 * Signals: the program's dispositions and masks are its own, whatever they are, in the master and in its workers, and no
 * thread of the library takes a signal that was meant for the program.
 * deadline: 120s
 */
#include "scratch.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <setjmp.h>
#include <sys/mman.h>

enum { HELLO = 3000, EARLY_ENDS = 3, FAULTS = 20 };

static int hellos, wanted, foreign_reaped;
static volatile sig_atomic_t caught[NSIG];
static sigjmp_buf before_fault;
static int *early_ends; /* of all processes */
static pid_t killed, master;
static char *log_path;
static void (*child_checks)(void);
static void (*handler_checks)(void); /* in the master, inside of a handler of its loop */

static void catch (int signo)
{
    ++caught[signo];
}

static void reap_all(int signo)
{
    int saved = errno;

    ++caught[signo];
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ++foreign_reaped;
    errno = saved;
}

/*
 * Every thread that this program did not make blocks what is meant for programs. The runtime of Go insists on faults and
 * on 34; SIGCHLD and SIGPROF are the subject of fork_sigwait.c.
 */
static void check_threads(void)
{
    const unsigned long long blockable = ~0ULL & ~(1ULL << (SIGKILL - 1)) & ~(1ULL << (SIGSTOP - 1)) &
                                         ~(7ULL << 31); /* the C libraries' own: 32 to 34 */
    static const int runtimes[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSTKFLT, SIGCHLD, SIGPROF};
    unsigned long long required = blockable;
    DIR *dir = opendir("/proc/self/task");
    int seen = 0;

    CHECK(dir != NULL);
    for (size_t i = 0; i < sizeof runtimes / sizeof runtimes[0]; ++i)
        required &= ~(1ULL << (runtimes[i] - 1));
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[300], line[256];
        FILE *file;

        if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        if ((file = fopen(path, "r")) == NULL)
            continue;
        while (fgets(line, sizeof line, file) != NULL) {
            unsigned long long mask;
            if (sscanf(line, "SigBlk: %llx", &mask) != 1)
                continue;
            ++seen;
            for (int signo = 1; signo <= 64; ++signo)
                if ((required & ~mask) >> (signo - 1) & 1)
                    fprintf(stderr, "thread %s does not block signal %d\n", entry->d_name, signo);
            CHECK_INT(required & ~mask, 0);
        }
        fclose(file);
    }
    closedir(dir);
    CHECK(seen > 0);
}

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)buf;
    (void)udata;
    CHECK_INT(len, 0);
    CHECK(f->pid != killed);
    if (handler_checks != NULL)
        handler_checks();
    if (++hellos == wanted) {
        mln_event_break_set(ev);
        return;
    }
    killed = f->pid;
    CHECK_INT(kill(killed, SIGKILL), 0);
}

/* A worker, killed as soon as it speaks, and its successor. */
static void run_master(void)
{
    mln_event_t *ev = mln_event_new();
    int result;

    CHECK(ev != NULL);
    master = getpid();
    hellos = 0;
    wanted = 3;
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((result = mln_fork_restart(ev)) >= 0);
    if (result != 0)
        mln_event_dispatch(ev);
    if (getpid() == master) {
        CHECK_INT(hellos, wanted);
        check_threads();
        return;
    }
    if (child_checks != NULL)
        child_checks();
    CHECK((ev = mln_event_new()) != NULL);
    mln_fork_worker_events_set(ev);
    CHECK(mln_event_timer_set(ev, 0, NULL, NULL) != NULL); /* which needs the engine: its threads are there from now on */
    check_threads();
    if (child_checks != NULL)
        child_checks();
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
    mln_event_dispatch(ev);
    _exit(2);
}

/* ---- the parts ---- */

static void child_ignored(void)
{
    CHECK_PTR(signal(SIGCHLD, SIG_IGN), SIG_IGN);
}

static void sigchld_ignored(void)
{
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    child_checks = child_ignored;
    run_master();
    CHECK_PTR(signal(SIGCHLD, SIG_IGN), SIG_IGN);
    scratch_expect_part(log_path, "its status is unknown");
}

static void sigchld_default(void)
{
    run_master();
    CHECK_PTR(signal(SIGCHLD, SIG_DFL), SIG_DFL);
    scratch_expect_part(log_path, "killed by signal 9");
}

static void sigchld_handled(void)
{
    CHECK(signal(SIGCHLD, reap_all) != SIG_ERR);
    run_master();
    CHECK(signal(SIGCHLD, SIG_DFL) == reap_all);
    CHECK(caught[SIGCHLD] > 0);
    CHECK(foreign_reaped > 0);
}

static void sigchld_without_zombies(void)
{
    struct sigaction action = {.sa_handler = catch, .sa_flags = SA_NOCLDWAIT};

    CHECK_INT(sigaction(SIGCHLD, &action, NULL), 0);
    run_master();
    CHECK_INT(sigaction(SIGCHLD, NULL, &action), 0);
    CHECK(action.sa_handler == catch && (action.sa_flags & SA_NOCLDWAIT) != 0);
    scratch_expect_part(log_path, "its status is unknown");
}

/* The program's handler may have reaped them before the library has anything to watch them by. */
static void child_ends_early(void)
{
    if (__atomic_fetch_add(early_ends, 1, __ATOMIC_SEQ_CST) < EARLY_ENDS)
        _exit(7);
}

static void early_ends_reaped(void)
{
    early_ends = mmap(NULL, sizeof *early_ends, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(early_ends != MAP_FAILED);
    child_checks = child_ends_early;
    sigchld_handled();
    CHECK(*early_ends > EARLY_ENDS);
    CHECK_INT(scratch_count(log_path, "its status is unknown") + scratch_count(log_path, "exited with status 7") +
                  scratch_count(log_path, "was killed by signal 9 "),
              EARLY_ENDS + 2); /* two are killed when they speak */
}

static void children_of_the_program(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(33);
    sleep_ms(50);
    run_master();
    CHECK_INT(await_status(pid), 33); /* nobody took it away */
}

static void child_handlers(void)
{
    static const int signals[] = {SIGSEGV, SIGUSR1, SIGUSR2, SIGPIPE, SIGTERM, SIGBUS, SIGFPE, SIGPROF, SIGURG};

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; ++i) {
        struct sigaction action;
        int before = caught[signals[i]];

        CHECK_INT(sigaction(signals[i], NULL, &action), 0);
        CHECK(action.sa_handler == catch);
        CHECK_INT(raise(signals[i]), 0);
        CHECK_INT(caught[signals[i]], before + 1);
    }
}

static void own_handlers(void)
{
    static const int signals[] = {SIGSEGV, SIGUSR1, SIGUSR2, SIGPIPE, SIGTERM, SIGBUS, SIGFPE, SIGPROF, SIGURG};

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; ++i)
        CHECK(signal(signals[i], catch) != SIG_ERR);
    child_checks = child_handlers;
    run_master();
    child_handlers();
}

static void jump_out(int signo)
{
    ++caught[signo];
    siglongjmp(before_fault, 1);
}

/* A program that is told of its own faults, on a stack for that, and goes on elsewhere. */
static void recover(void)
{
    volatile int *nowhere = (int *)8;
    int before = caught[SIGSEGV];

    for (volatile int i = 0; i < FAULTS; ++i)
        if (sigsetjmp(before_fault, 1) == 0)
            *nowhere = 1;
    CHECK_INT(caught[SIGSEGV], before + FAULTS);
}

static void own_faults(void)
{
    static char memory[65536];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
    struct sigaction action = {.sa_handler = jump_out, .sa_flags = SA_ONSTACK};

    CHECK_INT(sigaltstack(&stack, NULL), 0);
    CHECK_INT(sigaction(SIGSEGV, &action, NULL), 0);
    child_checks = handler_checks = recover;
    run_master();
    recover();
    CHECK(caught[SIGSEGV] > FAULTS);
}

static void child_blocked(void)
{
    sigset_t mask;

    CHECK_INT(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
    for (int signo = 1; signo < 32; ++signo)
        if (signo != SIGKILL && signo != SIGSTOP)
            CHECK_INT(sigismember(&mask, signo), 1);
}

static void all_blocked(void)
{
    sigset_t all;

    sigfillset(&all);
    CHECK_INT(sigprocmask(SIG_SETMASK, &all, NULL), 0);
    child_checks = child_blocked;
    run_master();
    child_blocked();
}

static void child_unblocked(void)
{
    sigset_t mask;

    CHECK_INT(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
    for (int signo = 1; signo < 32; ++signo)
        CHECK_INT(sigismember(&mask, signo), signo == SIGHUP);
}

static void one_blocked(void)
{
    sigset_t one;

    sigemptyset(&one);
    sigaddset(&one, SIGHUP);
    CHECK_INT(sigprocmask(SIG_SETMASK, &one, NULL), 0);
    child_checks = child_unblocked;
    run_master();
    child_unblocked();
}

static void in_loop(mln_event_t *ev, int signo, void *data)
{
    (void)ev;
    (void)data;
    ++caught[signo];
}

/* What the library installed on behalf of the parent's loop is gone in the child. */
static void child_restored(void)
{
    struct sigaction action;

    CHECK_INT(sigaction(SIGUSR1, NULL, &action), 0);
    CHECK(action.sa_handler == SIG_DFL);
}

static void loop_signals(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK_INT(mln_event_set_signal(ev, M_EV_SET, SIGUSR1, NULL, in_loop), 0);
    child_checks = child_restored;
    run_master();
}

__attribute__((noreturn)) static void child_faults(void)
{
    volatile int *nowhere = (int *)8;

    *nowhere = 1;
    _exit(2);
}

static void stop(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

/* A fault in a worker kills the worker by that signal. It is not passed to a runtime that is no more. */
static void fault(void)
{
    mln_event_t *ev = mln_event_new();
    pid_t self = getpid();

    CHECK(mln_fork_restart(ev) >= 0);
    if (getpid() != self)
        child_faults();
    mln_event_break_reset(ev);
    for (long long end = now_ms() + 5000 * check_slowness(); now_ms() < end;) {
        char *text = scratch_read(log_path);
        int found = strstr(text, "killed by signal 11") != NULL;

        free(text);
        if (found)
            return;
        CHECK(mln_event_timer_set(ev, 20, NULL, stop) != NULL);
        mln_event_dispatch(ev);
        if (getpid() != self)
            child_faults();
        mln_event_break_reset(ev);
    }
    CHECK(!"the end of a worker by a fault was not noticed");
}

static const struct part parts[] = {
    {"SIGCHLD ignored", sigchld_ignored}, {"SIGCHLD default", sigchld_default},
    {"SIGCHLD handled", sigchld_handled}, {"SIGCHLD without zombies", sigchld_without_zombies},
    {"early ends", early_ends_reaped},    {"children of the program", children_of_the_program},
    {"own handlers", own_handlers},       {"own faults", own_faults},
    {"all blocked", all_blocked},         {"one blocked", one_blocked},
    {"signals of the loop", loop_signals}, {"a fault in a worker", fault},
};

int main(int argc, char **argv)
{
    if (argc > 1) {
        scratch_make();
        log_path = strdup(scratch_path("stderr"));
        scratch_catch_stderr(log_path);
    }
    return run_parts(argc, argv, parts, sizeof parts / sizeof *parts);
}
