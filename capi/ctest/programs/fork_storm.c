/*
 * Two thousand forks (or FORKS) from inside the running loop of a master whose threads are busy all the time, in the C library
 * and in the engine, whose garbage is collected all the time; none fails or leaves anything behind, and no worker ends that was not
 * made to. One half of the workers use the engine, and so start one of their own; the others read and write by themselves.
 * deadline: 600s
 */
#include "ipc.h"

#include "framework.h"
#include "processes.h"
#include "scratch.h"

#include <pthread.h>
#include <stdatomic.h>

/* In a round each of these workers is forked, answers, is ended, and its successor answers as well. */
enum { WORKERS = 20, ROUND = 2 * WORKERS, FORKS = 2000, THREADS = 2, GREETING = 3000, QUESTION, ANSWER };

/* What the master holds between two rounds. */
struct holding {
    int descriptors, threads, mappings;
    long resident;   /* KiB */
    int collections; /* of garbage, so far */
};

static pid_t master, greeters[ROUND];
static int forked, greetings, answered_once, answers, ticks;
static int collections; /* of garbage, by the master's Go runtime */
static atomic_int stop, calm;
static pthread_barrier_t calming; /* the master and the thread that uses the engine */
static atomic_long work_in_c, work_in_engine;

/* What a thread of a program does all the time; its locks may be held at any fork. */
static void *use_c_library(void *arg)
{
    FILE *null = fopen("/dev/null", "w");
    unsigned seed = (unsigned)(long)arg + 1;

    CHECK(null != NULL);
    while (!atomic_load(&stop)) {
        void *blocks[16];

        for (int i = 0; i < 16; ++i) {
            blocks[i] = malloc((size_t)rand_r(&seed) % 5000 + 1);
            CHECK(blocks[i] != NULL);
            fprintf(null, "%p %d\n", blocks[i], i);
        }
        for (int i = 0; i < 16; ++i)
            free(blocks[i]);
        fflush(null);
        atomic_fetch_add(&work_in_c, 1);
    }
    fclose(null);
    return NULL;
}

static void never(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    CHECK(!"a timer that was cancelled went off");
}

/* Go code runs, allocates and collects its garbage, a loop after the other, and its locks may be held at any fork, too. */
static void *use_engine(void *arg)
{
    mln_event_t *ev = mln_event_new();

    (void)arg;
    CHECK(ev != NULL);
    while (!atomic_load(&stop)) {
        mln_event_timer_t *timers[16];

        for (int i = 0; i < 16; ++i)
            CHECK((timers[i] = mln_event_timer_set(ev, 3600000, NULL, never)) != NULL);
        for (int i = 0; i < 16; ++i)
            mln_event_timer_cancel(ev, timers[i]);
        mln_event_free(mln_event_new());
        if (atomic_load(&calm)) {
            pthread_barrier_wait(&calming);
            pthread_barrier_wait(&calming);
        }
        atomic_fetch_add(&work_in_engine, 1);
    }
    mln_event_free(ev);
    return NULL;
}

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    CHECK_INT(len, sizeof(pid_t));
    CHECK_INT(*(pid_t *)buf, ((mln_fork_t *)f_ptr)->pid);
    CHECK(greetings < ROUND);
    for (int i = 0; i < greetings; ++i)
        CHECK(greeters[i] != *(pid_t *)buf);
    greeters[greetings++] = *(pid_t *)buf;
    CHECK_INT(mln_ipc_master_send_prepare(ev, QUESTION, buf, len, (mln_fork_t *)f_ptr), 0);
}

static void asked(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)udata;
    CHECK_INT(len, sizeof(pid_t));
    CHECK_INT(*(pid_t *)buf, getpid());
    CHECK_INT(mln_ipc_worker_send_prepare(ev, ANSWER, buf, len), 0);
}

static void answered(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)udata;
    CHECK_INT(getpid(), master);
    CHECK_INT(len, sizeof(pid_t));
    CHECK_INT(*(pid_t *)buf, f->pid);
    if (++answers == ROUND) {
        mln_event_break_set(ev);
        return;
    }
    if (answered_once++ >= WORKERS)
        return;
    if (answered_once % 2 == 0)
        mln_socketpair_close_handler(ev, f, mln_tcp_conn_fd_get(&f->conn));
    else
        CHECK_INT(kill(f->pid, SIGKILL), 0);
}

static void tick(mln_event_t *ev, void *data)
{
    (void)data;
    ++ticks;
    if (forked < WORKERS) {
        int result = mln_fork_restart(ev);

        if (result == 0)
            return;
        CHECK_INT(result, 1);
        ++forked;
    }
    CHECK(mln_event_timer_set(ev, 1, NULL, tick) != NULL);
}

static int prepare(void)
{
    configure_workers(0);
    configure_number("worker_drain_timeout", 60000); /* a busy host must not make it end one by a signal */
    return 0;
}

static void in_master(mln_event_t *ev)
{
    forked = greetings = answered_once = answers = 0;
    tick(ev, NULL);
}

