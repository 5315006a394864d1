/*
 * exchange.h - two processes and a library that moves whole messages between them, one blocking call for each. A peer
 * defines connect_ends(), send_message() and receive_message(). Options and results are those of the floor's messages.c;
 * streams go to the child only.
 */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include "../bench.h"

#include <sys/wait.h>

/* The parent listens, the child connects. */
static void connect_ends(int is_parent, const char *address);
static void send_message(const char *message, size_t size);
/* Valid until the next call. */
static char *receive_message(size_t *size);
static void disconnect_ends(void);

static size_t size;
static uint64_t acknowledge;

static void ping_child(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; ++i) {
        size_t length;
        char *payload = receive_message(&length);

        check(payload, length, size, i);
        send_message(payload, length);
    }
}

static void ping_parent(uint64_t rounds, uint64_t warm)
{
    struct samples samples = {0};
    char *message = calloc(1, size);

    for (uint64_t i = 0; i < rounds; ++i) {
        uint64_t start = now();
        size_t length;
        char *payload;

        stamp(message, size, i);
        send_message(message, size);
        payload = receive_message(&length);
        check(payload, length, size, i);
        if (i >= warm)
            samples_add(&samples, now() - start);
    }
    report_samples(&samples);
}

static void stream_child(uint64_t n)
{
    uint64_t start = 0, time;

    for (uint64_t i = 0; i < n; ++i) {
        size_t length;
        char *payload = receive_message(&length);

        check(payload, length, size, i);
        if (i == 0)
            start = stamped_time(payload);
        if (acknowledge != 0 && (i + 1) % acknowledge == 0)
            send_message((char *)&i, sizeof i);
    }
    time = now() - start;
    send_message((char *)&time, sizeof time);
}

/* Returns how long it took, in nanoseconds. */
static uint64_t stream_parent(uint64_t n)
{
    char *message = calloc(1, size);
    uint64_t time;
    size_t length;

    stamp_time(message, now());
    for (uint64_t i = 0; i < n; ++i) {
        stamp(message, size, i);
        send_message(message, size);
        if (acknowledge != 0 && (i + 1) % acknowledge == 0)
            (void)receive_message(&length);
    }
    memcpy(&time, receive_message(&length), sizeof time);
    EXPECT(length == sizeof time);
    free(message);
    return time;
}

int main(int argc, char **argv)
{
    int ping = option_is(argc, argv, "do", "ping");
    uint64_t count = (uint64_t)option(argc, argv, "count", 10000), warm = count / 10;
    char address[64];
    pid_t child;

    begin(argc, argv);
    size = (size_t)option(argc, argv, "size", 64);
    acknowledge = (uint64_t)option(argc, argv, "acknowledge", 0);
    snprintf(address, sizeof address, "bench-%ld", (long)getpid());
    MUST(child = fork()); /* before the library starts its threads */
    connect_ends(child != 0, address);
    if (child == 0) {
        if (ping) {
            ping_child(count + warm);
        } else {
            stream_child(warm);
            stream_child(count);
        }
        disconnect_ends();
        return 0;
    }
    if (ping) {
        ping_parent(count + warm, warm);
    } else {
        (void)stream_parent(warm);
        report_stream(count, stream_parent(count));
    }
    disconnect_ends();
    MUST(waitpid(child, NULL, 0));
    report_end();
    return 0;
}

#endif
