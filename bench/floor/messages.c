/*
 * messages.c - the floor for two processes: messages over a socket pair with nothing but system calls.
 *
 *     do=ping    round trips, one at a time, with epoll on both sides     p50, p99 (ns)
 *     do=stream  as fast as they go, direction=1 (to the child), 2, 3 (both at once); acknowledge=N: after every N
 *                messages the sender waits for an acknowledgement         rate (messages/s), seconds
 * size=BYTES count=N
 */
#include "frames.h"

#include <sys/epoll.h>
#include <sys/wait.h>

enum { DATA = 1, ACK, RESULT };

static size_t size;
static uint64_t count, acknowledge;
static int direction;

/* ---- round trips ---- */

static int watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    MUST(epoll);
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    return epoll;
}

static char *await(struct end *e, int epoll, size_t *length)
{
    struct epoll_event event;
    uint32_t type;
    char *payload;

    while ((payload = take(e, &type, length)) == NULL) {
        MUST(epoll_wait(epoll, &event, 1, -1));
        (void)receive(e);
    }
    return payload;
}

static void answer(struct end *e, uint64_t rounds)
{
    int epoll = watch(e->fd);

    for (uint64_t i = 0; i < rounds; ++i) {
        size_t length;
        char *payload = await(e, epoll, &length);

        check(payload, length, size, i);
        put_now(e, DATA, payload, length);
    }
}

static void ask(struct end *e, uint64_t rounds, uint64_t warm)
{
    int epoll = watch(e->fd);
    struct samples samples = {0};
    char *message = calloc(1, size);

    for (uint64_t i = 0; i < rounds; ++i) {
        uint64_t start = now();
        size_t length;
        char *payload;

        stamp(message, size, i);
        put_now(e, DATA, message, size);
        payload = await(e, epoll, &length);
        check(payload, length, size, i);
        if (i >= warm)
            samples_add(&samples, now() - start);
    }
    report_samples(&samples);
}

/* ---- streams ---- */

static void send_stream(struct end *e, uint64_t n)
{
    char *message = calloc(1, size);

    stamp_time(message, now());
    for (uint64_t i = 0; i < n; ++i) {
        stamp(message, size, i);
        put(e, DATA, message, size);
        if (acknowledge != 0 && (i + 1) % acknowledge == 0) {
            uint32_t type;
            size_t length;

            flush(e);
            (void)next(e, &type, &length);
            EXPECT(type == ACK);
        }
    }
    flush(e);
    free(message);
}

/* Returns how long it took, from before the first message was sent, in nanoseconds. */
static uint64_t receive_stream(struct end *e, uint64_t n)
{
    uint64_t start = 0;

    for (uint64_t i = 0; i < n; ++i) {
        uint32_t type;
        size_t length;
        char *payload = next(e, &type, &length);

        EXPECT(type == DATA);
        check(payload, length, size, i);
        if (i == 0)
            start = stamped_time(payload);
        if (acknowledge != 0 && (i + 1) % acknowledge == 0)
            put_now(e, ACK, &i, sizeof i);
    }
    return now() - start;
}

/* Sends and receives at once. */
static uint64_t exchange(struct end *e, uint64_t n)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t sent = 0, received = 0, start = 0, end = 0;
    char *message = calloc(1, size);

    MUST(epoll);
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, e->fd, &event));
    set_nonblocking(e->fd, 1);
    stamp_time(message, now());
    while (received < n || sent < n || e->sent < e->filled) {
        int progress = 0;
        size_t length;
        uint32_t type;
        char *payload;

        for (; sent < n && fits(e, size); ++sent) {
            stamp(message, size, sent);
            add(e, DATA, message, size);
        }
        if (e->sent < e->filled) {
            ssize_t written = write(e->fd, e->out + e->sent, e->filled - e->sent);

            if (written < 0 && errno != EAGAIN)
                fail("write: %s", strerror(errno));
            if (written > 0) {
                e->sent += (size_t)written;
                progress = 1;
            }
            if (e->sent == e->filled)
                e->sent = e->filled = 0;
        }
        if (received < n && receive(e) > 0) {
            progress = 1;
            while (received < n && (payload = take(e, &type, &length)) != NULL) {
                EXPECT(type == DATA);
                check(payload, length, size, received);
                if (received++ == 0)
                    start = stamped_time(payload);
                if (received == n)
                    end = now();
            }
        }
        if (!progress)
            MUST(epoll_wait(epoll, &event, 1, -1));
    }
    set_nonblocking(e->fd, 0);
    close(epoll);
    free(message);
    return end - start;
}

static uint64_t stream(struct end *e, int master, uint64_t n)
{
    int sender = direction == (master ? DOWN : UP);
    uint64_t mine = 0, theirs;
    uint32_t type;
    size_t length;

    if (direction == BOTH)
        mine = exchange(e, n);
    else if (sender)
        send_stream(e, n);
    else
        mine = receive_stream(e, n);
    /* Each end tells the other: the slower one counts, and the next stream begins when both are through. */
    put_now(e, RESULT, &mine, sizeof mine);
    memcpy(&theirs, next(e, &type, &length), sizeof theirs);
    EXPECT(type == RESULT);
    return mine > theirs ? mine : theirs;
}

int main(int argc, char **argv)
{
    int ping = option_is(argc, argv, "do", "ping");
    uint64_t warm, time;
    struct end e;
    int pair[2];
    pid_t child;

    begin(argc, argv);
    size = (size_t)option(argc, argv, "size", 64);
    count = (uint64_t)option(argc, argv, "count", 10000);
    acknowledge = (uint64_t)option(argc, argv, "acknowledge", 0);
    direction = (int)option(argc, argv, "direction", DOWN);
    warm = count / 10;
    open_pair(pair, 0);
    MUST(child = fork());
    if (child == 0) {
        end_with_parent();
        close(pair[0]);
        open_end(&e, pair[1], size);
        if (ping) {
            answer(&e, count + warm);
            return 0;
        }
        (void)stream(&e, 0, warm);
        (void)stream(&e, 0, count);
        return 0;
    }
    close(pair[1]);
    open_end(&e, pair[0], size);
    if (ping) {
        ask(&e, count + warm, warm);
    } else {
        (void)stream(&e, 1, warm);
        time = stream(&e, 1, count);
        report_stream(count * (direction == BOTH ? 2 : 1), time);
    }
    MUST(waitpid(child, NULL, 0));
    report_end();
    return 0;
}
