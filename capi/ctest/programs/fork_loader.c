/*
 * Forks while another thread is inside the dynamic loader, and stays there: the loader's lock is held for ever in the child.
 * A worker comes up as quickly as any other, and so does the engine of a process that the program forks itself, once forks
 * were prepared. Where a copy of the library would have to be loaded in the child, that fails in time and says why.
 * deadline: 60s
 */
#include "scratch.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>

/* The library gives the loader five seconds. */
enum { HELLO = 3000, PROMPT_MS = 4500, GIVES_UP_MS = 15000 };

static atomic_int inside, leave;
static int hellos, nested_error, timers;

/* Holds the loader's lock. */
static int linger(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info;
    (void)size;
    (void)data;
    atomic_store(&inside, 1);
    while (!atomic_load(&leave))
        usleep(1000);
    return 1;
}

static void *be_inside(void *arg)
{
    (void)arg;
    CHECK_INT(dl_iterate_phdr(linger, NULL), 1);
    return NULL;
}

static pthread_t enter_loader(void)
{
    pthread_t thread;

    CHECK_INT(pthread_create(&thread, NULL, be_inside, NULL), 0);
    while (!atomic_load(&inside))
        usleep(1000);
    return thread;
}

static void leave_loader(pthread_t thread)
{
    atomic_store(&leave, 1);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)udata;
    CHECK_INT(len, sizeof nested_error);
    memcpy(&nested_error, buf, sizeof nested_error);
    ++hellos;
    mln_event_break_set(ev);
}

static void on_timer(mln_event_t *ev, void *data)
{
    (void)data;
    ++timers;
    mln_event_break_set(ev);
}

/* It says hello at once, and then what has become of its own attempt to fork. */
static void be_worker(void)
{
    mln_event_t *ev = mln_event_new();
    int error_number = 0;

    CHECK(ev != NULL);
    mln_fork_worker_events_set(ev);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, &error_number, sizeof error_number), 0);
    CHECK(mln_event_timer_set(ev, 1, NULL, on_timer) != NULL);
    mln_event_dispatch(ev);
    mln_event_break_reset(ev);
    CHECK_INT(mln_fork_restart(ev), -1);
    error_number = errno;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, &error_number, sizeof error_number), 0);
    mln_event_dispatch(ev);
    _exit(2);
}

static void a_worker_is_up_at_once(void)
{
    mln_event_t *ev = mln_event_new();
    pid_t master = getpid();
    long long before;
    pthread_t thread;

    CHECK(ev != NULL);
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    thread = enter_loader();
    before = now_ms();
    CHECK(mln_fork_restart(ev) >= 0);
    if (getpid() != master)
        be_worker();
    mln_event_dispatch(ev);
    if (getpid() != master)
        be_worker();
    CHECK_INT(hellos, 1);
    CHECK_INT(nested_error, 0);
    CHECK(now_ms() - before < PROMPT_MS * check_slowness());
    mln_event_break_reset(ev);
    mln_event_dispatch(ev);
    CHECK_INT(hellos, 2);
    CHECK_INT(nested_error, EDEADLK);
    CHECK(now_ms() - before < GIVES_UP_MS * check_slowness());
    leave_loader(thread);
}

static void run_timer(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK(mln_event_timer_set(ev, 1, NULL, on_timer) != NULL);
    mln_event_dispatch(ev);
    CHECK_INT(timers, 1);
}

static void a_child_is_up_at_once(void)
{
    long long before;
    pthread_t thread;
    pid_t child;

    CHECK_INT(mln_fork_prepare(), 0);
    thread = enter_loader();
    before = now_ms();
    CHECK((child = fork()) >= 0);
    if (child == 0) {
        run_timer();
        exit(0); /* as programs end that have more to do than _exit() */
    }
    CHECK_INT(await_status(child), 0);
    CHECK(now_ms() - before < PROMPT_MS * check_slowness());
    leave_loader(thread);
}

static void a_child_without_a_copy_is_told(void)
{
    long long before;
    pthread_t thread;
    pid_t child;

    CHECK(mln_event_new() != NULL);
    thread = enter_loader();
    before = now_ms();
    CHECK((child = fork()) >= 0);
    if (child == 0) {
        CHECK(mln_event_new() == NULL);
        CHECK_INT(errno, EDEADLK);
        before = now_ms();
        CHECK(mln_event_new() == NULL);
        CHECK_INT(errno, EDEADLK);
        CHECK(now_ms() - before < PROMPT_MS * check_slowness());
        exit(0);
    }
    CHECK_INT(await_status(child), 0);
    CHECK(now_ms() - before < GIVES_UP_MS * check_slowness());
    leave_loader(thread);
}

int main(int argc, char **argv)
{
    static const char *const parts[] = {"worker", "child", "child without a copy"};
    static void (*const functions[])(void) = {a_worker_is_up_at_once, a_child_is_up_at_once, a_child_without_a_copy_is_told};
    char *log_path;

    for (size_t i = 0; argc == 3 && i < sizeof parts / sizeof parts[0]; ++i) {
        if (strcmp(argv[1], parts[i]) != 0)
            continue;
        scratch_catch_stderr(argv[2]);
        functions[i]();
        return 0;
    }
    scratch_make();
    log_path = strdup(scratch_path("stderr"));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
        const char *const words[] = {parts[i], log_path, NULL};

        CHECK_INT(await_status(start_self(words)), 0);
    }
    scratch_expect_part(log_path, "another thread was inside the dynamic loader");
    free(log_path);
    return 0;
}
