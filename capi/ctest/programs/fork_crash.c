/*
 * A program that crashes ends by the signal, as without the library: a worker, the master's own child, and a process that
 * writes to a closed pipe.
 */
#include "check.h"
#include "framework.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void crash(void)
{
    volatile int *nowhere = NULL;

    *nowhere = 1;
}

static void worker(mln_event_t *ev)
{
    (void)ev;
    crash();
}

static int prepare(void)
{
    struct rlimit no_core = {0, 0};

    CHECK_INT(setrlimit(RLIMIT_CORE, &no_core), 0);
    configure_workers(1);
    return 0;
}

static void stop(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

static void master(mln_event_t *ev)
{
    CHECK(mln_event_timer_set(ev, 300, NULL, stop) != NULL);
}

/* How a child ends that does this. */
static int status_of(void (*act)(void))
{
    int status;
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        mln_event_t *ev = mln_event_new();

        CHECK(ev != NULL);
        act();
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void write_to_nobody(void)
{
    int ends[2];

    CHECK_INT(pipe(ends), 0);
    close(ends[0]);
    (void)!write(ends[1], "x", 1);
}

static void divide(void)
{
    CHECK_INT(raise(SIGFPE), 0);
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, master, worker};
    char log[4096];
    FILE *file;
    size_t n;

    CHECK_INT(status_of(crash), SIGSEGV);
    CHECK_INT(status_of(divide), SIGFPE);
    CHECK_INT(status_of(write_to_nobody), SIGPIPE);
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK((file = fopen("logs/test.log", "r")) != NULL);
    n = fread(log, 1, sizeof log - 1, file);
    log[n] = '\0';
    fclose(file);
    CHECK(strstr(log, "was killed by signal 11") != NULL);
    CHECK(strstr(log, "another is started in") != NULL);
    remove_log();
    return 0;
}
