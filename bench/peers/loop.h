/*
 * loop.h - the work of the floor's messages.c for libraries with an event loop and a byte stream: the state of one end.
 * Frames as the floor's. Streams go to the child only.
 */
#ifndef LOOP_H
#define LOOP_H

#include "../bench.h"

#include <sys/wait.h>

enum { DATA = 1, ACK, RESULT, HEADER = 8, PIECE = 64 << 10 };

/* Of the library's: sends one frame, some time. */
static void send_frame(uint32_t type, const void *payload, size_t n);
/* Runs the loop of one end until stop_loop(). */
static void run_loop(int fd);
static void stop_loop(void);

static size_t size;
static uint64_t count, warm, acknowledge;
static int ping, is_child;

static char *message;
static uint64_t due, sent, received, start, time_taken;
static struct samples samples;

/* Whether there is more to send, and no acknowledgement to wait for. */
static int may_send(void)
{
    return !is_child && !ping && sent < due && (acknowledge == 0 || sent % acknowledge != 0 || received == sent);
}

/* Sends a piece of what is to be sent: called when the library can take more. */
static void send_more(void)
{
    for (size_t bytes = 0; may_send() && bytes < PIECE; ++sent, bytes += HEADER + size) {
        if (sent == 0)
            stamp_time(message, now());
        stamp(message, size, sent);
        send_frame(DATA, message, size);
    }
}

static void ask(void)
{
    stamp(message, size, sent++);
    start = now();
    send_frame(DATA, message, size);
}

static void on_frame(uint32_t type, const char *payload, size_t n)
{
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
    if (type == ACK) {
        memcpy(&received, payload, sizeof received);
        send_more();
        return;
    }
    if (type == RESULT) {
        memcpy(&time_taken, payload, sizeof time_taken);
        if (due == count) {
            stop_loop();
            return;
        }
        due = count;
        sent = received = 0;
        send_more();
        return;
    }
    check(payload, n, size, received);
    if (received++ == 0)
        start = stamped_time(payload);
    if (acknowledge != 0 && received % acknowledge == 0)
        send_frame(ACK, &received, sizeof received);
    if (received == due) {
        uint64_t time = now() - start;

        send_frame(RESULT, &time, sizeof time);
        due = count;
        received = 0;
    }
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

static void begin_work(void)
{
    due = warm;
    if (is_child)
        return;
    if (ping)
        ask();
    else
        send_more();
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
        report_stream(count, time_taken);
    report_end();
    return 0;
}

#endif
