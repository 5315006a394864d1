/*
 * Exec'ed workers: what reaches the program, also where the kernel closes descriptors one by one, what becomes of it when it ends, and
 * that its arguments survive a reload.
 * deadline: 60s
 */
#include "scratch.h"
#include "mln_fork.h"
#include "mln_framework.h"
#include "mln_log.h"
#include "processes.h"
#include "refuse.h"

#include <sys/resource.h>

enum { HELLO = 3000, QUIT, ALIEN };

/* ---- the program ---- */

/* What the program found, as text after a HELLO's type; all its arguments but the last in the end. */
struct finding {
    char complaint[200]; /* "" if all is as it should be */
    char arguments[200];
};

static void complain(struct finding *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (f->complaint[0] == '\0')
        vsnprintf(f->complaint, sizeof f->complaint, format, args);
    va_end(args);
}

/* The number of one that is neither standard nor the channel, or -1. */
static int other_descriptor(int channel)
{
    DIR *dir = opendir("/proc/self/fd");
    int other = -1;

    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        int fd = atoi(entry->d_name);

        if (entry->d_name[0] != '.' && fd != dirfd(dir) && fd > STDERR_FILENO && fd != channel)
            other = fd;
    }
    closedir(dir);
    return other;
}

static void look_at_descriptors(struct finding *f, int channel)
{
    int other;

    /* The library opens files for a moment some time after it is loaded, and this program happens to load it as well. */
    for (int i = 0; (other = other_descriptor(channel)) >= 0 && i < 50; ++i)
        sleep_ms(10);
    if (other >= 0)
        complain(f, "descriptor %d is open", other);
    for (int fd = 0; fd <= STDERR_FILENO; ++fd)
        if (fcntl(fd, F_GETFD) < 0)
            complain(f, "descriptor %d is closed", fd);
    if (fcntl(channel, F_GETFL) & O_NONBLOCK)
        complain(f, "the channel is not blocking");
}

static void look_at_signals(struct finding *f)
{
    sigset_t mask;

    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int signo = 1; signo < NSIG; ++signo) {
        struct sigaction action;

        if (sigismember(&mask, signo) == 1)
            complain(f, "signal %d is blocked", signo);
        if (sigaction(signo, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            complain(f, "signal %d is ignored", signo);
    }
}

static void send_frame(int fd, mln_u32_t type, const void *payload, mln_u32_t size)
{
    struct {
        mln_u32_t length, type;
        char payload[sizeof(struct finding)];
    } frame = {sizeof type + size, type, {0}};

    CHECK(size <= sizeof frame.payload);
    memcpy(frame.payload, payload, size);
    CHECK_INT(write(fd, &frame, 8 + size), 8 + size);
}

/* Says HELLO; ends on QUIT, on the channel's end, or as its arguments tell. */
static int run_program(int argc, char **argv)
{
    struct finding f;
    char *end;
    long fd = strtol(argv[argc - 1], &end, 10);
    mln_u32_t header[2];
    char byte;

    memset(&f, 0, sizeof f);
    if (*end != '\0' || fd < 3)
        return 3;
    look_at_descriptors(&f, (int)fd);
    look_at_signals(&f);
    for (int i = 1; i < argc - 1; ++i)
        snprintf(f.arguments + strlen(f.arguments), sizeof f.arguments - strlen(f.arguments), "%s|", argv[i]);
    send_frame((int)fd, ALIEN, "nobody knows this type", 23);
    send_frame((int)fd, HELLO, &f, sizeof f);
    if (argc > 3 && strcmp(argv[2], "brief") == 0)
        return 7;
    while (read((int)fd, header, sizeof header) == sizeof header) {
        for (mln_u32_t left = header[0] - 4; left > 0; --left)
            if (read((int)fd, &byte, 1) != 1)
                return 4;
        if (header[1] == QUIT)
            return 5;
    }
    return 0;
}

/* ---- the master ---- */

static char self_path[1024];
static int hellos, stage;
static mln_s8ptr_t *watched; /* an argument array that the library is to free */
static pid_t kept;

#ifdef __SANITIZE_ADDRESS__
extern int __asan_address_is_poisoned(void const volatile *);

static int times_freed(void)
{
    return __asan_address_is_poisoned(watched);
}
#else
static int watched_freed;

extern void __libc_free(void *);

/* In place of the C library's: counts how often that array was freed. */
void free(void *p)
{
    if (p != NULL && p == (void *)watched)
        ++watched_freed;
    __libc_free(p);
}

static int times_freed(void)
{
    return watched_freed;
}
#endif

/* An array without spare slots; a canary stands behind it. */
static mln_s8ptr_t *arguments(const char *path, const char *second, const char *third, mln_u32_t *n)
{
    mln_s8ptr_t *args = malloc(4 * sizeof *args);

    CHECK(args != NULL);
    args[0] = (mln_s8ptr_t)path;
    args[1] = (mln_s8ptr_t)second;
    args[2] = (mln_s8ptr_t)third;
    *n = third == NULL ? 2 : 3;
    args[*n] = (mln_s8ptr_t)0xdead;
    return args;
}

static int count(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)f;
    ++*(int *)data;
    return 0;
}

