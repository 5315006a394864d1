/*
 * Each direction of a descriptor has a handler, data and one-shot state of its own, and the flags of mln_event_fd_set()
 * do what their table says, errors included.
 */
#include "check.h"
#include "events.h"

static char trace[64];

static void note(mln_event_t *ev, int fd, void *data)
{
    (void)ev;
    (void)fd;
    CHECK(strlen(trace) + 1 < sizeof trace);
    strcat(trace, data);
}

static void stop_at(mln_event_t *ev, int fd, void *data)
{
    (void)fd;
    if (--*(int *)data == 0)
        mln_event_set_break(ev);
}

static void set(mln_event_t *ev, int fd, mln_u32_t flag, void *data, ev_fd_handler handler)
{
    CHECK_INT(mln_event_fd_set(ev, fd, flag, M_EV_UNLIMITED, data, handler), 0);
}

static void clear(mln_event_t *ev, int fd)
{
    CHECK_INT(mln_event_fd_set(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
}

/* Runs the loop for a while; returns who was called. */
static const char *calls_of(mln_event_t *ev)
{
    trace[0] = '\0';
    run_for(ev, 20);
    return trace;
}

static void readable_is_level_triggered(mln_event_t *ev)
{
    int ends[2], left = 5, calls = 0;

    make_pipe(ends);
    put_byte(ends[1]);
    set(ev, ends[0], M_EV_RECV, &left, stop_at);
    mln_event_dispatch(ev);
    CHECK_INT(left, 0);
    set(ev, ends[0], M_EV_RECV, &calls, count_byte);
    run_for(ev, 20);
    CHECK_INT(calls, 1);
    /* End of file is readiness. */
    CHECK_INT(close(ends[1]), 0);
    left = 3;
    set(ev, ends[0], M_EV_RECV, &left, stop_at);
    mln_event_dispatch(ev);
    CHECK_INT(left, 0);
    clear(ev, ends[0]);
    close(ends[0]);
}

static void directions_are_apart(mln_event_t *ev)
{
    int ends[2];

    make_sockets(ends);
    put_byte(ends[1]);
    set(ev, ends[0], M_EV_SEND | M_EV_ONESHOT, "s", note);
    set(ev, ends[0], M_EV_RECV | M_EV_APPEND | M_EV_ONESHOT, "r", note);
    CHECK_STR(calls_of(ev), "rs"); /* RECV first, whatever was set first */
    CHECK_STR(calls_of(ev), "");   /* both are spent */

    /* One call, one handler for both; each is spent by itself. */
    set(ev, ends[0], M_EV_RECV | M_EV_SEND | M_EV_ONESHOT, "b", note);
    CHECK_STR(calls_of(ev), "bb");

    /* One-shot is a matter of the direction, not of the descriptor. */
    int left = 10;
    set(ev, ends[0], M_EV_RECV | M_EV_ONESHOT, "r", note);
    set(ev, ends[0], M_EV_SEND | M_EV_APPEND, &left, stop_at);
    trace[0] = '\0';
    mln_event_dispatch(ev);
    CHECK_INT(left, 0);
    CHECK_STR(trace, "r");

    /* APPEND replaces the handler and the one-shot state of what it names. */
    set(ev, ends[0], M_EV_RECV, NULL, never);
    set(ev, ends[0], M_EV_RECV | M_EV_APPEND | M_EV_ONESHOT, "n", note);
    CHECK_STR(calls_of(ev), "n");
    left = 4;
    set(ev, ends[0], M_EV_RECV | M_EV_ONESHOT, NULL, never);
    set(ev, ends[0], M_EV_RECV | M_EV_APPEND, &left, stop_at);
    mln_event_dispatch(ev);
    CHECK_INT(left, 0);

    /* Without APPEND, what is not named is dropped. */
    set(ev, ends[0], M_EV_RECV, NULL, never);
    set(ev, ends[0], M_EV_SEND | M_EV_ONESHOT, "s", note);
    CHECK_STR(calls_of(ev), "s");

    /* APPEND on what is not registered is a plain set. */
    clear(ev, ends[0]);
    set(ev, ends[0], M_EV_RECV | M_EV_APPEND | M_EV_ONESHOT, "a", note);
    CHECK_STR(calls_of(ev), "a");

    /* NULL swallows. */
    set(ev, ends[0], M_EV_RECV | M_EV_SEND | M_EV_ONESHOT, NULL, NULL);
    CHECK_STR(calls_of(ev), "");

    /* Cleared, nothing is called; the descriptor stays open. */
    set(ev, ends[0], M_EV_RECV | M_EV_SEND, NULL, never);
    clear(ev, ends[0]);
    CHECK_STR(calls_of(ev), "");
    clear(ev, ends[0]);
    close_both(ends);
}

static void without_direction_nothing_is_armed(mln_event_t *ev)
{
    int ends[2];

    make_pipe(ends);
    put_byte(ends[1]);
    set(ev, ends[0], 0, NULL, never);
    CHECK_STR(calls_of(ev), "");
    set(ev, ends[0], M_EV_NONBLOCK, NULL, never);
    CHECK_STR(calls_of(ev), "");
    set(ev, ends[0], M_EV_RECV | M_EV_APPEND | M_EV_ONESHOT, "r", note);
    CHECK_STR(calls_of(ev), "r");
    clear(ev, ends[0]);
    close_both(ends);
}

static void errors_reach_the_error_direction(mln_event_t *ev)
{
    int ends[2];

    make_pipe(ends);
    put_byte(ends[1]);
    CHECK_INT(close(ends[0]), 0); /* the writing end is in error now */
    set(ev, ends[1], M_EV_ERROR | M_EV_ONESHOT, "e", note);
    CHECK_STR(calls_of(ev), "e");
    set(ev, ends[1], M_EV_SEND | M_EV_ONESHOT, "s", note);
    set(ev, ends[1], M_EV_ERROR | M_EV_APPEND | M_EV_ONESHOT, "e", note);
    CHECK_STR(calls_of(ev), "se");
    clear(ev, ends[1]);
    close(ends[1]);

    int left = 3;
    make_pipe(ends);
    CHECK_INT(close(ends[1]), 0); /* a hang-up is no error, it is the end of file */
    set(ev, ends[0], M_EV_ERROR, NULL, never);
    set(ev, ends[0], M_EV_RECV | M_EV_APPEND, &left, stop_at);
    mln_event_dispatch(ev);
    CHECK_INT(left, 0);
    clear(ev, ends[0]);
    close(ends[0]);
}

static void bad_calls_change_nothing(mln_event_t *ev)
{
    static const mln_u32_t bad[] = {M_EV_CLR | M_EV_RECV, M_EV_CLR | M_EV_APPEND, M_EV_CLR | M_EV_NONBLOCK,
                                    M_EV_RECV | M_EV_NONBLOCK | M_EV_BLOCK, M_EV_SET, M_EV_RECV | M_EV_UNSET, ~(mln_u32_t)0};
    static const mln_u32_t closed[] = {0, M_EV_RECV, M_EV_SEND | M_EV_NONBLOCK, M_EV_RECV | M_EV_APPEND, M_EV_BLOCK};
    int ends[2], extra;

    make_pipe(ends);
    put_byte(ends[1]);
    set(ev, ends[0], M_EV_RECV | M_EV_ONESHOT, "r", note);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        errno = 0;
        CHECK_INT(mln_event_fd_set(ev, ends[0], bad[i], M_EV_UNLIMITED, NULL, never), -1);
        CHECK_INT(errno, EINVAL);
    }
    errno = 0;
    CHECK_INT(mln_event_fd_set(ev, -1, M_EV_RECV, M_EV_UNLIMITED, NULL, never), -1);
    CHECK_INT(errno, EINVAL);
    CHECK_STR(calls_of(ev), "r");

    CHECK((extra = dup(ends[0])) >= 0);
    CHECK_INT(close(extra), 0);
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; ++i) {
        errno = 0;
        CHECK_INT(mln_event_fd_set(ev, extra, closed[i], M_EV_UNLIMITED, NULL, never), -1);
        CHECK_INT(errno, EBADF);
    }
    clear(ev, extra);
    /* Nothing of it is left for who gets the number next. */
    CHECK_INT(dup(ends[0]), extra);
    CHECK_STR(calls_of(ev), "");
    close(extra);
    clear(ev, ends[0]);
    close_both(ends);
}

