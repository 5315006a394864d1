/*
 * Out of processes, descriptors or address space: the fork fails with -1 in the parent and a line in the log, nothing is
 * left behind, and it works again as soon as there is room. Where there is room for a worker, but not for the threads of its
 * engine, it ends, and the parent starts no other one before there is, and says why. The parent itself waits for a thread.
 */
#include "scratch.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <pthread.h>
#include <sys/resource.h>

enum { HELLO = 3000, FIRST_ACCOUNT = 100000 };

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

/* In a worker, whose engine has started. */
static void greet(mln_event_t *own, void *data)
{
    (void)data;
    CHECK_INT(mln_ipc_worker_send_prepare(own, HELLO, NULL, 0), 0);
}

static void work(void)
{
    mln_event_t *own = mln_event_new();

    CHECK(own != NULL);
    mln_fork_worker_events_set(own);
    CHECK(mln_event_timer_set(own, 1, NULL, greet) != NULL);
    mln_event_dispatch(own);
    _exit(2);
}

static int fork_worker(void)
{
    int result = mln_fork_restart(loop);

    if (result == 0)
        work();
    return result;
}

/* What comes back may also be a worker that takes the place of another. */
static void dispatch(void)
{
    pid_t self = getpid();

    mln_event_dispatch(loop);
    if (getpid() != self)
        work();
    mln_event_break_reset(loop);
}

static void fork_good_worker(void)
{
    int before = hellos;

    CHECK_INT(fork_worker(), 1);
    dispatch();
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

static void *nothing(void *unused)
{
    return unused;
}

static int may_start_a_thread(rlim_t limit)
{
    struct rlimit before, now;
    pthread_t thread;
    int result;

    CHECK_INT(getrlimit(RLIMIT_NPROC, &before), 0);
    now = before;
    now.rlim_cur = limit;
    CHECK_INT(setrlimit(RLIMIT_NPROC, &now), 0);
    result = pthread_create(&thread, NULL, nothing, NULL);
    CHECK_INT(setrlimit(RLIMIT_NPROC, &before), 0);
    if (result == 0) {
        CHECK_INT(pthread_join(thread, NULL), 0);
        sleep_ms(10); /* it counts for another moment */
    }
    return result == 0;
}

/* How many processes and threads the account has. */
static rlim_t tasks(void)
{
    rlim_t low = 0, high = 1;

    while (!may_start_a_thread(high))
        low = high, high *= 2;
    while (high - low > 1) {
        rlim_t middle = low + (high - low) / 2;

        if (may_start_a_thread(middle))
            high = middle;
        else
            low = middle;
    }
    return low;
}

static char said[1 << 16];

static int times_said(const char *what)
{
    ssize_t n = pread(log_text, said, sizeof said - 1, 0);
    int times = 0;

    CHECK(n >= 0);
    said[n] = '\0';
    for (const char *at = said; (at = strstr(at, what)) != NULL; ++at)
        ++times;
    return times;
}

static void await_refusal(mln_event_t *ev, void *data)
{
    if (times_said("cannot start a worker again: it needs 6 threads, for which there is no room") > 1)
        mln_event_break_set(ev);
    else
        CHECK(mln_event_timer_set(ev, 10, data, await_refusal) != NULL);
}

static void *give(void *limit)
{
    sleep_ms(1000);
    CHECK_INT(setrlimit(RLIMIT_NPROC, limit), 0);
    return NULL;
}

static void *use_engine(void *unused)
{
    for (int i = 0; i < 5000; ++i)
        mln_event_free(mln_event_new());
    return unused;
}

static void run_out_of_threads(void)
{
    static const struct rlimit no_core = {0, 0};
    struct rlimit enough, little;
    pthread_t giver, users[8];
    int workers = worker_count(), before = hellos;

    CHECK_INT(setrlimit(RLIMIT_CORE, &no_core), 0);
    CHECK_INT(getrlimit(RLIMIT_NPROC, &enough), 0);
    little = enough;
    little.rlim_cur = tasks() + 2;
    CHECK_INT(setrlimit(RLIMIT_NPROC, &little), 0);
    CHECK_INT(fork_worker(), 1);
    CHECK(mln_event_timer_set(loop, 10, NULL, await_refusal) != NULL);
    dispatch();
    CHECK(times_said("this process tries it again for a moment") > 0);
    CHECK_INT(times_said("was killed by signal 6"), 1);
    CHECK_INT(child_count(), 0);
    CHECK_INT(hellos, before);
    CHECK_INT(setrlimit(RLIMIT_NPROC, &enough), 0);
    dispatch();
    CHECK_INT(hellos, before + 1);
    CHECK_INT(worker_count(), workers + 1);

    /* Threads that use the engine at the same time, and what collects garbage, need some. */
    for (int i = 0; i < 8; ++i)
        CHECK_INT(pthread_create(&users[i], NULL, use_engine, NULL), 0);
    CHECK_INT(pthread_create(&giver, NULL, give, &enough), 0);
    little.rlim_cur = 1;
    CHECK_INT(setrlimit(RLIMIT_NPROC, &little), 0);
    for (int i = 0; i < 8; ++i)
        CHECK_INT(pthread_join(users[i], NULL), 0);
    CHECK_INT(pthread_join(giver, NULL), 0);
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
    if ((strcmp(part, "processes") == 0 || strcmp(part, "threads") == 0) && geteuid() == 0) { /* there is no limit for root */
        uid_t account = FIRST_ACCOUNT + (uid_t)getpid(); /* one that has nothing else */

        CHECK_INT(setresgid(account, account, account), 0);
        CHECK_INT(setresuid(account, account, account), 0);
    }
    CHECK(mln_ipc_handler_register(HELLO, greeted, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((loop = mln_event_new()) != NULL);
    if (strcmp(part, "processes") == 0)
        run_out_of(RLIMIT_NPROC, 1, EAGAIN, "cannot fork a worker: Resource temporarily unavailable");
    else if (strcmp(part, "threads") == 0)
        run_out_of_threads();
    else if (strcmp(part, "descriptors") == 0)
        run_out_of(RLIMIT_NOFILE, 5, EMFILE, "cannot fork a worker: Too many open files");
    else
        run_out_of(RLIMIT_AS, address_space() + (64 << 20), ENOMEM, "MiB of address space");
}

int main(int argc, char **argv)
{
    static const char *const parts[] = {"processes", "threads", "descriptors", "address space"};

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
