/*
 * Messages that come whole and alone are received without entering the engine, and nothing else is: not pieces, not several at once, none
 * that is too large, none of a descriptor for which the program has a handler of its own. Whatever happens between a receipt and its
 * handler, each message arrives once and in order.
 */
#include "ipc.h"
#include "processes.h"

#include <sys/epoll.h>

enum {
    WORD = 2000, /* payload as the number of words tells */
    TRICK,       /* its payload is what happens when the next message is received */
    FORK,        /* the child sees its payload as well */
    NEST,        /* words come meanwhile */
    UNNEST,
    ALL, /* those of all peers come at the same time */
    OWN,  /* the program reads the next word itself */
    END,

    MESSAGE_MAX = 4096, /* header included */
    HEADER = 8,
    LARGE = 100000,
    OWN_WORDS = 2,
    PEERS = 3
};

enum trick { NONE, BREAKS, BREAKS_AND_MOVES, PIECE, PIECE_BREAKS_AND_MOVES, INTERRUPTED, SHORT_OF_MEMORY, TRICKS };

static mln_event_t *loop;
static enum trick trick, moves;
static int direct, words, all, received, at_once, own, peers = PEERS;
static mln_fork_t *waiting[PEERS];

/* What the C part of the library receives with; the engine uses the system call. */
ssize_t recv(int fd, void *buf, size_t size, int flags)
{
    enum trick now = trick;
    ssize_t n;

    trick = NONE;
    CHECK_INT(size, MESSAGE_MAX);
    if (now == INTERRUPTED || now == SHORT_OF_MEMORY) {
        errno = now == INTERRUPTED ? EINTR : ENOMEM;
        return -1;
    }
    n = recvfrom(fd, buf, now == PIECE || now == PIECE_BREAKS_AND_MOVES ? HEADER + 3 : size, flags, NULL, NULL);
    CHECK(n >= 0); /* it was told that there is something */
    if (now == BREAKS || now == BREAKS_AND_MOVES || now == PIECE_BREAKS_AND_MOVES) {
        moves = now;
        mln_event_break_set(loop);
    }
    ++direct;
    if (++received == PEERS) /* after one wait */
        ++at_once;
    return n;
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    if (all > 0)
        sleep_ms(2);
    received = 0;
    return epoll_pwait(fd, events, max, timeout, NULL);
}

/* ---- master ---- */

static void answer(mln_event_t *ev, mln_fork_t *f)
{
    CHECK_INT(mln_ipc_master_send_prepare(ev, WORD, f->msg_content, f->msg_len, f), 0);
}

static void on_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    CHECK_INT((uintptr_t)buf % 8, 0);
    CHECK(filled(buf, len, (uint64_t)words));
    ++words;
    answer(ev, f);
}

static void on_trick(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    CHECK_INT(len, sizeof trick);
    memcpy(&trick, buf, sizeof trick);
    answer(ev, f);
}

static void on_fork(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    pid_t pid = fork();

    (void)udata;
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(!filled(buf, len, FORK));
    CHECK_INT(await_status(pid), 0);
    answer(ev, f);
}

static void on_nest(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    answer(ev, f);
    mln_event_dispatch(ev);
    CHECK(filled(buf, len, NEST));
    CHECK_INT(mln_ipc_master_send_prepare(ev, WORD, buf, len, f), 0);
}

static void on_unnest(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    mln_event_set_break(ev);
}

/* They are answered together, so that all have another one when the loop has waited a little. */
static void on_all(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    CHECK(filled(buf, len, ALL));
    waiting[all++ % PEERS] = f;
    if (all % PEERS == 0)
        for (int i = 0; i < PEERS; ++i)
            answer(ev, waiting[i]);
    if (all % 7 == 0)
        mln_event_break_set(ev);
}

static void end_one(mln_event_t *ev)
{
    if (--peers == 0)
        mln_event_break_set(ev);
}

static void read_own(mln_event_t *ev, int fd, void *data)
{
    char frame[HEADER + 100];
    int before = direct;

    CHECK_INT(read_bytes(fd, frame, sizeof frame), 1);
    CHECK(filled(frame + HEADER, 100, (uint64_t)words));
    ++words;
    CHECK_INT(direct, before);
    CHECK_INT(mln_ipc_master_send_prepare(ev, WORD, frame + HEADER, 100, data), 0);
    if (++own == OWN_WORDS)
        end_one(ev);
}

static void on_own(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_INT(mln_event_fd_set(ev, ((mln_fork_t *)f)->conn.sockfd, M_EV_RECV, M_EV_UNLIMITED, f, read_own), 0);
    answer(ev, f);
}

static void on_end(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    end_one(ev);
}