/* What the kernel refuses is said, and nothing of it stays: instances of epoll that are nested too deeply. */
static void refusals_of_the_kernel_are_told(mln_event_t *ev)
{
    enum { DEPTH = 6 };
    struct epoll_event event = {.events = EPOLLIN};
    int nested[DEPTH];

    for (int i = 0; i < DEPTH; ++i) {
        CHECK((nested[i] = epoll_create1(EPOLL_CLOEXEC)) >= 0);
        if (i > 0 && epoll_ctl(nested[i], EPOLL_CTL_ADD, nested[i - 1], &event) != 0)
            CHECK_INT(errno, ELOOP);
    }
    /* The deepest that the kernel took. */
    errno = 0;
    CHECK_INT(mln_event_fd_set(ev, nested[4], M_EV_RECV, M_EV_UNLIMITED, NULL, never), -1);
    CHECK_INT(errno, ELOOP);
    CHECK_INT(mln_event_fd_set(ev, nested[4], M_EV_RECV | M_EV_APPEND, M_EV_UNLIMITED, NULL, never), -1);
    set(ev, nested[0], M_EV_RECV, NULL, never);
    CHECK_STR(calls_of(ev), "");
    clear(ev, nested[0]);
    for (int i = 0; i < DEPTH; ++i)
        close(nested[i]);
}

int main(void)
{
    mln_event_t *ev = new_loop();

    readable_is_level_triggered(ev);
    directions_are_apart(ev);
    without_direction_nothing_is_armed(ev);
    errors_reach_the_error_direction(ev);
    bad_calls_change_nothing(ev);
    refusals_of_the_kernel_are_told(ev);
    /* The seed era's names. */
    mln_event_t *seed = mln_event_init(1);
    int ends[2], calls = 0;
    CHECK(seed != NULL);
    make_pipe(ends);
    put_byte(ends[1]);
    CHECK_INT(mln_event_set_fd(seed, ends[0], M_EV_RECV, M_EV_UNLIMITED, &calls, count_byte), 0);
    run_for(seed, 20);
    CHECK_INT(calls, 1);
    mln_event_destroy(seed);
    close_both(ends);
    mln_event_free(ev);
    return 0;
}
