/*
 * A log that takes nothing any more, because its reader is stuck or a worker has stopped the terminal, neither holds up the messages
 * of a group nor keeps it from ending when it is told to. Neither does a terminal that a worker has taken for itself.
 */
#include "check.h"
#include "framework.h"
#include "mln_fork.h"
#include "mln_ipc.h"
#include "mln_log.h"
#include "processes.h"
#include "scratch.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <termios.h>

enum { WORK = 3000, DONE, WORKERS = 2, ROUNDS = 400, SIZE = 300 };

static pid_t master;
static const char *log_path; /* NULL: the terminal, which is standard error */
static bool taken; /* the terminal, by each worker */
static int done;

static void log_much(void)
{
    static char filler[SIZE];

    memset(filler, 'f', sizeof filler - 1);
    mln_log(report, "%s\n", filler);
}

static int ask(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    return mln_ipc_master_send_prepare(ev, WORK, NULL, 0, f);
}

/* From now on the kernel stops others who write to the terminal. */
static void take_terminal(void)
{
    struct termios mode;

    CHECK(signal(SIGTTOU, SIG_IGN) != SIG_ERR);
    CHECK_INT(setpgid(0, 0), 0);
    CHECK_INT(tcsetpgrp(STDERR_FILENO, getpid()), 0);
    CHECK_INT(tcgetattr(STDERR_FILENO, &mode), 0);
    mode.c_lflag |= TOSTOP;
    CHECK_INT(tcsetattr(STDERR_FILENO, TCSANOW, &mode), 0);
}

static void work(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    if (taken)
        take_terminal();
    else if (log_path == NULL)
        CHECK_INT(tcflow(STDERR_FILENO, TCOOFF), 0);
    log_much();
    CHECK_INT(mln_ipc_worker_send_prepare(ev, DONE, buf, len), 0);
}

static void answered(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    log_much();
    if (++done == ROUNDS)
        CHECK_INT(kill(master, SIGTERM), 0);
    else if (done < ROUNDS)
        CHECK_INT(ask(ev, f, NULL), 0);
}

static int prepare(void)
{
    configure_workers(WORKERS);
    if (log_path != NULL) {
        mln_string_t path = {.data = (mln_u8ptr_t)log_path, .len = strlen(log_path)};
        mln_conf_item_t item = {.type = CONF_STR, .val.s = &path};
        configure("log_path", &item);
    }
    CHECK(mln_ipc_handler_register(WORK, NULL, work, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(DONE, answered, NULL, NULL, NULL) != NULL);
    return 0;
}

static void in_master(mln_event_t *ev)
{
    CHECK_INT(mln_fork_iterate(ev, ask, NULL), 0);
}

static void run_group(void)
{
    char *argv[] = {(char *)"test", NULL};
    struct mln_framework_attr attr = {1, argv, prepare, NULL, in_master, NULL};

    master = getpid();
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(getpid(), master);
    CHECK_INT(child_count(), 0);
    CHECK(done >= ROUNDS);
}

static void run_with_pipe(void)
{
    scratch_make();
    scratch_catch_stderr(scratch_path("stderr"));
    log_path = strdup(scratch_path("pipe"));
    CHECK(mkfifo(log_path, 0600) == 0);
    int reader = open(log_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    CHECK(reader >= 0);
    run_group();
    close(reader);
}

static void *read_all(void *screen)
{
    char bytes[4096];

    while (read(*(int *)screen, bytes, sizeof bytes) > 0)
        ;
    return NULL;
}

/* As a shell with job control has it run, on the terminal that is standard error. */
static void run_as_job(void)
{
    pid_t shell = fork();

    if (shell == 0) {
        CHECK(setsid() > 0);
        CHECK_INT(ioctl(STDERR_FILENO, TIOCSCTTY, 0), 0);
        pid_t job = fork();
        if (job == 0) {
            CHECK_INT(setpgid(0, 0), 0);
            run_group();
            _exit(0);
        }
        _exit(await_status(job));
    }
    CHECK_INT(await_status(shell), 0);
}

static void run_on_terminal(void (*run)(void))
{
    int screen = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    pthread_t reader;

    CHECK(screen >= 0 && grantpt(screen) == 0 && unlockpt(screen) == 0);
    int terminal = open(ptsname(screen), O_RDWR | O_NOCTTY | O_CLOEXEC), saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 50);
    CHECK(terminal >= 0 && saved >= 0);
    stderr = fdopen(saved, "w");
    CHECK(dup2(terminal, STDERR_FILENO) == STDERR_FILENO);
    CHECK_INT(pthread_create(&reader, NULL, read_all, &screen), 0);
    run();
    close(terminal);
    close(STDERR_FILENO);
    CHECK_INT(pthread_join(reader, NULL), 0);
    remove_log();
}

int main(int argc, char *argv[])
{
    if (argc > 1 && strcmp(argv[1], "pipe") == 0) {
        run_with_pipe();
    } else if (argc > 1) {
        taken = strcmp(argv[1], "taken terminal") == 0;
        run_on_terminal(taken ? run_as_job : run_group);
    } else {
        run_self("pipe");
        run_self("terminal");
        run_self("taken terminal");
    }
    return 0;
}
