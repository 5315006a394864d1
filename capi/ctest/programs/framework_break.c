/*
 * A broken loop: in the master init returns 0 there and all workers are gone; in a worker it returns 0 in that worker, whose
 * place another takes; and worker_process never runs in the master. A loop that cannot go on is no success: init returns -1.
 */
#include "check.h"
#include "framework.h"
#include "mln_core.h"
#include "mln_fork.h"
#include "processes.h"

#include <stdatomic.h>
#include <sys/mman.h>

enum { WORKERS = 4, HELLO = 3000, BREAK, STATUS_OF_MAIN = 33, DEAF_MS = 3000 };

static pid_t master, broken, pids[WORKERS * 2];
static int hellos, worker_processes;

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)buf;
    (void)len;
    (void)udata;
    CHECK(hellos < WORKERS * 2);
    pids[hellos++] = f->pid;
    if (hellos == WORKERS) { /* one worker breaks its own loop */
        broken = f->pid;
        CHECK_INT(mln_ipc_master_send_prepare(ev, BREAK, NULL, 0, f), 0);
    } else if (hellos == WORKERS + 1) { /* its successor */
        CHECK(f->pid != broken);
        mln_event_break_set(ev);
    }
}

static void break_worker(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK(getpid() != master);
    mln_event_break_set(ev);
}

static int prepare(void)
{
    configure_workers(WORKERS);
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(BREAK, NULL, break_worker, NULL, NULL) != NULL);
    return 0;
}

static void in_worker(mln_event_t *ev)
{
    CHECK(getpid() != master);
    ++worker_processes;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
}

static void sleep_on(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    sleep_ms(DEAF_MS);
}

/* One that does not listen does not hold up the master's end for long. */
static void in_deaf_worker(mln_event_t *ev)
{
    CHECK(mln_event_timer_set(ev, 20, NULL, sleep_on) != NULL);
}

static void stop(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

static void stop_soon(mln_event_t *ev)
{
    CHECK(mln_event_timer_set(ev, 200, NULL, stop) != NULL);
}

/* Takes from the loop what it waits with. */
static void close_poller(mln_event_t *ev, void *data)
{
    int closed = 0;

    (void)ev;
    (void)data;
    for (int fd = 3; fd < 256; ++fd)
        if (strcmp(descriptor_name(fd), "anon_inode:[eventpoll]") == 0)
            closed += close(fd) == 0;
    CHECK(closed >= 1);
}

static void close_soon(mln_event_t *ev)
{
    CHECK(mln_event_timer_set(ev, 200, NULL, close_poller) != NULL);
}

static atomic_int *failures; /* of workers, in shared memory */

static void stop_after_failures(mln_event_t *ev, void *data)
{
    if (atomic_load(failures) >= WORKERS)
        mln_event_break_set(ev);
    else
        CHECK(mln_event_timer_set(ev, 20, data, stop_after_failures) != NULL);
}

static void await_failures(mln_event_t *ev)
{
    stop_after_failures(ev, NULL);
}

/* What is the same in both eras. */
static void check_master(int result)
{
    CHECK_INT(result, 0);
    if (getpid() != master) { /* main goes on, in the worker whose loop was broken */
        CHECK_INT(worker_processes, 1);
        CHECK(mln_fork_master_connection_get()->sockfd >= 0);
        _exit(STATUS_OF_MAIN);
    }
    CHECK_INT(worker_processes, 0);
    CHECK_INT(hellos, WORKERS + 1);
    CHECK_INT(child_count(), 0);
    for (int i = 0; i < hellos; ++i)
        CHECK(!is_running(pids[i]));
}

static int run(const char *era, int argc, char **argv)
{
    master = getpid();
    mln_log_logger_set(NULL);
    if (strcmp(era, "today") == 0) {
        struct mln_framework_attr attr = {argc, argv, prepare, NULL, NULL, in_worker};
        check_master(mln_framework_init(&attr));
    } else if (strcmp(era, "seed") == 0) {
        struct mln_core_attr attr = {argc, argv, prepare, in_worker};
        check_master(mln_core_init(&attr));
    } else if (strcmp(era, "failing master") == 0) {
        struct mln_framework_attr attr = {argc, argv, prepare, NULL, close_soon, NULL};

        CHECK_INT(mln_framework_init(&attr), getpid() == master ? -1 : 0);
        CHECK_INT(child_count(), 0);
    } else if (strcmp(era, "failing worker") == 0) {
        struct mln_framework_attr attr = {argc, argv, prepare, NULL, await_failures, close_soon};
        int result;

        failures = mmap(NULL, sizeof *failures, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        CHECK(failures != MAP_FAILED);
        result = mln_framework_init(&attr);
        if (getpid() != master) {
            atomic_fetch_add(failures, result == -1);
            _exit(STATUS_OF_MAIN);
        }
        CHECK_INT(result, 0);
    } else {
        struct mln_framework_attr attr = {argc, argv, prepare, NULL, stop_soon, in_deaf_worker};
        long long begin = now_ms();

        CHECK_INT(mln_framework_init(&attr), 0);
        CHECK_INT(getpid(), master);
        CHECK(now_ms() - begin < DEAF_MS);
        CHECK_INT(child_count(), 0);
    }
    remove_log();
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return run(argv[1], argc, argv);
    run_self("today");
    run_self("seed");
    run_self("deaf");
    run_self("failing master");
    run_self("failing worker");
    return 0;
}
