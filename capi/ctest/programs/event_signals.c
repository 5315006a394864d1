/*
 * Signals of mln_event_set_signal() are handled in loop context, by every handler of every loop, once for each delivery.
 */
#include "check.h"
#include "events.h"

#include <pthread.h>
#include <setjmp.h>
#include <sys/time.h>
#include <sys/wait.h>

static char trace[64];
static pthread_t dispatcher;

static int watch(mln_event_t *ev, int signo, void *data, ev_sig_handler handler)
{
    return mln_event_set_signal(ev, M_EV_SET, signo, data, handler);
}

static int unwatch(mln_event_t *ev, int signo, void *data, ev_sig_handler handler)
{
    return mln_event_set_signal(ev, M_EV_UNSET, signo, data, handler);
}

/* In signal context, the signal that is handled would be blocked. */
static void in_loop_context(int signo)
{
    sigset_t blocked;

    CHECK(pthread_equal(pthread_self(), dispatcher));
    CHECK_INT(pthread_sigmask(SIG_BLOCK, NULL, &blocked), 0);
    CHECK_INT(sigismember(&blocked, signo), 0);
}

static void note(mln_event_t *ev, int signo, void *data)
{
    (void)ev;
    in_loop_context(signo);
    CHECK(strlen(trace) + 1 < sizeof trace);
    strcat(trace, data);
}

static void count_signal(mln_event_t *ev, int signo, void *data)
{
    (void)ev;
    in_loop_context(signo);
    ++*(int *)data;
}

static void stop_at_third(mln_event_t *ev, int signo, void *data)
{
    (void)signo;
    if (++*(int *)data == 3)
        mln_event_set_break(ev);
}

static const char *calls_of(mln_event_t *ev)
{
    trace[0] = '\0';
    run_for(ev, 10);
    return trace;
}

static int has_default_disposition(int signo)
{
    struct sigaction now;

    CHECK_INT(sigaction(signo, NULL, &now), 0);
    return now.sa_handler == SIG_DFL;
}

static void several_handlers(mln_event_t *ev)
{
    CHECK_INT(watch(ev, SIGUSR1, "a", note), 0);
    CHECK_INT(watch(ev, SIGUSR1, "b", note), 0);
    CHECK_INT(watch(ev, SIGUSR2, "c", note), 0);
    CHECK_INT(watch(ev, SIGUSR1, "d", note), 0);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_STR(calls_of(ev), "abd");
    CHECK_INT(raise(SIGUSR2), 0);
    CHECK_STR(calls_of(ev), "c");
    CHECK_INT(unwatch(ev, SIGUSR1, "b", note), 0);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_STR(calls_of(ev), "ad");
    CHECK_INT(unwatch(ev, SIGUSR1, "a", note), 0);
    CHECK(!has_default_disposition(SIGUSR1));
    CHECK_INT(unwatch(ev, SIGUSR1, "d", note), 0);
    CHECK(has_default_disposition(SIGUSR1));
    CHECK(!has_default_disposition(SIGUSR2));
    CHECK_INT(unwatch(ev, SIGUSR2, "c", note), 0);
    CHECK(has_default_disposition(SIGUSR2));
}

static void each_delivery_counts(mln_event_t *ev)
{
    int calls = 0;

    CHECK_INT(watch(ev, SIGUSR1, &calls, count_signal), 0);
    for (int i = 0; i < 1000; ++i) /* each is delivered before raise returns */
        CHECK_INT(raise(SIGUSR1), 0);
    run_for(ev, 10);
    CHECK_INT(calls, 1000);
    CHECK_INT(unwatch(ev, SIGUSR1, &calls, count_signal), 0);

    /* A break in between leaves the others for the next dispatch. */
    calls = 0;
    CHECK_INT(watch(ev, SIGUSR1, &calls, stop_at_third), 0);
    for (int i = 0; i < 5; ++i)
        CHECK_INT(raise(SIGUSR1), 0);
    mln_event_dispatch(ev);
    CHECK_INT(calls, 3);
    run_for(ev, 10);
    CHECK_INT(calls, 5);
    CHECK_INT(unwatch(ev, SIGUSR1, &calls, stop_at_third), 0);
}

