/*
 * A descriptor that waits for room with a one-shot SEND goes on being read meanwhile, and is told of the room when there
 * is some, round after round.
 */
#include "check.h"
#include "events.h"

enum { ROUNDS = 50, BYTES = 20 };

static int ends[2], received, rooms, rounds;

static void receive(mln_event_t *ev, int fd, void *data)
{
    (void)data;
    count_byte(ev, fd, &received);
}

static void room(mln_event_t *ev, int fd, void *data);

static void wait_for_room(mln_event_t *ev)
{
    fill(ends[0]);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_SEND | M_EV_ONESHOT | M_EV_APPEND, M_EV_UNLIMITED, NULL, room), 0);
}

static void room(mln_event_t *ev, int fd, void *data)
{
    (void)data;
    CHECK_INT(fd, ends[0]);
    CHECK_INT(received, (rounds + 1) * BYTES); /* all of them came through while it was full */
    ++rooms;
    if (++rounds == ROUNDS)
        mln_event_set_break(ev);
    else
        wait_for_room(ev);
}

/* The peer: a byte at a time, each with an iteration of its own; then it takes what was sent. */
static void peer(mln_event_t *ev, void *data)
{
    static int sent, drained;

    if (sent < (rounds + 1) * BYTES) {
        put_byte(ends[1]);
        ++sent;
    } else if (received == sent && drained == rounds) {
        CHECK_INT(rooms, rounds); /* not before there was room */
        CHECK(drain(ends[1]) > 0);
        ++drained;
    }
    if (rounds < ROUNDS)
        CHECK(mln_event_timer_set(ev, 0, data, peer) != NULL);
}

int main(void)
{
    mln_event_t *ev = new_loop();

    make_sockets(ends);
    set_nonblocking(ends[1], 1);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV | M_EV_NONBLOCK, M_EV_UNLIMITED, NULL, receive), 0);
    wait_for_room(ev);
    CHECK(mln_event_timer_set(ev, 0, NULL, peer) != NULL);
    mln_event_dispatch(ev);
    CHECK_INT(rooms, ROUNDS);
    CHECK_INT(received, ROUNDS * BYTES);
    mln_event_free(ev);
    close_both(ends);
    return 0;
}