static int worker_count(mln_event_t *ev)
{
    int n = 0;

    CHECK_INT(mln_fork_iterate(ev, count, &n), 0);
    return n;
}

static void stop(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

/* Breaks the loop as soon as no more workers are left than those, a number in the place of a pointer. */
static void stop_when_left(mln_event_t *ev, void *workers)
{
    if (worker_count(ev) <= (long)workers)
        mln_event_break_set(ev);
    else
        CHECK(mln_event_timer_set(ev, 10, workers, stop_when_left) != NULL);
}

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    struct finding *finding = buf;

    (void)udata;
    CHECK_INT(len, sizeof *finding);
    CHECK_STR(finding->complaint, "");
    CHECK_INT(f->etype, M_PET_EXE);
    CHECK_INT(f->n_args, strstr(finding->arguments, "brief") != NULL || stage > 2 ? 3 : 2);
    CHECK_STR((char *)f->args[0], self_path);
    CHECK_INT((long)f->args[f->n_args], stage > 2 ? 0 : 0xdead);
    ++hellos;
    switch (stage) {
    case 1: /* supervised */
        CHECK_STR(finding->arguments, "program|");
        CHECK_INT(f->stype, M_PST_SUP);
        if (hellos == 1)
            CHECK_INT(mln_ipc_master_send_prepare(ev, QUIT, (void *)"x", 1, f), 0);
        else if (hellos == 2)
            CHECK_INT(kill(f->pid, SIGKILL), 0);
        else
            mln_event_break_set(ev);
        break;
    case 2: /* not supervised */
        CHECK_STR(finding->arguments, "program|brief|");
        CHECK_INT(f->stype, M_PST_DFL);
        stop_when_left(ev, (void *)0);
        break;
    default: /* from the configuration */
        CHECK_INT(f->stype, strcmp(finding->arguments, "program|kept|") == 0 ? M_PST_SUP : M_PST_DFL);
        if (f->stype == M_PST_DFL)
            CHECK_STR(finding->arguments, "program|brief|");
        if (f->stype == M_PST_SUP && kept == 0) {
            kept = f->pid;
            /* What its arguments were made from is gone. */
            CHECK_INT(scratch_conf("something_else \"entirely\"; proc_exec { keepalive \"/nowhere\"; }"), 0);
            CHECK_INT(kill(kept, SIGKILL), 0);
        } else if (f->stype == M_PST_SUP) {
            CHECK(f->pid != kept);
        }
        if (hellos == 3) /* until the brief one is gone, too */
            stop_when_left(ev, (void *)1);
        break;
    }
}

static mln_event_t *start(char **log)
{
    struct rlimit limit;
    mln_event_t *ev;

    CHECK_INT(readlink("/proc/self/exe", self_path, sizeof self_path - 1) > 0, 1);
    scratch_make();
    *log = strdup(scratch_path("stderr"));
    scratch_catch_stderr(*log);
    /* Descriptors of the program, without close-on-exec: they must not reach others. */
    for (int i = 0; i < 5; ++i)
        CHECK(dup(STDIN_FILENO) >= 0);
    CHECK_INT(dup2(STDIN_FILENO, 500), 500);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 256; /* lowered afterwards */
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK(signal(SIGUSR1, SIG_DFL) != SIG_ERR);
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((ev = mln_event_new()) != NULL);
    return ev;
}

static void on_alarm(int signo)
{
    (void)signo;
}

