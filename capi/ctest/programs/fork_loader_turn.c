/*
 * Two threads prepare forks, one of them with the dynamic loader's lock, as a constructor of a library that the program loads has it: the
 * other one, which came first, needs that. The one with the lock is told EDEADLK in time, unless it came first.
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_int inside, begun;

static int prepare_inside(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info;
    (void)size;
    (void)data;
    atomic_store(&inside, 1);
    while (!atomic_load(&begun))
        usleep(1000);
    sleep_ms(300);
    if (mln_fork_prepare() != 0)
        CHECK_INT(errno, EDEADLK);
    return 1;
}

static void *be_inside(void *unused)
{
    CHECK_INT(dl_iterate_phdr(prepare_inside, NULL), 1);
    return unused;
}

int main(void)
{
    pthread_t thread;
    int result;

    alarm(25 * (unsigned)check_slowness());
    mln_log_logger_set(NULL);
    CHECK_INT(pthread_create(&thread, NULL, be_inside, NULL), 0);
    while (!atomic_load(&inside))
        usleep(1000);
    atomic_store(&begun, 1);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((result = mln_fork_restart(NULL)) >= 0);
    if (result == 0)
        _exit(0);
    CHECK_INT(await_status(-1), 0);
    return 0;
}
