/*
 * The kernel refuses a call that a start as a daemon, or as another account, cannot do without: the start fails, one line of the log says
 * why, and no process is left. Only that files stay with their owner is no reason not to start.
 *
 * Other accounts are for root alone.
 */
#include "check.h"
#include "processes.h"
#include "refuse.h"
#include "scratch.h"

#include "mln_log.h"
#include "mln_tools.h"

/* Starts by this configuration where a call is refused; how mln_daemon() ends. */
static int start_without(const char *conf, int number, int error_number)
{
    char text[2048];
    int result, status;
    pid_t child;

    snprintf(text, sizeof text, "log_path \"%s\";\n%s\n", scratch_path("logs/app.log"), conf);
    CHECK((child = fork()) >= 0);
    if (child == 0) {
        pid_t self = getpid();

        /* The C library changes the ids of all threads, and aborts where the kernel does not treat them alike: before there are others. */
        refuse(number, error_number);
        scratch_catch_stderr("err");
        CHECK_INT(scratch_conf(text), 0);
        result = mln_daemon();
        CHECK(result == 0 || child_count() == 0);
        CHECK_INT(getpid(), self);
        _exit(-result);
    }
    status = await_status(child);
    CHECK(status <= 1);
    return -status;
}

/* These lines are in the log, or on standard error where there is none yet, and no others. */
static void expect_lines(const char *first, const char *second, int error_number)
{
    const char *log = access("logs/app.log", F_OK) == 0 ? "logs/app.log" : "err";
    int n = second == NULL ? 1 : 2;

    scratch_expect_part(log, first);
    if (second != NULL)
        scratch_expect_part(log, second);
    CHECK_INT(scratch_count(log, strerror(error_number)), n);
    CHECK_INT(scratch_count(log, "\n"), n);
    CHECK_INT(unlink("err"), 0);
    (void)unlink("logs/app.log");
    (void)unlink("logs/melon.pid");
    (void)rmdir("logs"); /* whose owner changes only if the start has made it */
}

static void expect_no_start(const char *conf, int number, int error_number, const char *line)
{
    CHECK_INT(start_without(conf, number, error_number), -1);
    expect_lines(line, NULL, error_number);
}

static void files_stay_with_their_owner(void)
{
    CHECK_INT(start_without("user \"nobody\";", SYS_fchown, EPERM), 0);
    expect_lines("logs/app.log over to user", "logs over to user", EPERM);
}

int main(void)
{
    scratch_make();
    CHECK_INT(chdir(scratch_dir), 0);
    expect_no_start("daemon on;", SYS_clone, EAGAIN, "cannot become a daemon: fork: ");
    expect_no_start("", SYS_setresgid, EPERM, ": setgid: ");
    expect_no_start("", SYS_setresuid, EAGAIN, ": setuid: ");
    if (getuid() != 0)
        return 0;
    expect_no_start("user \"nobody\";", SYS_setgroups, EPERM, ": setgroups: ");
    expect_no_start("user \"nobody\";", SYS_setresgid, EPERM, ": setgid: ");
    expect_no_start("user \"nobody\";", SYS_setresuid, EAGAIN, ": setuid: ");
    files_stay_with_their_owner();
    return 0;
}
