/*
 * A program may put every signal back to its default, or handle every one: its loop works, and no signal comes that nobody has sent.
 */
#include "check.h"
#include "events.h"

#include <signal.h>

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

int main(void)
{
    sleep((unsigned)check_slowness()); /* the runtime's first threads have started */
    set_all(stray);
    run_loop();
    CHECK_INT(strays, 0);
    set_all(SIG_DFL);
    run_loop();
    return 0;
}
