/*
 * A program may put every signal back to its default, or handle every one: its loops work, and no signal comes that nobody has sent. What it
 * has set before it loads the library stays as it is.
 */
#include "check.h"
#include "events.h"

#include <pthread.h>
#include <signal.h>

enum { LAPS = 20000 };

static volatile sig_atomic_t strays;

static void stray(int signo)
{
    (void)signo;
    ++strays;
}

static void set_all(void (*disposition)(int))
{
    for (int signo = 1; signo < NSIG; ++signo)
        (void)signal(signo, disposition); /* some cannot be set */
}

static void run_loop(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK(mln_event_timer_set(ev, 20, NULL, stop) != NULL);
    mln_event_dispatch(ev);
    mln_event_free(ev);
}

/* What several threads with loops have the runtime do. */
static void *run_many_laps(void *data)
{
    mln_event_t *ev = mln_event_new();
    int left = LAPS;

    CHECK(ev != NULL);
    CHECK(mln_event_timer_set(ev, 0, &left, stop_after_laps) != NULL);
    mln_event_dispatch(ev);
    mln_event_free(ev);
    return data;
}

static void run_loops(void)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; ++i)
        CHECK_INT(pthread_create(&threads[i], NULL, run_many_laps, NULL), 0);
    for (int i = 0; i < 2; ++i)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
}

/* The linker runs it before the library's constructors. */
static void before_the_library(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = stray;
    (void)sigaction(SIGUSR1, &action, NULL);
}

__attribute__((section(".preinit_array"), used)) static void (*const first_of_all)(void) = before_the_library;

int main(void)
{
    struct sigaction now;

    CHECK_INT(sigaction(SIGUSR1, NULL, &now), 0);
    CHECK(now.sa_handler == stray);
    CHECK_INT(now.sa_flags & SA_ONSTACK, 0);
    sleep((unsigned)check_slowness()); /* the runtime's first threads have started */
    set_all(stray);
    run_loop();
    run_loops();
    CHECK_INT(strays, 0);
    set_all(SIG_DFL);
    run_loop();
    return 0;
}