static void run_supervised(void)
{
    mln_u32_t n;
    char *log;
    mln_event_t *ev = start(&log);
    mln_s8ptr_t *args = arguments(self_path, "program", NULL, &n);

    CHECK(signal(SIGALRM, on_alarm) != SIG_ERR); /* a handler: default again in the program */
    stage = 1;
    CHECK_INT(mln_fork_spawn(M_PST_SUP, args, n, ev), 0);
    CHECK_INT(worker_count(ev), 1);
    mln_event_dispatch(ev);
    CHECK_INT(hellos, 3);
    CHECK_INT(worker_count(ev), 1);
    CHECK_STR((char *)args[1], "program");
    scratch_expect_part(log, "exited with status 5");
    scratch_expect_part(log, "killed by signal 9");
    free(log);
}

static void run_default(void)
{
    mln_u32_t n;
    char *log;
    mln_event_t *ev = start(&log);

    stage = 2;
    watched = arguments(self_path, "program", "brief", &n);
    CHECK_INT(mln_fork_spawn(M_PST_DFL, watched, n, ev), 0);
    CHECK_INT(times_freed(), 0);
    mln_event_dispatch(ev);
    CHECK_INT(hellos, 1);
    CHECK_INT(worker_count(ev), 0);
    CHECK_INT(times_freed(), 1);
    CHECK_INT(child_count(), 0);
    scratch_expect_part(log, "exited with status 7");
    free(log);
}

/* As Linux before 5.11. */
static void run_on_old_kernel(void)
{
    refuse(SYS_close_range, EINVAL);
    run_default();
}

static void run_without_list(void)
{
    refuse_with(SYS_openat, O_RDONLY | O_DIRECTORY | O_CLOEXEC, ENOENT);
    run_on_old_kernel();
}

static int starts(const char *log)
{
    char *text = scratch_read(log);
    int n = 0;

    for (char *at = text; (at = strstr(at, "cannot execute /nowhere/at/all: No such file")) != NULL; ++at)
        ++n;
    free(text);
    return n;
}

static void run_bad_path(void)
{
    mln_u32_t n;
    char *log;
    mln_event_t *ev = start(&log);
    int descriptors, before;

    errno = 0;
    CHECK_INT(mln_fork_spawn(M_PST_SUP, NULL, 1, ev), -1);
    CHECK_INT(errno, EINVAL);
    watched = arguments("/nowhere/at/all", "program", NULL, &n);
    descriptors = fd_count();
    CHECK_INT(mln_fork_spawn(M_PST_DFL, watched, n, ev), 0);
    CHECK_INT(starts(log), 1);
    CHECK(mln_event_timer_set(ev, 300, NULL, stop) != NULL);
    mln_event_dispatch(ev);
    mln_event_break_reset(ev);
    CHECK_INT(worker_count(ev), 0);
    CHECK_INT(times_freed(), 1);
    CHECK_INT(fd_count(), descriptors);
    CHECK_INT(starts(log), 1);
    /* A supervised one is tried at once, then after 0.1, 0.2, 0.4, 0.8 s. */
    CHECK_INT(mln_fork_spawn(M_PST_SUP, arguments("/nowhere/at/all", "program", NULL, &n), n, ev), 0);
    CHECK_INT(starts(log), 2);
    before = 1;
    CHECK(mln_event_timer_set(ev, 2000, NULL, stop) != NULL);
    mln_event_dispatch(ev);
    CHECK(starts(log) - before >= 3);
    CHECK(starts(log) - before <= 6);
    free(log);
}

static void run_configured(void)
{
    char text[2500], *log;
    mln_event_t *ev = start(&log);

    snprintf(text, sizeof text, "proc_exec { keepalive \"%s\" \"program\" \"kept\"; default \"%s\" \"program\" \"brief\"; }",
             self_path, self_path);
    CHECK_INT(scratch_conf(text), 0);
    stage = 3;
    CHECK_INT(mln_fork(), 1);
    CHECK_INT(worker_count(ev), 2);
    mln_fork_master_events_set(ev);
    mln_event_dispatch(ev);
    CHECK_INT(hellos, 3);
    CHECK_INT(worker_count(ev), 1);
    free(log);
}

static const struct part parts[] = {
    {"supervised", run_supervised},
    {"default", run_default},
    {"old kernel", run_on_old_kernel},
    {"old kernel, without /proc", run_without_list},
    {"bad path", run_bad_path},
    {"configured", run_configured},
};

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "program") == 0)
        return run_program(argc, argv);
    for (int signo = 1; argc == 1 && signo < NSIG; ++signo)
        if (signo != SIGSTKFLT) /* the library's own */
            (void)signal(signo, SIG_DFL); /* a shell ignores some for what it runs in the background, and that is passed on */
    return run_parts(argc, argv, parts, sizeof parts / sizeof *parts);
}
