/*
 * What stdio holds at a fork comes out once, a worker whose master is gone ends with status 127 and runs its atexit
 * handlers, and a thread that waits for input holds up no fork.
 */
#include "scratch.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>

enum { HELLO = 3000 };

static char *output, *own, *ended;
static FILE *own_file;

static void append(const char *path, const char *text)
{
    FILE *file = fopen(path, "a");

    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK_INT(fclose(file), 0);
}

static void at_end(void)
{
    append(ended, "x");
}

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    static int hellos;

    (void)buf;
    (void)len;
    (void)udata;
    if (++hellos == 1)
        CHECK_INT(kill(((mln_fork_t *)f_ptr)->pid, SIGTERM), 0);
    printf("message %d;", hellos);
    if (hellos == 3)
        mln_event_break_set(ev);
}

static void work(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    mln_fork_worker_events_set(ev);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
    mln_event_dispatch(ev);
    _exit(2);
}

/* A master with text in its buffers at every fork, ended without a word to its workers. */
static int run_master(char **paths)
{
    mln_event_t *ev = mln_event_new();
    pid_t self = getpid();

    output = paths[0];
    own = paths[1];
    ended = paths[2];
    mln_log_logger_set(NULL);
    CHECK(freopen(output, "a", stdout) != NULL);
    CHECK((own_file = fopen(own, "a")) != NULL);
    CHECK_INT(atexit(at_end), 0);
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    for (int i = 0; i < 2; ++i) {
        int result;

        printf("fork %d;", i);
        fprintf(own_file, "fork %d;", i);
        CHECK((result = mln_fork_restart(ev)) >= 0);
        if (result == 0)
            work();
    }
    mln_event_dispatch(ev);
    if (getpid() != self)
        work();
    fprintf(own_file, "end;");
    fclose(own_file);
    fflush(stdout);
    _exit(0);
}

static void *wait_for_input(void *arg)
{
    char line[16];

    CHECK_PTR(fgets(line, sizeof line, (FILE *)arg), line);
    return NULL;
}

/* The thread holds the stream's lock while it waits. */
static int run_with_reader(void)
{
    int ends[2], result;
    long long begin;
    pthread_t thread;
    FILE *input;

    mln_log_logger_set(NULL);
    CHECK_INT(pipe(ends), 0);
    CHECK((input = fdopen(ends[0], "r")) != NULL);
    CHECK_INT(pthread_create(&thread, NULL, wait_for_input, input), 0);
    sleep_ms(50);
    CHECK_INT(mln_fork_prepare(), 0);
    alarm(10 * (unsigned)check_slowness());
    begin = now_ms();
    CHECK((result = mln_fork_restart(NULL)) >= 0);
    if (result == 0)
        work();
    CHECK(now_ms() < begin + 5000 * check_slowness());
    alarm(0);
    CHECK_INT(write(ends[1], "line\n", 5), 5);
    CHECK_INT(pthread_join(thread, NULL), 0);
    fclose(input);
    return 0;
}

int main(int argc, char **argv)
{
    const char *words[5] = {"master"};
    int workers = 0, status;
    char *text;

    if (argc == 5)
        return run_master(argv + 2);
    if (argc == 2)
        return run_with_reader();
    scratch_make();
    CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    words[1] = scratch_path("output");
    words[2] = scratch_path("own");
    words[3] = scratch_path("ended");
    CHECK_INT(await_status(start_self(words)), 0);
    for (pid_t pid; (pid = waitpid(-1, &status, 0)) > 0; ++workers)
        CHECK_INT(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 127);
    CHECK_INT(workers, 2);
    scratch_expect(words[1], "fork 0;fork 1;message 1;message 2;message 3;");
    scratch_expect(words[2], "fork 0;fork 1;end;");
    text = scratch_read(words[3]);
    CHECK_STR(text, "xx"); /* of the workers; the master left by _exit */
    free(text);
    run_self("reader");
    return 0;
}
