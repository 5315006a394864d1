/*
 * A program that does not come to run, for the master's own hook in the child hangs, does not keep the master: it goes on after some
 * seconds, also where a signal arrives more often than that. It waits less for the next one.
 * deadline: 60s
 */
#include "ipc.h"
#include "processes.h"

#include <sys/time.h>

enum { ENDS = 4 };

static void hang(void *data)
{
    (void)data;
    for (;;)
        pause();
}

static void nothing(int signo)
{
    (void)signo;
}

static long long first_ms, last_tick, longest_gap;
static pid_t ended;
static int ends;

/* Ends each of its lives, and sees how long the loop is kept by the next. */
static void tick(mln_event_t *ev, void *data)
{
    long long now = now_ms();
    mln_fork_t *f = last_worker(ev);

    if (now - last_tick > longest_gap)
        longest_gap = now - last_tick;
    last_tick = now;
    if (f != NULL && f->pid != ended) {
        ended = f->pid;
        CHECK_INT(kill(ended, SIGKILL), 0);
        if (++ends == ENDS)
            mln_event_break_set(ev);
    }
    CHECK(mln_event_timer_set(ev, 5, data, tick) != NULL);
}

int main(void)
{
    static char program[] = "/bin/true";
    const struct itimerval often = {{0, 300000}, {0, 300000}}, never = {{0, 0}, {0, 0}};
    mln_s8ptr_t *args = calloc(3, sizeof *args); /* the library's from now on */
    mln_event_t *ev = become_master();

    CHECK(args != NULL);
    args[0] = program;
    mln_fork_resource_clear_handler_set(hang, NULL);
    CHECK(signal(SIGALRM, nothing) != SIG_ERR);
    CHECK_INT(setitimer(ITIMER_REAL, &often, NULL), 0);
    first_ms = -now_ms();
    CHECK_INT(mln_fork_spawn(M_PST_SUP, args, 1, ev), 0);
    first_ms += now_ms();
    CHECK_INT(setitimer(ITIMER_REAL, &never, NULL), 0);
    last_tick = now_ms();
    tick(ev, NULL);
    mln_event_dispatch(ev);
    CHECK(longest_gap < first_ms / 2);
    CHECK_INT(await_status(ended), 128 + SIGKILL);
    return 0;
}