/* After a break: the dispatch goes on, maybe in another loop. */
static void go_on(void)
{
    mln_event_t *other;

    if (moves == BREAKS_AND_MOVES || moves == PIECE_BREAKS_AND_MOVES) {
        CHECK((other = mln_event_new()) != NULL);
        mln_fork_master_events_set(other);
        mln_event_free(loop);
        loop = other;
    }
    moves = NONE;
    mln_event_break_reset(loop);
}

/* ---- peers ---- */

static void expect_answer(int fd, const void *payload, uint32_t size)
{
    static char got[HEADER + LARGE], expected[HEADER + LARGE];

    put_frame(expected, WORD, payload, size);
    CHECK_INT(read_bytes(fd, got, HEADER + size), 1);
    CHECK_INT(memcmp(got, expected, HEADER + size), 0);
}

static void ask(int fd, uint32_t type, const void *payload, uint32_t size)
{
    write_frame(fd, type, payload, size);
    expect_answer(fd, payload, size);
}

static uint64_t number;

/* The next word, to a frame or to the master. */
static char *put_word(char *at, uint32_t size)
{
    char payload[MESSAGE_MAX];

    fill(payload, size, number++);
    return put_frame(at, WORD, payload, size);
}

static void say(int fd, uint32_t size)
{
    static char payload[LARGE];

    fill(payload, size, number++);
    ask(fd, WORD, payload, size);
}

static void say_after(int fd, enum trick what, uint32_t size)
{
    ask(fd, TRICK, &what, sizeof what);
    say(fd, size);
}

static void ask_filled(int fd, uint32_t type)
{
    char payload[100];

    fill(payload, sizeof payload, type);
    ask(fd, type, payload, sizeof payload);
}

/* Several words, written at once but for one cut. */
static void cut(int fd, int at)
{
    char frames[3 * (HEADER + 20)], *end = frames;

    for (uint32_t size = 0; size <= 20; size += 10)
        end = put_word(end, size);
    if (at > 0) {
        write_bytes(fd, frames, (size_t)at);
        await_read(fd);
    }
    write_bytes(fd, frames + at, (size_t)(end - frames - at));
    for (uint32_t size = 0, from = 0; size <= 20; from += HEADER + size, size += 10)
        expect_answer(fd, frames + from + HEADER, size);
}

static int talker(int fd)
{
    static const uint32_t sizes[] = {0, 1, 7, MESSAGE_MAX - HEADER - 1, MESSAGE_MAX - HEADER, MESSAGE_MAX - HEADER + 1, MESSAGE_MAX, LARGE};
    char word[100];

    for (int i = 0; i < 100; ++i)
        say(fd, 100);
    for (size_t i = 0; i < 3 * sizeof sizes / sizeof *sizes; ++i) {
        say(fd, sizes[i / 3]);
        say(fd, 100);
    }
    for (int at = 0; at < 3 * HEADER + 10 + 20; ++at) {
        cut(fd, at);
        say(fd, 100);
        say(fd, 100);
    }
    for (int i = 0; i < 5 * TRICKS; ++i)
        say_after(fd, i % TRICKS, 100);
    ask_filled(fd, FORK);
    ask_filled(fd, NEST);
    for (int i = 0; i < 3; ++i)
        say(fd, 100);
    write_frame(fd, UNNEST, NULL, 0);
    fill(word, sizeof word, NEST);
    expect_answer(fd, word, sizeof word);
    for (int i = 0; i < 100; ++i)
        ask_filled(fd, ALL);
    ask(fd, OWN, NULL, 0);
    for (int i = 0; i < OWN_WORDS; ++i)
        say(fd, 100);
    return 0;
}

static int other(int fd)
{
    for (int i = 0; i < 100; ++i)
        ask_filled(fd, ALL);
    write_frame(fd, END, NULL, 0);
    await_end(fd);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return (strcmp(argv[1], "talker") == 0 ? talker : other)(atoi(argv[argc - 1]));
    handle(WORD, on_word, NULL);
    handle(TRICK, on_trick, NULL);
    handle(FORK, on_fork, NULL);
    handle(NEST, on_nest, NULL);
    handle(UNNEST, on_unnest, NULL);
    handle(ALL, on_all, NULL);
    handle(OWN, on_own, NULL);
    handle(END, on_end, NULL);
    loop = become_master();
    (void)start_peer(loop, "talker");
    for (int i = 1; i < PEERS; ++i)
        (void)start_peer(loop, "other");
    for (; peers > 0; go_on())
        mln_event_dispatch(loop);
    CHECK(direct > words / 2);
    CHECK(at_once > 20);
    return 0;
}
