/*
 * What the keys worker_* of the configuration ask for: workers that are not ready in time, or hang, are ended with a core
 * dump's signal and replaced, healthy ones are left alone, and too many failures end the group.
 */
#include "ipc.h"

#include "framework.h"
#include "processes.h"
#include "scratch.h"

#include <sys/mman.h>
#include <sys/resource.h>

enum { HELLO = 3000, HANG, TIMEOUT_MS = 400, LIMIT = 3 };

static const char *mode;
static pid_t master;
static int *starts; /* shared by all processes */
static int hellos;
static pid_t greeter;

static int is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void break_it(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

static void on_hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)buf;
    (void)len;
    (void)udata;
    ++hellos;
    greeter = f->pid;
    if (is("unready")) {
        mln_event_break_set(ev); /* the second worker: the first never came so far */
    } else if (is("hung") && hellos == 1) {
        CHECK_INT(mln_ipc_master_send_prepare(ev, HANG, NULL, 0, f), 0);
    } else if (!is("talking") || hellos == 1) { /* it is healthy, and idle from now on */
        if (is("stopped")) {
            const char *const words[] = {"continue", NULL};

            (void)start_self(words);
            CHECK_INT(raise(SIGSTOP), 0);
        }
        CHECK(mln_event_timer_set(ev, 4 * TIMEOUT_MS, NULL, break_it) != NULL);
    }
}

static void on_hang(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
    for (;;)
        pause();
}

static int prepare(void)
{
    configure_workers(1);
    configure_number("worker_backoff_min", 1);
    configure_number("worker_backoff_max", 2);
    if (is("unready"))
        configure_number("worker_start_timeout", TIMEOUT_MS);
    else if (is("limit"))
        configure_number("worker_failure_limit", LIMIT);
    else
        configure_number("worker_heartbeat", TIMEOUT_MS);
    CHECK(mln_ipc_handler_register(HELLO, on_hello, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(HANG, NULL, on_hang, NULL, NULL) != NULL);
    return 0;
}

/* Every message is a sign of life, whoever receives it in the master. */
__attribute__((noreturn)) static void talk(void)
{
    int fd = mln_fork_master_connection_get()->sockfd;
    char byte;

    while (recv(fd, &byte, 1, MSG_DONTWAIT) < 0) {
        write_frame(fd, HELLO, NULL, 0);
        sleep_ms(TIMEOUT_MS / 8);
    }
    _exit(0);
}

static void in_worker(mln_event_t *ev)
{
    const struct rlimit no_core = {0, 0};
    int number = __atomic_add_fetch(starts, 1, __ATOMIC_SEQ_CST);

    CHECK_INT(setrlimit(RLIMIT_CORE, &no_core), 0);
    if (is("limit"))
        _exit(7);
    if (is("unready") && number == 1)
        for (;;)
            pause();
    if (is("talking"))
        talk();
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
}

static int run(void)
{
    static const char *const log = "logs/test.log";
    char *argv[] = {(char *)"test", NULL};
    struct mln_framework_attr attr = {1, argv, prepare, NULL, NULL, in_worker};

    master = getpid();
    starts = mmap(NULL, sizeof *starts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(starts != MAP_FAILED);
    CHECK_INT(mln_framework_init(&attr), is("limit") ? -1 : 0);
    CHECK_INT(getpid(), master);
    if (is("limit")) {
        CHECK_INT(*starts, LIMIT + 1);
        scratch_expect_part(log, "more than 3 in 1m0s");
        scratch_expect_part(log, "exited with status 7");
    } else if (is("unready") || is("hung")) {
        CHECK_INT(*starts, 2);
        scratch_expect_part(log, is("hung") ? "has given no sign of life" : "is not ready after");
        scratch_expect_part(log, "was killed by signal 6");
    } else {
        CHECK_INT(*starts, 1);
    }
    while (is("stopped") && wait(NULL) > 0)
        ;
    CHECK_INT(child_count(), 0);
    remove_log();
    return 0;
}

int main(int argc, char *argv[])
{
    mode = argc == 1 ? "" : argv[1];
    if (is("continue")) { /* the master, after some time in which nobody read what the worker has to say */
        sleep_ms(3 * TIMEOUT_MS);
        return kill(getppid(), SIGCONT);
    }
    if (argc > 1)
        return run();
    run_self("unready");
    run_self("hung");
    run_self("healthy");
    run_self("talking");
    run_self("stopped");
    run_self("limit");
    return 0;
}
