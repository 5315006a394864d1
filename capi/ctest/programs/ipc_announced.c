/*
 * A peer costs memory for what it sends, not for what it announces: sixteen that begin a message of 64 MiB and leave it
 * at that move the master's memory by little. And what some have sent before they ended in the middle is given back.
 */
#include "ipc.h"

enum { WORD = 2000, PEERS = 16, LARGE = 64 << 20, MOST_KIB = 2 << 10, SENDERS = 4, PIECE = 1 << 20, PIECES = 40, LEFT_KIB = 16 << 10 };

static int words, begun;

/* Its standard input leads to the master: by it the peer says that all was read. */
static int peer(int fd)
{
    static const uint32_t announced[] = {4 + LARGE, WORD};

    write_frame(fd, WORD, NULL, 0);
    write_bytes(fd, announced, sizeof announced);
    for (int i = 0; i < 3; ++i) {
        await_read(fd);
        write_bytes(fd, "x", 1);
    }
    await_read(fd);
    write_bytes(STDIN_FILENO, "x", 1);
    await_end(fd);
    return 0;
}

/* Most of it, and the end. */
static int sender(int fd)
{
    static const uint32_t announced[] = {4 + LARGE, WORD};
    static char piece[PIECE];

    write_bytes(fd, announced, sizeof announced);
    for (int i = 0; i < PIECES; ++i)
        write_bytes(fd, piece, sizeof piece);
    await_read(fd);
    return 0;
}

static void look(mln_event_t *ev, void *data)
{
    if (worker_count(ev) == PEERS) /* those of before */
        mln_event_break_set(ev);
    else
        CHECK(mln_event_timer_set(ev, 10, data, look) != NULL);
}

static void on_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)buf;
    (void)udata;
    CHECK_INT(len, 0);
    ++words;
}

static void on_begun(mln_event_t *ev, int fd, void *data)
{
    char byte;

    (void)data;
    CHECK_INT(read(fd, &byte, 1), 1);
    if (++begun == PEERS)
        mln_event_break_set(ev);
}

int main(int argc, char **argv)
{
    long resident, allocated;
    mln_event_t *ev;
    int ends[2];

    if (argc > 1)
        return strcmp(argv[1], "peer") == 0 ? peer(atoi(argv[argc - 1])) : sender(atoi(argv[argc - 1]));
    handle(WORD, on_word, NULL);
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(dup2(ends[1], STDIN_FILENO), STDIN_FILENO);
    ev = become_master();
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV | M_EV_NONBLOCK, M_EV_UNLIMITED, NULL, on_begun), 0);
    resident = memory_kib("VmHWM");
    allocated = memory_kib("VmData");
    for (int i = 0; i < PEERS; ++i)
        (void)start_peer(ev, "peer");
    mln_event_dispatch(ev);
    CHECK_INT(words, PEERS);
    CHECK_INT(worker_count(ev), PEERS);
    CHECK(memory_kib("VmHWM") - resident < MOST_KIB);
    CHECK(memory_kib("VmData") - allocated < LARGE >> 10);
    mln_event_free(ev);
    ev = become_master();
    resident = memory_kib("VmRSS");
    for (int i = 0; i < SENDERS; ++i)
        (void)start_peer(ev, "sender");
    look(ev, NULL);
    mln_event_dispatch(ev);
    CHECK(memory_kib("VmHWM") - resident > PIECES << 10);
    CHECK(memory_kib("VmRSS") - resident < LEFT_KIB);
    mln_event_free(ev);
    return 0;
}
