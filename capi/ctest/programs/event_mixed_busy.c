/*
 * A loop that is busy with descriptors for a long while keeps its timers exact and not early, and all of them.
 */
#include "check.h"
#include "events.h"

enum { PAIRS = 20, TIMERS = 60, STEP = 10 };

static int fires, order_broken, last = -1;
static long long start, echoes;

static void echo(mln_event_t *ev, int fd, void *data)
{
    char bytes[64];
    ssize_t n = read(fd, bytes, sizeof bytes);

    (void)ev;
    (void)data;
    CHECK(n > 0);
    CHECK_INT(write(fd, bytes, (size_t)n), n);
    ++echoes;
}

static void fired(mln_event_t *ev, void *data)
{
    int number = *(int *)data;
    long long late = now_ms() - start - (long long)number * STEP;

    (void)ev;
    CHECK(late >= 0);
    order_broken += number < last;
    last = number;
    ++fires;
}

static void be_busy(mln_event_t *ev, void *data)
{
    long long until = now_ms() + 5;

    while (now_ms() < until)
        ;
    CHECK(mln_event_timer_set(ev, 20, data, be_busy) != NULL);
}

int main(void)
{
    static int ends[PAIRS][2], numbers[TIMERS];
    mln_event_t *ev = new_loop();
    long long late;

    for (int i = 0; i < PAIRS; ++i) {
        make_sockets(ends[i]);
        for (int k = 0; k < 2; ++k)
            CHECK_INT(mln_event_fd_set(ev, ends[i][k], M_EV_RECV, 500, NULL, echo), 0);
        put_byte(ends[i][0]);
    }
    start = now_ms();
    for (int i = TIMERS - 1; i >= 0; --i) {
        numbers[i] = i;
        CHECK(mln_event_timer_set(ev, (mln_u32_t)(i * STEP), &numbers[i], fired) != NULL);
    }
    CHECK(mln_event_timer_set(ev, 0, NULL, be_busy) != NULL);
    run_for(ev, TIMERS * STEP);
    late = now_ms() - start - TIMERS * STEP;
    CHECK_INT(fires, TIMERS);
    CHECK_INT(order_broken, 0);
    CHECK(echoes > 1000);
    /* The last one is as punctual as the machine allows: far from a whole run late. */
    CHECK(late >= 0 && late < TIMERS * STEP);
    mln_event_free(ev);
    for (int i = 0; i < PAIRS; ++i)
        close_both(ends[i]);
    return 0;
}
