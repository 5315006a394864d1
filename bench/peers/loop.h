/*
 * loop.h - the work of the floor's messages.c for libraries with an event loop and a byte stream: the state of one end.
 * Frames as the floor's.
 */
#ifndef LOOP_H
#define LOOP_H

#include "../bench.h"

#include <sys/wait.h>

enum { DATA = 1, ACK, GO, RESULT, HEADER = 8, PIECE = 64 << 10 };

/* Of the library's: sends one frame, some time. The payload of a long one stays as it is until then. */
static void send_frame(uint32_t type, const void *payload, size_t n);
/* Runs the loop of one end until stop_loop(). */
static void run_loop(int fd);
static void stop_loop(void);

/* From what size on a frame is better sent from where it is than copied. */
enum { LONG = PIECE / 4 };

static size_t size;
static uint64_t count, warm, acknowledge;
static int ping, direction, is_child;

static char *message;
static uint64_t due, sent, acknowledged, received, start, time_taken;
static int results; /* in the parent: how many ends have received everything */
static struct samples samples;

/* Whether there is more to send, and no acknowledgement to wait for. */
static int may_send(void)
{
    return (direction & (is_child ? UP : DOWN)) != 0 && !ping && sent < due &&
        (acknowledge == 0 || sent % acknowledge != 0 || acknowledged == sent);
}

/* Sends a piece of what is to be sent, or one long frame. Called when nothing is left to be written. */
static void send_more(void)
{
    for (size_t bytes = 0; may_send() && bytes < PIECE; ++sent, bytes += size < LONG ? HEADER + size : PIECE) {
        if (sent == 0)
            stamp_time(message, now());
        stamp(message, size, sent);
        send_frame(DATA, message, size);
    }
}

static void begin_stream(uint64_t n)
{
    due = n;
    sent = acknowledged = received = time_taken = 0;
    results = 0;
    if (!is_child)
        send_frame(GO, &n, sizeof n);
}

/* In the parent: an end has received all that was due. */
static void finished(uint64_t time)
{
    time_taken = time > time_taken ? time : time_taken;
    if (++results < (direction == BOTH ? 2 : 1))
        return;
    if (due == warm)
        begin_stream(count);
    else
        stop_loop();
}

static void on_data(const char *payload, size_t n)
{
    uint64_t time;

    check(payload, n, size, received);
    if (received++ == 0)
        start = stamped_time(payload);
    if (acknowledge != 0 && received % acknowledge == 0)
        send_frame(ACK, &received, sizeof received);
    if (received < due)
        return;
    time = now() - start;
    if (is_child)
        send_frame(RESULT, &time, sizeof time);
    else
        finished(time);
}

static void ask(void)
{
    stamp(message, size, sent++);
    start = now();
    send_frame(DATA, message, size);
}

static void on_frame(uint32_t type, const char *payload, size_t n)
{
    uint64_t number;

    if (ping && is_child) {
        check(payload, n, size, received++);
        send_frame(DATA, payload, n);
        return;
    }
    if (ping) {
        check(payload, n, size, sent - 1);
        if (sent > warm)
            samples_add(&samples, now() - start);
        if (sent == count + warm)
            stop_loop();
        else
            ask();
        return;
    }
    if (type == DATA) {
        on_data(payload, n);
        return;
    }
    EXPECT(n == sizeof number);
    memcpy(&number, payload, sizeof number);
    if (type == ACK)
        acknowledged = number;
    else if (type == GO)
        begin_stream(number);
    else
        finished(number);
}

/* Cuts a piece of the stream into frames; returns how many bytes were frames. */
BENCH_UNUSED static size_t cut(const char *bytes, size_t n)
{
    size_t at = 0;
    uint32_t header[2];

    while (n - at >= HEADER) {
        memcpy(header, bytes + at, HEADER);
        if (n - at < sizeof header[0] + header[0])
            break;
        at += HEADER;
        on_frame(header[1], bytes + at, header[0] - sizeof header[1]);
        at += header[0] - sizeof header[1];
    }
    return at;
}

/* In the parent, as soon as its loop runs. */
static void begin_work(void)
{
    if (ping)
        ask();
    else
        begin_stream(warm);
}

int main(int argc, char **argv)
{
    int pair[2];
    pid_t child;

    begin(argc, argv);
    ping = option_is(argc, argv, "do", "ping");
    size = (size_t)option(argc, argv, "size", 64);
    count = (uint64_t)option(argc, argv, "count", 10000);
    acknowledge = (uint64_t)option(argc, argv, "acknowledge", 0);
    direction = (int)option(argc, argv, "direction", DOWN);
    warm = count / 10;
    message = calloc(1, size);
    open_pair(pair, SOCK_NONBLOCK);
    MUST(child = fork());
    is_child = child == 0;
    if (is_child)
        end_with_parent();
    close(pair[!is_child]);
    run_loop(pair[is_child]);
    if (is_child)
        return 0;
    MUST(kill(child, SIGKILL));
    MUST(waitpid(child, NULL, 0));
    if (ping)
        report_samples(&samples);
    else
        report_stream(count * (direction == BOTH ? 2 : 1), time_taken);
    report_end();
    return 0;
}

#endif