/* A worker that never needs the engine. */
__attribute__((noreturn)) static void work_alone(pid_t self)
{
    int fd = mln_fork_master_connection_get()->sockfd;
    uint32_t header[2];

    CHECK_INT(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
    write_frame(fd, GREETING, &self, sizeof self);
    if (read_bytes(fd, header, sizeof header) && read_bytes(fd, &self, sizeof self)) {
        CHECK_INT(header[0], 4 + sizeof self);
        CHECK_INT(header[1], QUESTION);
        CHECK_INT(self, getpid());
        write_frame(fd, ANSWER, &self, sizeof self);
        await_end(fd);
    }
    _exit(0);
}

static void in_worker(mln_event_t *ev)
{
    pid_t self = getpid();

    CHECK(self != master);
    if (self % 2 == 0)
        work_alone(self);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, GREETING, &self, sizeof self), 0);
}

/* A worker that ends by itself is replaced like one that was killed, and the group is complete all the same: the log tells. */
static void check_log(const char *path)
{
    static const struct {
        const char *text;
        int times;
    } expected[] = {
        {"was killed by signal 9 ", WORKERS / 2}, {"was killed by signal ", WORKERS / 2}, {"exited with status ", WORKERS / 2},
        {" takes its place", WORKERS}, {"ERROR", 0},
    };

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; ++i) {
        int times = scratch_count(path, expected[i].text);

        if (times != expected[i].times)
            fprintf(stderr, "the log says \"%s\" %d times, and %d are expected:\n%s", expected[i].text, times, expected[i].times,
                    scratch_read(path));
        CHECK_INT(times, expected[i].times);
    }
    collections += scratch_count(path, " ms clock, "); /* each has its line */
    CHECK_INT(truncate(path, 0), 0); /* there may be a million forks */
    CHECK_INT(truncate("logs/test.log", 0), 0);
}

/* While the other thread has its one loop, no more and no less. */
static struct holding measure(void)
{
    struct holding now;

    atomic_store(&calm, 1);
    pthread_barrier_wait(&calming);
    now = (struct holding){fd_count(), thread_count(), mapping_count(""), memory_kib("VmRSS"), collections};
    atomic_store(&calm, 0);
    pthread_barrier_wait(&calming);
    return now;
}

static void show(int rounds, const struct holding *h)
{
    printf("after %d rounds: %d collections, %d descriptors, %d threads, %d mappings, %ld KiB\n", rounds, h->collections,
           h->descriptors, h->threads, h->mappings, h->resident);
}

int main(int argc, char **argv)
{
    static void *(*const keep_busy[])(void *) = {use_c_library, use_engine};
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, in_master, in_worker};
    int forks = getenv("FORKS") != NULL ? atoi(getenv("FORKS")) : FORKS, rounds = (forks + ROUND - 1) / ROUND;
    int settled = rounds < 20 ? 5 : rounds / 4; /* the round by which heaps, of Go and C, have grown to what they need */
    struct holding before = {0}, after = {0};
    pthread_t busy[THREADS];
    char *path;

    if (getenv("GOGC") == NULL) { /* both are read by the runtime when it starts, and are for the master's alone */
        CHECK_INT(setenv("GOGC", "1", 1), 0);
        CHECK_INT(setenv("GODEBUG", "gctrace=1", 1), 0);
        CHECK_INT(execv("/proc/self/exe", argv), 0);
    }
    CHECK_INT(unsetenv("GOGC"), 0);
    CHECK_INT(unsetenv("GODEBUG"), 0);
    master = getpid();
    scratch_make();
    path = scratch_path("stderr");
    scratch_catch_stderr(path);
    CHECK(mln_ipc_handler_register(GREETING, greeted, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(QUESTION, NULL, asked, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(ANSWER, answered, NULL, NULL, NULL) != NULL);
    CHECK_INT(pthread_barrier_init(&calming, NULL, 2), 0);
    for (long i = 0; i < THREADS; ++i)
        CHECK_INT(pthread_create(&busy[i], NULL, keep_busy[i % 2], (void *)i), 0);
    for (int round = 0; round < rounds; ++round) {
        CHECK_INT(mln_framework_init(&attr), 0);
        CHECK_INT(getpid(), master);
        CHECK_INT(answers, ROUND);
        CHECK_INT(greetings, ROUND);
        CHECK_INT(child_count(), 0);
        check_log(path);
        after = measure();
        if (round <= settled)
            before = after;
    }
    CHECK(ticks >= rounds * WORKERS);
    CHECK(atomic_load(&work_in_c) > rounds);
    CHECK(atomic_load(&work_in_engine) > rounds);
    CHECK(after.collections - before.collections >= rounds - settled);
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; ++i)
        CHECK_INT(pthread_join(busy[i], NULL), 0);
    show(settled + 1, &before);
    show(rounds, &after);
    CHECK(after.descriptors <= before.descriptors);
    CHECK(after.threads <= before.threads + 2); /* Go's runtime starts a thread or two more when it first needs them */
    CHECK(after.mappings <= before.mappings + 16); /* of which each has four; and the allocators of the C library and of Go move */
    CHECK(after.resident <= before.resident + 2048); /* Go's heap; 1,500 forks that lose 2 KiB each are seen */
    remove_log();
    return 0;
}
