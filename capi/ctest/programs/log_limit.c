/*
 * A log file that reaches the limit for the size of files (ulimit -f) ends nobody, and says so when it can. For files of the program's
 * own SIGXFSZ stays what it was: it ends a program that does not handle it, and programs that are executed, too.
 */
#include "check.h"

#include <sys/resource.h>

#include "mln_event.h"
#include "mln_log.h"
#include "processes.h"
#include "scratch.h"

enum { LIMIT = 1000, LINES = 50 };

static volatile sig_atomic_t handled;

static void limit_files(rlim_t size)
{
    struct rlimit limit;

    CHECK_INT(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void start_log(void)
{
    char conf[1024];

    scratch_make();
    snprintf(conf, sizeof conf, "log_path \"%s\";\nlog_level \"none\";\ndaemon on;\n", scratch_path("app.log"));
    CHECK_INT(scratch_conf(conf), 0);
    CHECK_INT(mln_log_init(NULL), 0);
}

static void stop_log(void)
{
    mln_log_destroy();
    mln_conf_free();
}

static void log_lines(void)
{
    for (int i = 0; i < LINES; i++)
        mln_log(none, "a line that is some bytes long, the number of which divides no limit\n");
}

/* Several processes come to the limit, and only the one whose line is cut short could see it coming. */
static void reach_limit(void)
{
    limit_files(LIMIT);
    log_lines();
    pid_t child = fork();
    if (child == 0) {
        log_lines();
        _exit(0);
    }
    CHECK(child > 0);
    CHECK_INT(await_status(child), 0);
    limit_files(RLIM_INFINITY);
    mln_log(none, "after\n");
    scratch_expect_part(scratch_path("app.log"), "lines were lost: the file has reached the size that this process may write (see ulimit -f)\nafter\n");
}

static void in_any_program(void)
{
    start_log();
    reach_limit();
    stop_log();
}

/* The engine puts back what the runtime of Go changes when it starts, and an engine starts in the child. */
static void beside_an_engine(void)
{
    start_log();
    for (int i = 0; i < 2; i++) {
        mln_event_t *ev = mln_event_new();
        CHECK(ev != NULL);
        reach_limit();
        mln_event_free(ev);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child != 0) {
            CHECK_INT(await_status(child), 0);
            break;
        }
    }
    stop_log();
}

static void with_all_signals_blocked(void)
{
    sigset_t all, before;

    start_log();
    sigfillset(&all);
    CHECK_INT(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
    reach_limit();
    CHECK_INT(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    stop_log();
}

static void handler(int signo)
{
    (void)signo;
    handled = 1;
}

static void with_a_handler_of_the_program(void)
{
    CHECK(signal(SIGXFSZ, handler) != SIG_ERR);
    start_log();
    reach_limit();
    CHECK_INT(handled, 1);
    CHECK(signal(SIGXFSZ, SIG_IGN) == handler);
    stop_log();
    CHECK_INT(mln_log_init(NULL), 0);
    CHECK(signal(SIGXFSZ, SIG_DFL) == SIG_IGN);
    mln_log_destroy();
}

/* Where the log is already too large, nothing of its folder can be written at all. */
static void when_it_starts(void)
{
    start_log();
    stop_log();
    limit_files(0);
    CHECK_INT(mln_conf_load(), 0);
    CHECK_INT(mln_log_init(NULL), -1);
    limit_files(RLIM_INFINITY);
    mln_conf_free();
}

static void write_too_much(void)
{
    char bytes[LIMIT] = "";
    int fd = open(scratch_path("own"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    limit_files(LIMIT / 2);
    CHECK_INT(write(fd, bytes, sizeof bytes), LIMIT / 2);
    CHECK_INT(write(fd, bytes, sizeof bytes), -1);
}

static void by_a_file_of_its_own(void)
{
    start_log();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_INT(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}), 0);
        write_too_much();
        _exit(0);
    }
    CHECK_INT(await_status(child), 128 + SIGXFSZ);
    stop_log();
    run_self("executed");
}

static void executed(void)
{
    struct sigaction now;

    CHECK_INT(sigaction(SIGXFSZ, NULL, &now), 0);
    CHECK(now.sa_handler == SIG_DFL);
}

static const struct part parts[] = {
    {"in any program", in_any_program},
    {"beside an engine", beside_an_engine},
    {"with all signals blocked", with_all_signals_blocked},
    {"with a handler of the program", with_a_handler_of_the_program},
    {"when it starts", when_it_starts},
    {"by a file of its own", by_a_file_of_its_own},
    {"executed", executed},
};

int main(int argc, char **argv)
{
    return run_parts(argc, argv, parts, sizeof parts / sizeof *parts);
}
