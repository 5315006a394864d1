/*
 * Freeing a loop, from one of its own handlers too, releases all that is the loop's and closes no descriptor of the
 * program.
 */
#include "check.h"
#include "events.h"

static int ends[2];

static void free_it(mln_event_t *ev, int fd, void *data)
{
    count(ev, fd, data);
    mln_event_free(ev);
    /* It still is there until dispatch returns. */
    CHECK_INT(mln_event_fd_set(ev, fd, M_EV_RECV, M_EV_UNLIMITED, NULL, never), 0);
    CHECK(mln_event_timer_set(ev, 0, NULL, never_timer) != NULL);
}

static void free_inside(mln_event_t *ev, void *data)
{
    (void)data;
    CHECK(mln_event_timer_set(ev, 0, NULL, stop) != NULL);
    mln_event_dispatch(ev);
    mln_event_destroy(ev);
    mln_event_dispatch(ev); /* broken: returns at once */
}

int main(void)
{
    int fds, calls = 0;
    mln_event_t *ev, *loops[100];

    mln_event_free(NULL);
    mln_event_destroy(NULL);
    make_pipe(ends);
    put_byte(ends[1]);
    mln_event_free(new_loop());
    fds = fd_count();

    for (int i = 0; i < 300; ++i) {
        ev = new_loop();
        CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, 1000, &calls, count), 0);
        CHECK(mln_event_timer_set(ev, i % 2 ? 0 : 1000000, NULL, never_timer) != NULL);
        mln_event_free(ev);
        CHECK_INT(fd_count(), fds);
    }
    CHECK_INT(calls, 0);

    ev = new_loop();
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, M_EV_UNLIMITED, &calls, free_it), 0);
    mln_event_dispatch(ev);
    CHECK_INT(calls, 1);
    CHECK_INT(fd_count(), fds);

    ev = new_loop();
    CHECK(mln_event_timer_set(ev, 0, NULL, free_inside) != NULL);
    mln_event_dispatch(ev);
    CHECK_INT(fd_count(), fds);

    /* Many at a time, freed in another order. */
    for (int i = 0; i < 100; ++i)
        loops[i] = new_loop();
    for (int i = 0; i < 100; ++i)
        run_for(loops[i * 37 % 100], 0);
    for (int i = 0; i < 100; ++i)
        mln_event_free(loops[i * 63 % 100]);
    CHECK_INT(fd_count(), fds);
    put_byte(ends[1]); /* still open */
    close_both(ends);
    return 0;
}
