/*
 * Handlers clear, set, close and reuse descriptors, their own and others of the same round, and only what stands then is
 * called.
 */
#include "check.h"
#include "events.h"

static int ends[2], others[2], calls, other_calls;
static const char *how;

static int set(mln_event_t *ev, int fd, mln_u32_t flag, void *data, ev_fd_handler handler)
{
    return mln_event_fd_set(ev, fd, flag, M_EV_UNLIMITED, data, handler);
}

static void forget(mln_event_t *ev, int fd)
{
    CHECK_INT(set(ev, fd, M_EV_CLR, NULL, NULL), 0);
}

static void begin(void)
{
    make_sockets(ends);
    make_sockets(others);
    put_byte(ends[1]);
    put_byte(others[1]);
    calls = other_calls = 0;
}

static void end(mln_event_t *ev)
{
    forget(ev, ends[0]);
    forget(ev, others[0]);
    close_both(ends);
    close_both(others);
}

static void clear_itself(mln_event_t *ev, int fd, void *data)
{
    count(ev, fd, data);
    forget(ev, fd);
}

static void clear_other(mln_event_t *ev, int fd, void *data)
{
    int *other = data;

    (void)fd;
    ++calls;
    forget(ev, *other);
}

/* The other descriptor goes away and its number comes back with an empty socket behind it: its old readiness is void. */
static void replace_other(mln_event_t *ev, int fd, void *data)
{
    int other = *(int *)data, fresh[2];

    if (++calls > 1) {
        count_byte(ev, fd, &other_calls);
        return;
    }
    forget(ev, other);
    make_sockets(fresh);
    CHECK_INT(dup2(fresh[0], other), other);
    CHECK_INT(close(fresh[0]), 0);
    CHECK_INT(set(ev, other, M_EV_RECV, NULL, never), 0);
    CHECK_INT(dup2(fresh[1], data == &ends[0] ? ends[1] : others[1]), data == &ends[0] ? ends[1] : others[1]);
    CHECK_INT(close(fresh[1]), 0);
    forget(ev, fd);
}

static void clear_and_set(mln_event_t *ev, int fd, void *data)
{
    int fresh;

    (void)data;
    ++calls;
    forget(ev, fd);
    if (strchr(how, 'n') != NULL) { /* a new descriptor under the same number */
        CHECK_INT(close(fd), 0);
        CHECK((fresh = dup(others[0])) >= 0);
        if (fresh != fd) {
            CHECK_INT(dup2(fresh, fd), fd);
            CHECK_INT(close(fresh), 0);
        }
    }
    CHECK_INT(set(ev, fd, M_EV_RECV | (strchr(how, 'a') != NULL ? M_EV_APPEND : 0), &other_calls, count_byte), 0);
}

/* Takes effect at once: the direction of this round that it does not name is skipped. */
static void set_without_clear(mln_event_t *ev, int fd, void *data)
{
    (void)data;
    ++calls;
    if (strchr(how, 's') != NULL)
        CHECK_INT(set(ev, fd, M_EV_SEND | M_EV_ONESHOT, &other_calls, count), 0);
    else
        CHECK_INT(set(ev, fd, M_EV_RECV, &other_calls, count_byte), 0);
}

static void again(mln_event_t *ev, int fd, void *data)
{
    (void)data;
    if (++calls < 50)
        CHECK_INT(set(ev, fd, M_EV_RECV | M_EV_ONESHOT, NULL, again), 0);
}

static void again_appending(mln_event_t *ev, int fd, void *data)
{
    (void)data;
    if (++calls < 50)
        CHECK_INT(set(ev, fd, M_EV_SEND | M_EV_ONESHOT | M_EV_APPEND, NULL, again_appending), 0);
}

static void clear_and_close(mln_event_t *ev, int fd, void *data)
{
    count(ev, fd, data);
    forget(ev, fd);
    CHECK_INT(close(fd), 0);
}

static void clearing(mln_event_t *ev)
{
    begin();
    CHECK_INT(set(ev, ends[0], M_EV_RECV, &calls, clear_itself), 0);
    CHECK_INT(set(ev, ends[0], M_EV_SEND | M_EV_APPEND, NULL, never), 0);
    run_for(ev, 20);
    CHECK_INT(calls, 1);

    /* Both are ready in one round; whoever comes first silences the other. */
    calls = 0;
    CHECK_INT(set(ev, ends[0], M_EV_RECV | M_EV_ONESHOT, &others[0], clear_other), 0);
    CHECK_INT(set(ev, others[0], M_EV_RECV | M_EV_ONESHOT, &ends[0], clear_other), 0);
    run_for(ev, 20);
    CHECK_INT(calls, 1);

    calls = 0;
    CHECK_INT(set(ev, ends[0], M_EV_RECV, &others[0], replace_other), 0);
    CHECK_INT(set(ev, others[0], M_EV_RECV, &ends[0], replace_other), 0);
    run_for(ev, 20);
    CHECK_INT(calls, 1);
    CHECK_INT(other_calls, 0);
    end(ev);
}

int main(void)
{
    static const char *const ways[] = {"", "a", "n", "na"};
    mln_event_t *ev = new_loop();
    int fds = fd_count();

    clearing(ev);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; ++i) {
        how = ways[i];
        begin();
        CHECK_INT(set(ev, ends[0], M_EV_RECV, NULL, clear_and_set), 0);
        CHECK_INT(set(ev, ends[0], M_EV_SEND | M_EV_APPEND, NULL, never), 0);
        run_for(ev, 20);
        CHECK_INT(calls, 1);
        CHECK_INT(other_calls, 1);
        end(ev);
    }
    for (how = "s"; how != NULL; how = *how == 's' ? "r" : NULL) {
        begin();
        CHECK_INT(set(ev, ends[0], M_EV_RECV, NULL, set_without_clear), 0);
        CHECK_INT(set(ev, ends[0], M_EV_SEND | M_EV_APPEND, NULL, never), 0);
        run_for(ev, 20);
        CHECK_INT(calls, 1);
        CHECK_INT(other_calls, 1);
        end(ev);
    }
    begin();
    CHECK_INT(set(ev, ends[0], M_EV_RECV | M_EV_ONESHOT, NULL, again), 0);
    run_for(ev, 20);
    CHECK_INT(calls, 50);
    calls = 0;
    CHECK_INT(set(ev, ends[0], M_EV_SEND | M_EV_ONESHOT, NULL, again_appending), 0);
    run_for(ev, 20);
    CHECK_INT(calls, 50);
    end(ev);

    begin();
    calls = 0;
    CHECK_INT(set(ev, ends[0], M_EV_RECV | M_EV_SEND, &calls, clear_and_close), 0);
    CHECK_INT(set(ev, others[0], M_EV_RECV, &other_calls, count_byte), 0);
    run_for(ev, 20);
    CHECK_INT(calls, 1);
    CHECK_INT(other_calls, 1);
    CHECK_INT(dup(others[0]), ends[0]);
    end(ev);
    CHECK_INT(fd_count(), fds);
    mln_event_free(ev);
    return 0;
}
