/*
 * A program that crashes ends by the signal, as without the library: a worker, the master's own child, and a process that
 * writes to a closed pipe.
 */
#include "check.h"
#include "framework.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static volatile int *volatile nowhere; /* or the compiler finds that nothing needs to be done */

static void crash(void)
{
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

static int log_says(const char *text)
{
    char log[4096];
    FILE *file = fopen("logs/test.log", "r");
    size_t n;

    CHECK(file != NULL);
    n = fread(log, 1, sizeof log - 1, file);
    log[n] = '\0';
    fclose(file);
    return strstr(log, text) != NULL;
}

/* Until the worker has crashed twice, and its second successor waits to be started. */
static void look(mln_event_t *ev, void *data)
{
    if (log_says("was killed by signal 11") && log_says("another is started in"))
        mln_event_break_set(ev);
    else
        CHECK(mln_event_timer_set(ev, 20, data, look) != NULL);
}

static void master(mln_event_t *ev)
{
    look(ev, NULL);
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

    CHECK_INT(status_of(crash), SIGSEGV);
    CHECK_INT(status_of(divide), SIGFPE);
    CHECK_INT(status_of(write_to_nobody), SIGPIPE);
    CHECK_INT(mln_framework_init(&attr), 0);
    remove_log();
    return 0;
}
