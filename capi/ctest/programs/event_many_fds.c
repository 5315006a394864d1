/*
 * Ten thousand descriptors in one loop, a hundred of which are active: those are called, as often as they should be.
 */
#include "check.h"
#include "events.h"

enum { WANTED = 10000, ACTIVE = 100, ROUNDS = 50 };

static int reads[WANTED], expected[WANTED], total;

static void receive(mln_event_t *ev, int fd, void *data)
{
    int *calls = data;

    count_byte(ev, fd, calls);
    CHECK(calls >= reads && calls < reads + WANTED);
    if (++total % ACTIVE == 0)
        mln_event_set_break(ev);
}

int main(void)
{
    static int writers[WANTED], readers[WANTED];
    struct rlimit limit;
    mln_event_t *ev;
    int fds, n = WANTED;

    mln_event_free(new_loop()); /* the engine has opened what it needs */
    fds = fd_count();
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * WANTED + 100)
        n = (int)(limit.rlim_cur - 100) / 2;
    printf("%d descriptors\n", n);
    CHECK(n > 10 * ACTIVE / 2);
    ev = new_loop();
    for (int i = 0; i < n; ++i) {
        int ends[2];

        make_pipe(ends);
        readers[i] = ends[0];
        writers[i] = ends[1];
        CHECK_INT(mln_event_fd_set(ev, readers[i], M_EV_RECV, 60000 + i, &reads[i], receive), 0);
    }
    for (int round = 0; round < ROUNDS; ++round) {
        for (int k = 0; k < ACTIVE; ++k) {
            int i = (k * (n / ACTIVE) + round * 7) % n;

            put_byte(writers[i]);
            ++expected[i];
        }
        mln_event_dispatch(ev);
    }
    CHECK_INT(total, ACTIVE * ROUNDS);
    CHECK_INT(memcmp(reads, expected, sizeof reads), 0);
    /* All of them at once. */
    for (int i = 0; i < n; ++i) {
        put_byte(writers[i]);
        ++expected[i];
    }
    while (total < ACTIVE * ROUNDS + n / ACTIVE * ACTIVE)
        mln_event_dispatch(ev);
    run_for(ev, 10);
    CHECK_INT(memcmp(reads, expected, sizeof reads), 0);
    for (int i = 0; i < n; ++i) {
        CHECK_INT(mln_event_fd_set(ev, readers[i], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
        CHECK_INT(close(readers[i]), 0);
        CHECK_INT(close(writers[i]), 0);
    }
    mln_event_free(ev);
    CHECK_INT(fd_count(), fds);
    return 0;
}
