/*
 * today.c - a pool of workers, written with today's names: it factorises the numbers on its standard input, one a line.
 *
 *   * The master watches standard input in its loop, and gives every worker one number at a time. The workers compute.
 *   * A number whose worker died is given to another one: the successor's first message is the sign to look.
 *   * A timer tells every two seconds how many numbers wait. After the last answer, or on Ctrl-C, the loop is broken.
 *
 * Run it with `seq 1000000000000 1000000000020 | build/examples/today`. It ends with status 0, or with 1 when something
 * on its input was not a number from 2 to 18446744073709551615.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mln_fork.h"
#include "mln_framework.h"

#include "settings.h"

enum { WORKERS = 4, PROGRESS_MS = 2000 };

static const char configuration[] = "framework \"multiprocess\";\nworker_proc 4;\nlog_level \"warn\";\n";

/* The messages of this program. Numbers up to 1024 are the library's. */
enum { READY = 2001, NUMBER, FACTORS };

/* ---- in a worker ---- */

static void on_number(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    uint64_t factors[64], n; /* 2 to the power of 64 is beyond every number */
    size_t count = 0;

    (void)f_ptr, (void)udata;
    if (len != sizeof n)
        return;
    memcpy(&n, buf, sizeof n);
    for (uint64_t divisor = 2; divisor <= n / divisor; divisor += 1 + (divisor > 2))
        for (; n % divisor == 0 && n != divisor; n /= divisor)
            factors[count++] = divisor;
    factors[count++] = n;
    if (mln_ipc_worker_send_prepare(ev, FACTORS, factors, count * sizeof *factors) != 0)
        perror("today: cannot send an answer");
}

static void worker_process(mln_event_t *ev)
{
    mln_event_signal_set(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group; the master sees to the end */
    mln_ipc_worker_send_prepare(ev, READY, NULL, 0);
}

/* ---- in the master ---- */

/* Numbers that no worker has: from first on, up to end. */
static uint64_t *waiting;
static size_t first, end, room;

/* What the workers are doing. */
static struct hand {
    pid_t pid;
    uint64_t number; /* 0: nothing */
} hands[WORKERS];

static int input_ended, bad_input;
static mln_event_t *loop;

static void put(uint64_t number)
{
    if (first == end)
        first = end = 0;
    if (end == room) {
        room = room * 2 + 64;
        if ((waiting = realloc(waiting, room * sizeof *waiting)) == NULL) {
            perror("today: too many numbers");
            exit(1);
        }
    }
    waiting[end++] = number;
}

static struct hand *hand_of(pid_t pid)
{
    for (struct hand *h = hands; h < hands + WORKERS; ++h)
        if (h->pid == pid)
            return h;
    return NULL;
}

/* Gives a worker the next number, unless it has one. */
static int give(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct hand *h = hand_of(f->pid);

    (void)data;
    if (h == NULL || h->number != 0 || first == end)
        return 0;
    h->number = waiting[first++];
    if (mln_ipc_master_send_prepare(ev, NUMBER, &h->number, sizeof h->number, f) != 0) {
        put(h->number);
        h->number = 0;
    }
    return 0;
}

static void end_when_done(mln_event_t *ev)
{
    if (!input_ended || first < end)
        return;
    for (struct hand *h = hands; h < hands + WORKERS; ++h)
        if (h->number != 0)
            return;
    mln_event_break_set(ev);
}

/* Ends the walk over the workers at the one that is looked for. */
static int is_it(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    return f->pid == *(pid_t *)data ? -1 : 0;
}

static void on_ready(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)buf, (void)len, (void)udata;
    for (struct hand *h = hands; h < hands + WORKERS; ++h) {
        if (h->pid == 0 || mln_fork_iterate(ev, is_it, &h->pid) < 0)
            continue;
        if (h->number != 0) {
            printf("worker %d died; another one gets %llu\n", (int)h->pid, (unsigned long long)h->number);
            put(h->number);
        }
        memset(h, 0, sizeof *h);
    }
    hand_of(0)->pid = f->pid; /* there are never more workers alive than hands */
    mln_fork_iterate(ev, give, NULL);
}

static void on_factors(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    struct hand *h = hand_of(f->pid);
    const uint64_t *factors = buf; /* payloads are aligned */

    (void)udata;
    printf("%llu =", (unsigned long long)h->number);
    for (size_t i = 0; i < len / sizeof *factors; ++i)
        printf(" %s%llu", i > 0 ? "* " : "", (unsigned long long)factors[i]);
    printf("  (worker %d)\n", (int)f->pid);
    h->number = 0;
    give(ev, f, NULL);
    end_when_done(ev);
}

/* Takes one character of the input. */
static void take(char c)
{
    static uint64_t value;
    static int bad;
    unsigned digit = (unsigned)c - '0';

    if (digit <= 9 && value <= (UINT64_MAX - digit) / 10) {
        value = value * 10 + digit;
    } else if (c != '\n') {
        bad = 1;
    } else {
        if (bad || value < 2) {
            fprintf(stderr, "today: a line that is not a number from 2 to %llu is left out\n", (unsigned long long)UINT64_MAX);
            bad_input = 1;
        } else {
            put(value);
        }
        value = 0;
        bad = 0;
    }
}

static void on_input(mln_event_t *ev, int fd, void *data)
{
    static char last = '\n';
    char buf[4096];
    ssize_t n = read(fd, buf, sizeof buf);

    (void)data;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    for (ssize_t i = 0; i < n; ++i)
        take(last = buf[i]);
    if (n <= 0) {
        if (n < 0)
            perror("today: standard input");
        if (last != '\n')
            take('\n');
        mln_event_fd_set(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL);
        input_ended = 1;
    }
    mln_fork_iterate(ev, give, NULL);
    end_when_done(ev);
}

static void progress(mln_event_t *ev, void *data)
{
    if (first < end)
        fprintf(stderr, "today: %zu numbers wait for a worker\n", end - first);
    mln_event_timer_set(ev, PROGRESS_MS, data, progress);
}

/* In signal context, where little is allowed; breaking a loop is. */
static void on_interrupt(int signo)
{
    (void)signo;
    mln_event_break_set(loop);
}

static void master_process(mln_event_t *ev)
{
    loop = ev;
    mln_event_signal_set(SIGINT, on_interrupt);
    if (mln_event_timer_set(ev, PROGRESS_MS, NULL, progress) == NULL ||
        mln_event_fd_set(ev, STDIN_FILENO, M_EV_RECV, M_EV_UNLIMITED, NULL, on_input) != 0) {
        perror("today: cannot watch standard input");
        exit(1);
    }
}

/* ---- before any fork ---- */

static int global_init(void)
{
    if (mln_ipc_handler_register(READY, on_ready, NULL, NULL, NULL) != NULL &&
        mln_ipc_handler_register(NUMBER, NULL, on_number, NULL, NULL) != NULL &&
        mln_ipc_handler_register(FACTORS, on_factors, NULL, NULL, NULL) != NULL)
        return 0;
    perror("today: cannot register the messages");
    return -1;
}

int main(int argc, char *argv[])
{
    struct mln_framework_attr attr = {.argc = argc,
                                      .argv = argv,
                                      .global_init = global_init,
                                      .master_process = master_process,
                                      .worker_process = worker_process};

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (settings_use(configuration) != 0)
        return 1;
    return mln_framework_init(&attr) == 0 && !bad_input ? 0 : 1;
}
