/*
 * A logger of the program's own with a mutex, which hooks hold around forks, as POSIX has it: threads log while others fork, and the
 * children log, too.
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <pthread.h>

enum { FORKS = 200 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char ring[4096];
static int over, lines;

static void write_ring(mln_log_t *log, mln_log_level_t level, const char *file, const char *func, int line, char *fmt, va_list args)
{
    (void)log;
    (void)level;
    (void)file;
    (void)func;
    (void)line;
    (void)fmt;
    (void)args;
    CHECK_INT(pthread_mutex_lock(&mutex), 0);
    memset(ring, 'x', sizeof ring);
    __atomic_fetch_add(&lines, 1, __ATOMIC_RELAXED);
    CHECK_INT(pthread_mutex_unlock(&mutex), 0);
}

static void lock(void)
{
    CHECK_INT(pthread_mutex_lock(&mutex), 0);
}

static void unlock(void)
{
    CHECK_INT(pthread_mutex_unlock(&mutex), 0);
}

static void *log_all_the_time(void *unused)
{
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED))
        mln_log(report, "line\n");
    return unused;
}

static void be_child(void)
{
    int before = lines;

    alarm(5 * (unsigned)check_slowness());
    mln_log(report, "line\n");
    CHECK_INT(lines, before + 1);
    _exit(0);
}

int main(void)
{
    pthread_t threads[2];
    int result;
    pid_t pid;

    CHECK_INT(pthread_atfork(lock, unlock, unlock), 0);
    mln_log_logger_set(write_ring);
    CHECK_INT(mln_fork_prepare(), 0);
    for (int i = 0; i < 2; ++i)
        CHECK_INT(pthread_create(&threads[i], NULL, log_all_the_time, NULL), 0);
    while (__atomic_load_n(&lines, __ATOMIC_RELAXED) == 0)
        usleep(100);
    for (int i = 0; i < FORKS; ++i) {
        CHECK((pid = fork()) >= 0);
        if (pid == 0)
            be_child();
        CHECK_INT(await_status(pid), 0);
    }
    CHECK((result = mln_fork_restart(NULL)) >= 0);
    if (result == 0)
        be_child();
    CHECK_INT(await_status(-1), 0);
    __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; ++i)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    return 0;
}
