/*
 * exchange.h - two processes and a library that moves whole messages between them, one blocking call for each. A peer
 * defines what is declared here. Options and results are those of the floor's messages.c.
 */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include "../bench.h"

#include <sys/wait.h>

/* The parent listens, the child connects. */
static void connect_ends(int is_parent, const char *address);
static void disconnect_ends(void);
/* Where the next message is to be written, which send_message() sends. Its bytes are any. */
static char *new_message(size_t n);
/* Whether it was sent. If not, it is still to be sent; that happens only to one who does not wait. */
static int send_message(int wait);
/* Sends back what was received last. */
static void return_message(void);
/* Valid until the next call; NULL if there is none, for one who does not wait. */
static char *receive_message(size_t *n, int wait);

static size_t size;
static uint64_t count, acknowledge;
static int direction;

/* For how many messages there is room in a queue: ZeroMQ's default, but 8 MiB, as more is a way through cold memory. */
static int queue_length(void)
{
    size_t n = (8 << 20) / size;

    return n < 1 ? 1 : n < 1000 ? (int)n : 1000;
}

static char *receive_data(uint64_t number)
{
    size_t length;
    char *payload = receive_message(&length, 1);

    check(payload, length, size, number);
    return payload;
}

static void answer(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; ++i) {
        (void)receive_data(i);
        return_message();
    }
}

static void ask(uint64_t rounds, uint64_t warm)
{
    struct samples samples = {0};

    for (uint64_t i = 0; i < rounds; ++i) {
        uint64_t start = now();

        stamp(new_message(size), size, i);
        (void)send_message(1);
        (void)receive_data(i);
        if (i >= warm)
            samples_add(&samples, now() - start);
    }
    report_samples(&samples);
}

static void new_data(uint64_t number)
{
    char *message = new_message(size);

    stamp(message, size, number);
    if (number == 0)
        stamp_time(message, now());
}

static void send_number(uint64_t number)
{
    memcpy(new_message(sizeof number), &number, sizeof number);
    (void)send_message(1);
}

static uint64_t receive_number(void)
{
    uint64_t number;
    size_t length;
    char *bytes = receive_message(&length, 1);

    EXPECT(length == sizeof number);
    memcpy(&number, bytes, sizeof number);
    return number;
}

static void send_stream(uint64_t n)
{
    for (uint64_t i = 0; i < n; ++i) {
        new_data(i);
        (void)send_message(1);
        if (acknowledge != 0 && (i + 1) % acknowledge == 0)
            EXPECT(receive_number() == i);
    }
}

/* Returns how long it took, from before the first message was sent, in nanoseconds. */
static uint64_t receive_stream(uint64_t n)
{
    uint64_t start = 0;

    for (uint64_t i = 0; i < n; ++i) {
        char *payload = receive_data(i);

        if (i == 0)
            start = stamped_time(payload);
        if (acknowledge != 0 && (i + 1) % acknowledge == 0)
            send_number(i);
    }
    return now() - start;
}

/* Sends and receives in turn, and waits only for what can be done alone. */
static uint64_t exchange(uint64_t n)
{
    uint64_t sent = 0, received = 0, start = 0, end = 0;

    new_data(0);
    while (sent < n || received < n) {
        int was_sent = sent < n && send_message(received == n);

        if (was_sent && ++sent < n)
            new_data(sent);
        if (received < n) {
            size_t length;
            char *payload = receive_message(&length, !was_sent);

            if (payload == NULL)
                continue;
            check(payload, length, size, received);
            if (received++ == 0)
                start = stamped_time(payload);
            if (received == n)
                end = now();
        }
    }
    return end - start;
}

static uint64_t stream(int is_parent, uint64_t n)
{
    uint64_t mine = 0, theirs;

    if (direction == BOTH)
        mine = exchange(n);
    else if (direction == (is_parent ? DOWN : UP))
        send_stream(n);
    else
        mine = receive_stream(n);
    /* As the floor does: the slower end counts, and the next stream begins when both are through. */
    send_number(mine);
    theirs = receive_number();
    return mine > theirs ? mine : theirs;
}

int main(int argc, char **argv)
{
    int ping = option_is(argc, argv, "do", "ping");
    char address[64];
    uint64_t warm;
    pid_t child;

    begin(argc, argv);
    size = (size_t)option(argc, argv, "size", 64);
    count = (uint64_t)option(argc, argv, "count", 10000);
    acknowledge = (uint64_t)option(argc, argv, "acknowledge", 0);
    direction = (int)option(argc, argv, "direction", DOWN);
    warm = count / 10;
    snprintf(address, sizeof address, "bench-%ld", (long)getpid());
    MUST(child = fork()); /* before the library starts its threads */
    connect_ends(child != 0, address);
    if (child == 0) {
        if (ping) {
            answer(count + warm);
        } else {
            (void)stream(0, warm);
            (void)stream(0, count);
        }
        disconnect_ends();
        return 0;
    }
    if (ping) {
        ask(count + warm, warm);
    } else {
        (void)stream(1, warm);
        report_stream(count * (direction == BOTH ? 2 : 1), stream(1, count));
    }
    disconnect_ends();
    MUST(waitpid(child, NULL, 0));
    report_end();
    return 0;
}

#endif
