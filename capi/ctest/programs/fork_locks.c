/*
 * A fork while another thread is inside of a lock of the library: the child has none that is taken, and its lists are whole.
 * The thread stays in every lock for a while, so that forks meet it there.
 */
#include "check.h"
#include "events.h"
#include "processes.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>

enum { FORKS = 20, STAY_US = 500 };

static __thread int slow; /* this thread takes its time */
static atomic_int over, rounds;

/* In place of the C library's. */
int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    static int (*unlock)(pthread_mutex_t *);

    if (unlock == NULL) {
        void *found = dlsym(RTLD_NEXT, "pthread_mutex_unlock");

        CHECK(found != NULL);
        memcpy(&unlock, &found, sizeof unlock);
    }
    if (slow)
        usleep(STAY_US);
    return unlock(mutex);
}

static void on_signal(mln_event_t *ev, int signo, void *data)
{
    (void)ev;
    (void)signo;
    (void)data;
}

static void *use_loops(void *unused)
{
    slow = 1;
    while (!atomic_load(&over)) {
        mln_event_t *ev = new_loop();

        CHECK_INT(mln_event_set_signal(ev, M_EV_SET, SIGUSR1, NULL, on_signal), 0);
        mln_event_callback_set(ev, count_timer, &rounds);
        CHECK_INT(mln_event_set_signal(ev, M_EV_UNSET, SIGUSR1, NULL, on_signal), 0);
        mln_event_free(ev);
        atomic_fetch_add(&rounds, 1);
    }
    return unused;
}

/* Everything that takes the locks. */
static void be_child(void)
{
    mln_event_t *one = new_loop(), *other = new_loop();
    int calls = 0;

    CHECK_INT(mln_event_set_signal(one, M_EV_SET, SIGUSR1, NULL, on_signal), 0);
    CHECK(mln_event_timer_set(other, 1, &calls, count_timer) != NULL);
    run_for(other, 5);
    CHECK_INT(calls, 1);
    mln_event_free(one);
    mln_event_free(other);
    _exit(0);
}

int main(void)
{
    pthread_t thread;
    pid_t pid;

    mln_event_free(new_loop());
    CHECK_INT(pthread_create(&thread, NULL, use_loops, NULL), 0);
    while (atomic_load(&rounds) == 0)
        usleep(100);
    for (int i = 0; i < FORKS; ++i) {
        CHECK((pid = fork()) >= 0);
        if (pid == 0) {
            alarm(10); /* a lock that nobody gives back */
            be_child();
        }
        CHECK_INT(await_status(pid), 0);
        usleep((useconds_t)i * 97 % 1000);
    }
    atomic_store(&over, 1);
    CHECK_INT(pthread_join(thread, NULL), 0);
    return 0;
}
