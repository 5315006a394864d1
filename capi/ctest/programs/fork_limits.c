/*
 * Out of processes, descriptors or address space: the fork fails with -1 in the parent and a line in the log, nothing is
 * left behind, and it works again as soon as there is room.
 */
#include "scratch.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <sys/resource.h>

enum { HELLO = 3000, ACCOUNT = 54321 };

static int log_text = -1; /* what went to standard error, to be read: by path the account may not reach it */
static mln_event_t *loop;
static int hellos;

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
    ++hellos;
    mln_event_break_set(ev);
}

static int fork_worker(void)
{
    int result = mln_fork_restart(loop);

    if (result == 0) {
        mln_event_t *own = mln_event_new();

        CHECK(own != NULL);
        mln_fork_worker_events_set(own);
        CHECK_INT(mln_ipc_worker_send_prepare(own, HELLO, NULL, 0), 0);
        mln_event_dispatch(own);
        _exit(2);
    }
    return result;
}

static void fork_good_worker(void)
{
    int before = hellos;

    CHECK_INT(fork_worker(), 1);
    mln_event_dispatch(loop);
    mln_event_break_reset(loop);
    CHECK_INT(hellos, before + 1);
}

static int count(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)f;
    ++*(int *)data;
    return 0;
}

static int worker_count(void)
{
    int n = 0;

    CHECK_INT(mln_fork_iterate(loop, count, &n), 0);
    return n;
}

/* With the limit a fork of either kind fails a few times; without it, it works. */
static void run_out_of(__rlimit_resource_t what, rlim_t left, int error_number, const char *complaint)
{
    struct rlimit enough, little;
    int descriptors, children, workers;
    char said[4096] = "";

    fork_good_worker();
    fork_good_worker();
    CHECK_INT(getrlimit(what, &enough), 0);
    little = enough;
    little.rlim_cur = left;
    descriptors = fd_count();
    children = child_count();
    workers = worker_count();
    CHECK_INT(ftruncate(log_text, 0), 0);
    for (int i = 0; i < 5; ++i) {
        mln_s8ptr_t *args = malloc(sizeof *args);
        int result, error_then;

        CHECK(args != NULL);
        args[0] = (mln_s8ptr_t) "/bin/true";
        CHECK_INT(setrlimit(what, &little), 0);
        errno = 0;
        result = fork_worker();
        error_then = errno;
        if (what != RLIMIT_AS) /* exec'ed workers need none */
            CHECK_INT(mln_fork_spawn(M_PST_DFL, args, 1, loop), -1);
        CHECK_INT(setrlimit(what, &enough), 0);
        CHECK_INT(result, -1);
        CHECK_INT(error_then, error_number);
        free(args); /* it is the caller's when nothing was started */
    }
    CHECK(pread(log_text, said, sizeof said - 1, 0) > 0);
    CHECK(strstr(said, complaint) != NULL);
    CHECK_INT(fd_count(), descriptors);
    CHECK_INT(child_count(), children);
    CHECK_INT(worker_count(), workers);
    fork_good_worker();
}

static rlim_t address_space(void)
{
    return (rlim_t)status_number(0, "VmSize", 10) << 10;
}

static void run(const char *part, const char *log_path)
{
    scratch_catch_stderr(log_path);
    CHECK((log_text = open(log_path, O_RDWR | O_CLOEXEC)) >= 0);
    if (strcmp(part, "processes") == 0 && geteuid() == 0) { /* there is no limit for root */
        CHECK_INT(setresgid(ACCOUNT, ACCOUNT, ACCOUNT), 0);
        CHECK_INT(setresuid(ACCOUNT, ACCOUNT, ACCOUNT), 0);
    }
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((loop = mln_event_new()) != NULL);
    if (strcmp(part, "processes") == 0)
        run_out_of(RLIMIT_NPROC, 1, EAGAIN, "cannot fork a worker: Resource temporarily unavailable");
    else if (strcmp(part, "descriptors") == 0)
        run_out_of(RLIMIT_NOFILE, 5, EMFILE, "cannot fork a worker: Too many open files");
    else
        run_out_of(RLIMIT_AS, address_space() + (64 << 20), ENOMEM, "MiB of address space");
}

int main(int argc, char **argv)
{
    static const char *const parts[] = {"processes", "descriptors", "address space"};

    if (argc == 3) {
        run(argv[1], argv[2]);
        return 0;
    }
    scratch_make();
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
        const char *const words[] = {parts[i], scratch_path("stderr"), NULL};

        CHECK_INT(await_status(start_self(words)), 0);
    }
    return 0;
}
