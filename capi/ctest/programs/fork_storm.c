/*
 * Two thousand forks (or FORKS) from inside the running loop of a master with busy threads, and none fails or leaves anything
 * behind. One half of the workers use the engine, and so start one of their own; the others read and write by themselves.
 * deadline: 600s
 */
#include "ipc.h"

#include "framework.h"
#include "processes.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

/* In a round each of these workers is forked, answers, is ended, and its successor answers as well. */
enum { WORKERS = 20, ROUND = 2 * WORKERS, FORKS = 2000, THREADS = 4, GREETING = 3000, QUESTION, ANSWER };

static pid_t master;
static int forked, answered_once, answers, ticks;
static atomic_int stop;
static atomic_long busy_work;

/* What a thread of a program does all the time; its locks may be held at any fork. */
static void *keep_busy(void *arg)
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
        atomic_fetch_add(&busy_work, 1);
        usleep(500);
    }
    fclose(null);
    return NULL;
}

static void greeted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    CHECK_INT(len, sizeof(pid_t));
    CHECK_INT(*(pid_t *)buf, ((mln_fork_t *)f_ptr)->pid);
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
    if (++answers == 2 * WORKERS) {
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
    return 0;
}

static void in_master(mln_event_t *ev)
{
    forked = answered_once = answers = 0;
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

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, in_master, in_worker};
    int descriptors = 0, threads = 0, forks = getenv("FORKS") != NULL ? atoi(getenv("FORKS")) : FORKS;
    int rounds = (forks + ROUND - 1) / ROUND;
    pthread_t busy[THREADS];

    master = getpid();
    mln_log_logger_set(NULL); /* it would say each time that a worker was killed */
    CHECK(mln_ipc_handler_register(GREETING, greeted, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(QUESTION, NULL, asked, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(ANSWER, answered, NULL, NULL, NULL) != NULL);
    for (long i = 0; i < THREADS; ++i)
        CHECK_INT(pthread_create(&busy[i], NULL, keep_busy, (void *)i), 0);
    for (int round = 0; round < rounds; ++round) {
        CHECK_INT(mln_framework_init(&attr), 0);
        CHECK_INT(getpid(), master);
        CHECK_INT(answers, 2 * WORKERS);
        CHECK_INT(child_count(), 0);
        if (round == 1) { /* Go's runtime starts a thread or two more when it first needs them */
            descriptors = fd_count();
            threads = thread_count();
        }
    }
    CHECK(ticks >= rounds * WORKERS);
    CHECK(atomic_load(&busy_work) > rounds);
    atomic_store(&stop, 1);
    CHECK(thread_count() <= threads + 2);
    for (int i = 0; i < THREADS; ++i)
        CHECK_INT(pthread_join(busy[i], NULL), 0);
    CHECK(fd_count() <= descriptors);
    remove_log();
    return 0;
}
