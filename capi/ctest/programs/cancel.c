/*
 * A thread that is cancelled in the middle of a call of the library leaves no lock behind: others log, send, prepare forks and load
 * libraries as before. It is cancelled at the first point in the call where it can be, if there is one.
 */
#include "check.h"
#include "events.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <pthread.h>

enum { MESSAGE = 3000, LARGE = 200000, ROUNDS = 20 };

static mln_event_t *loop;
static mln_fork_t *worker;
static char large[LARGE];

/* Calls it in a thread that is to be cancelled already. */
static void call_cancelled(void *(*call)(void *))
{
    pthread_t thread;

    CHECK_INT(pthread_create(&thread, NULL, call, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

static void *log_cancelled(void *unused)
{
    pthread_cancel(pthread_self());
    mln_log(error, "cancelled\n");
    return unused;
}

static void run_log(void)
{
    int pipe_ends[2], saved = dup(STDERR_FILENO);

    CHECK(saved >= 0);
    CHECK_INT(pipe(pipe_ends), 0);
    CHECK(dup2(pipe_ends[1], STDERR_FILENO) >= 0);
    for (int i = 0; i < ROUNDS; ++i)
        call_cancelled(log_cancelled);
    mln_log(error, "logged\n");
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
}

static void *prepare_cancelled(void *unused)
{
    pthread_cancel(pthread_self());
    (void)mln_fork_prepare();
    return unused;
}

static void run_prepare(void)
{
    pid_t pid;

    call_cancelled(prepare_cancelled);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((pid = fork()) >= 0);
    if (pid == 0) {
        mln_event_free(new_loop());
        _exit(0);
    }
    CHECK_INT(await_status(pid), 0);
}

static void *send_large_cancelled(void *unused)
{
    pthread_cancel(pthread_self());
    (void)mln_ipc_master_send_prepare(loop, MESSAGE, large, sizeof large, worker);
    return unused;
}

static void *send_small_cancelled(void *unused)
{
    pthread_cancel(pthread_self());
    (void)mln_ipc_master_send_prepare(loop, MESSAGE, large, 1, worker);
    return unused;
}

static void *be_sleeper(void *unused)
{
    mln_event_dispatch(loop);
    return unused;
}

static void swallow(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **slot)
{
    (void)ev;
    (void)f;
    (void)buf;
    (void)len;
    (void)slot;
}

static int note_worker(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)data;
    worker = f;
    return 0;
}

static void run_send(void)
{
    pthread_t sleeper;
    int result;

    CHECK(mln_ipc_handler_register(MESSAGE, NULL, swallow, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((result = mln_fork_restart(NULL)) >= 0);
    loop = new_loop();
    if (result == 0) {
        mln_fork_worker_events_set(loop);
        mln_event_dispatch(loop);
        _exit(0);
    }
    mln_fork_master_events_set(loop);
    CHECK_INT(mln_fork_iterate(loop, note_worker, NULL), 0);
    CHECK(worker != NULL);
    call_cancelled(send_large_cancelled);
    CHECK_INT(pthread_create(&sleeper, NULL, be_sleeper, NULL), 0);
    for (int i = 0; i < ROUNDS; ++i) { /* the loop sleeps, and is woken */
        sleep_ms(10);
        call_cancelled(i % 2 == 0 ? send_small_cancelled : send_large_cancelled);
    }
    CHECK_INT(mln_ipc_master_send_prepare(loop, MESSAGE, large, 1, worker), 0);
    mln_event_break_set(loop);
    CHECK_INT(pthread_join(sleeper, NULL), 0);
    mln_event_free(loop);
}

static void *flush_cancelled(void *unused)
{
    printf("pending");
    pthread_cancel(pthread_self());
    if (mln_fork_restart(NULL) == 0)
        _exit(0);
    return unused;
}

/* The list of the streams is locked while they are flushed. */
static void run_flush(void)
{
    FILE *file;

    CHECK_INT(mln_fork_prepare(), 0);
    CHECK(freopen("/dev/null", "w", stdout) != NULL);
    call_cancelled(flush_cancelled);
    CHECK((file = fopen("/dev/null", "w")) != NULL);
    fclose(file);
}

static const char *library;

static void *load_cancelled(void *unused)
{
    pthread_cancel(pthread_self());
    CHECK(dlopen(library, RTLD_NOW) != NULL);
    return unused;
}

/* A program that is not linked with the library loads it: here a copy of the file, which is another library to the loader. */
static void run_load(void)
{
    char copy[] = "/tmp/mln_cancel_XXXXXX", buffer[1 << 16];
    int from, to = mkstemp(copy);
    Dl_info info;
    void *handle;
    ssize_t n;

    CHECK(dladdr((void *)(size_t)mln_event_new, &info) != 0);
    CHECK(to >= 0);
    CHECK((from = open(info.dli_fname, O_RDONLY | O_CLOEXEC)) >= 0);
    while ((n = read(from, buffer, sizeof buffer)) > 0)
        CHECK_INT(write(to, buffer, (size_t)n), n);
    CHECK_INT(close(from), 0);
    CHECK_INT(close(to), 0);
    library = copy;
    call_cancelled(load_cancelled);
    CHECK_INT(unlink(copy), 0);
    CHECK((handle = dlopen("libm.so.6", RTLD_NOW)) != NULL);
    dlclose(handle);
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"log", run_log}, {"prepare", run_prepare}, {"send", run_send}, {"flush", run_flush}, {"load", run_load},
    };

    alarm(20 * (unsigned)check_slowness());
    return run_parts(argc, argv, parts, sizeof parts / sizeof *parts);
}
