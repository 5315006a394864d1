/*
 * deadline: 60s
 *
 * A handler of mln_event_signal_set() with a large stack frame may hit the loop anywhere, ten thousand times, and nothing
 * is damaged.
 *
 * It runs on the stack of what it interrupts. The bytes that go through the loop meanwhile are counted and compared.
 */
#include "check.h"
#include "events.h"

#include <sys/wait.h>

enum { SIGNALS = 10000, FRAME = 64 << 10 };

static volatile sig_atomic_t hits;
static int acknowledged[2], ends[2], timers;
static long sent, received;

static void touch_much(int signo)
{
    volatile unsigned char frame[FRAME];
    int saved = errno, sum = 0;
    char byte = 'a';

    for (int i = 0; i < FRAME; i += 64)
        frame[i] = (unsigned char)(i >> 6);
    for (int i = 0; i < FRAME; i += 64)
        sum += frame[i] != (unsigned char)(i >> 6);
    if (signo != SIGUSR1 || sum != 0)
        abort();
    ++hits;
    if (write(acknowledged[1], &byte, 1) != 1)
        abort();
    errno = saved;
}

/* One end sends numbers, the other compares them. */
static void receive(mln_event_t *ev, int fd, void *data)
{
    long number;

    (void)ev;
    CHECK_PTR(data, &received);
    CHECK_INT(read(fd, &number, sizeof number), sizeof number);
    CHECK_INT(number, received);
    ++received;
}

static void transmit(mln_event_t *ev, int fd, void *data)
{
    CHECK_PTR(data, &sent);
    CHECK_INT(write(fd, &sent, sizeof sent), sizeof sent);
    ++sent;
    CHECK_INT(mln_event_fd_set(ev, fd, M_EV_SEND | M_EV_ONESHOT | M_EV_APPEND, 1000, &sent, transmit), 0);
}

static void tick(mln_event_t *ev, void *data)
{
    ++timers;
    if (hits < SIGNALS)
        CHECK(mln_event_timer_set(ev, 0, data, tick) != NULL);
    else
        mln_event_set_break(ev);
}

int main(void)
{
    mln_event_t *ev;
    pid_t child, loop = getpid();
    int status;

    make_pipe(acknowledged);
    CHECK((child = fork()) >= 0);
    if (child == 0) {
        char byte;
        struct timespec pause = {0, 1000};

        CHECK_INT(close(acknowledged[1]), 0); /* if the parent dies, that is end of file here */
        for (int i = 0; i < SIGNALS; ++i) {
            if (i == 0)
                CHECK_INT(read(acknowledged[0], &byte, 1), 1); /* the handler is there */
            if (kill(loop, SIGUSR1) != 0 || read(acknowledged[0], &byte, 1) != 1)
                _exit(1);
            if (i % 7 == 0)
                nanosleep(&pause, NULL);
        }
        _exit(0);
    }
    CHECK(mln_event_signal_set(SIGUSR1, touch_much) == SIG_DFL);
    put_byte(acknowledged[1]);
    /* Loops come and go under fire, the first one too. */
    while (hits < SIGNALS / 4) {
        ev = new_loop();
        run_for(ev, 0);
        mln_event_free(ev);
    }
    ev = new_loop();
    make_sockets(ends);
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, 1000, &received, receive), 0);
    CHECK_INT(mln_event_fd_set(ev, ends[1], M_EV_SEND | M_EV_ONESHOT, 1000, &sent, transmit), 0);
    CHECK(mln_event_timer_set(ev, 0, NULL, tick) != NULL);
    mln_event_dispatch(ev);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    CHECK_INT(hits, SIGNALS);
    CHECK(received > 1000 / check_slowness() && sent - received <= 10000);
    CHECK(timers > 100 / check_slowness());
    mln_event_free(ev);
    close_both(ends);
    close_both(acknowledged);
    return 0;
}