/* Sent by another process, one by one, each after the one before was handled: the loop is idle, and woken every time. */
static void acknowledge(mln_event_t *ev, int signo, void *data)
{
    in_loop_context(signo);
    put_byte(*(int *)data);
    (void)ev;
}

static void wakes_an_idle_loop(mln_event_t *ev)
{
    int done[2], left[2], status, ended = 0;
    char byte;
    pid_t child, loop = getpid();

    make_pipe(done);
    make_pipe(left);
    CHECK_INT(watch(ev, SIGUSR1, &done[1], acknowledge), 0);
    CHECK((child = fork()) >= 0);
    if (child == 0) {
        close(done[1]); /* if the parent dies, that is end of file here */
        for (int i = 0; i < 200; ++i)
            if (kill(loop, SIGUSR1) != 0 || read(done[0], &byte, 1) != 1)
                _exit(1);
        _exit(0);
    }
    close(left[1]);
    CHECK_INT(mln_event_fd_set(ev, left[0], M_EV_RECV | M_EV_ONESHOT, M_EV_UNLIMITED, &ended, count), 0);
    while (!ended)
        run_for(ev, 5);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    CHECK_INT(unwatch(ev, SIGUSR1, &done[1], acknowledge), 0);
    CHECK_INT(mln_event_fd_set(ev, left[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close(left[0]);
    close_both(done);
}

static void several_loops(mln_event_t *ev)
{
    mln_event_t *other = mln_event_init(0);
    int calls = 0, other_calls = 0;

    CHECK(other != NULL);
    CHECK_INT(watch(ev, SIGUSR1, &calls, count_signal), 0);
    CHECK_INT(watch(other, SIGUSR1, &other_calls, count_signal), 0);
    for (int i = 0; i < 3; ++i)
        CHECK_INT(raise(SIGUSR1), 0);
    run_for(ev, 10);
    CHECK_INT(calls, 3);
    CHECK_INT(other_calls, 0);
    run_for(other, 10);
    CHECK_INT(other_calls, 3);
    mln_event_free(other);
    CHECK(!has_default_disposition(SIGUSR1));
    CHECK_INT(raise(SIGUSR1), 0);
    run_for(ev, 10);
    CHECK_INT(calls, 4);
    CHECK_INT(unwatch(ev, SIGUSR1, &calls, count_signal), 0);
    CHECK(has_default_disposition(SIGUSR1));
}

static void change_handlers(mln_event_t *ev, int signo, void *data)
{
    note(ev, signo, data);
    CHECK_INT(unwatch(ev, signo, data, change_handlers), 0);
    CHECK_INT(unwatch(ev, signo, "y", note), 0);
    CHECK_INT(watch(ev, signo, "z", note), 0);
}

/* As one that is to be called once, and is set again for the next time. */
static void add_again(mln_event_t *ev, int signo, void *data)
{
    note(ev, signo, data);
    CHECK_INT(unwatch(ev, signo, data, add_again), 0);
    CHECK_INT(watch(ev, signo, data, add_again), 0);
}

static void handlers_change_handlers(mln_event_t *ev)
{
    CHECK_INT(watch(ev, SIGUSR1, "x", change_handlers), 0);
    CHECK_INT(watch(ev, SIGUSR1, "y", note), 0);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_STR(calls_of(ev), "x"); /* what is added hears of the next */
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_STR(calls_of(ev), "z");
    CHECK_INT(unwatch(ev, SIGUSR1, "z", note), 0);
    CHECK_INT(watch(ev, SIGUSR1, "r", add_again), 0);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_STR(calls_of(ev), "r");
    CHECK_INT(unwatch(ev, SIGUSR1, "r", add_again), 0);
    CHECK(has_default_disposition(SIGUSR1));
}

static void bad_calls(mln_event_t *ev)
{
    static const struct {
        mln_u32_t flag;
        int signo, error;
    } bad[] = {{M_EV_RECV, SIGUSR1, EINVAL}, {M_EV_SET | M_EV_UNSET, SIGUSR1, EINVAL}, {0, SIGUSR1, EINVAL},
               {M_EV_SET, 0, EINVAL},        {M_EV_SET, -1, EINVAL},                   {M_EV_SET, NSIG, EINVAL},
               {M_EV_SET, SIGKILL, EINVAL},  {M_EV_SET, SIGSTOP, EINVAL},              {M_EV_UNSET, SIGUSR1, ENOENT}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        errno = 0;
        CHECK_INT(mln_event_set_signal(ev, bad[i].flag, bad[i].signo, "a", note), -1);
        CHECK_INT(errno, bad[i].error);
    }
    CHECK_INT(watch(ev, SIGUSR1, "a", NULL), -1);
    CHECK_INT(watch(ev, SIGUSR1, "a", note), 0);
    CHECK_INT(unwatch(ev, SIGUSR1, "b", note), -1);
    CHECK_INT(unwatch(ev, SIGUSR1, "a", count_signal), -1);
    CHECK_INT(unwatch(ev, SIGUSR1, "a", note), 0);
    CHECK_INT(unwatch(ev, SIGUSR1, "a", note), -1);
}

/* A dispatch inside a handler takes what else was waiting. */
static void dispatch_inside(mln_event_t *ev, int signo, void *data)
{
    (void)signo;
    CHECK(++*(int *)data <= 2);
    if (*(int *)data == 1)
        mln_event_dispatch(ev);
    else
        mln_event_set_break(ev);
}

static void dispatch_in_a_handler(mln_event_t *ev)
{
    int calls = 0;

    CHECK_INT(watch(ev, SIGUSR1, &calls, dispatch_inside), 0);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_INT(raise(SIGUSR1), 0);
    run_for(ev, 5);
    CHECK_INT(calls, 2);
    CHECK_INT(unwatch(ev, SIGUSR1, &calls, dispatch_inside), 0);
}

static sigjmp_buf place;
static volatile sig_atomic_t jumps, may_jump;

static void jump(int signo)
{
    (void)signo;
    if (!may_jump)
        return;
    ++jumps;
    siglongjmp(place, 1);
}

/* A handler of the program's own, in signal context, that leaves by siglongjmp interrupts no delivery: the loop can be freed. */
static void handlers_of_the_program_jump(void)
{
    enum { JUMPS = 2000, TOGETHER = 50 };
    const struct itimerval often = {{0, 50}, {0, 50}}, never_again = {{0, 0}, {0, 0}};
    mln_event_t *ev = mln_event_init(0);
    int calls = 0;

    CHECK(ev != NULL);
    CHECK_INT(watch(ev, SIGUSR1, &calls, count_signal), 0);
    CHECK(mln_event_signal_set(SIGALRM, jump) != SIG_ERR);
    CHECK_INT(setitimer(ITIMER_REAL, &often, NULL), 0);
    while (jumps < JUMPS) {
        if (sigsetjmp(place, 1) == 0) {
            may_jump = 1;
            for (int i = 0; i < TOGETHER; ++i)
                CHECK_INT(raise(SIGUSR1), 0);
        }
        may_jump = 0;
    }
    CHECK_INT(setitimer(ITIMER_REAL, &never_again, NULL), 0);
    CHECK(mln_event_signal_set(SIGALRM, SIG_DFL) != SIG_ERR);
    mln_event_free(ev);
}

int main(void)
{
    mln_event_t *ev = mln_event_init(1);
    int calls = 0;

    CHECK(ev != NULL);
    dispatcher = pthread_self();
    several_handlers(ev);
    each_delivery_counts(ev);
    wakes_an_idle_loop(ev);
    several_loops(ev);
    handlers_change_handlers(ev);
    dispatch_in_a_handler(ev);
    bad_calls(ev);
    handlers_of_the_program_jump();
    CHECK_INT(watch(ev, SIGUSR1, &calls, count_signal), 0);
    mln_event_destroy(ev);
    CHECK(has_default_disposition(SIGUSR1));
    return 0;
}
