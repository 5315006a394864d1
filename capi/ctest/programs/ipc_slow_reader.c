/*
 * A peer that reads one byte a millisecond costs its master the memory of what is queued, and no processor: the master writes when
 * there is room, and parts of frames where that is how much there is. The other worker is served meanwhile. When the peer reads
 * faster, everything has arrived whole.
 * deadline: 60s
 */
#include "ipc.h"
#include "processes.h"

#include <sys/socket.h>

/*
 * The kernel says that there is room when three quarters of a socket's buffer are free, and counts some hundred bytes more for each
 * write. So the first frames are written one by one: they fill the smallest buffer with 500 bytes or so, and the next writes with
 * 2,000 to 5,000.
 */
enum { READY = 2000, LOAD, SLOW_DONE, DONE, PING, SIZE = 92, FRAME = 8 + SIZE, FRAMES = 20000, SINGLE = 20, SLOW = 35 };
enum { TOTAL = FRAMES * FRAME, PASSED = SLOW * FRAME + 10000, MORE_KIB = 512 };

static mln_fork_t *sibling, *slow;
static int sent, pongs, done;
static size_t left; /* of the frames, in the master, when it was looked at last */
static int writes, parts;
static long cpu_before, resident_before, resident_queued;
static long long begun;

static int peer(int fd)
{
    char frame[FRAME];
    uint32_t header[2];
    long long begin;

    write_frame(fd, READY, NULL, 0);
    CHECK_INT(recv(fd, frame, 1, MSG_PEEK), 1);
    begin = now_ms();
    for (int n = 0; n < FRAMES; ++n) {
        for (int at = 0; n < SLOW && at < FRAME; ++at) {
            CHECK(read_bytes(fd, frame + at, 1));
            while (now_ms() < begin + n * FRAME + at)
                usleep(500);
        }
        if (n == SLOW)
            write_frame(fd, SLOW_DONE, NULL, 0);
        if (n >= SLOW)
            CHECK(read_bytes(fd, frame, FRAME));
        memcpy(header, frame, sizeof header);
        CHECK_INT(header[0], 4 + SIZE);
        CHECK_INT(header[1], LOAD);
        CHECK(filled(frame + sizeof header, SIZE, (uint64_t)n));
    }
    write_frame(fd, DONE, NULL, 0);
    await_end(fd);
    return 0;
}

static void ping(mln_event_t *ev, void *data)
{
    (void)data;
    CHECK_INT(mln_ipc_master_send_prepare(ev, PING, NULL, 0, sibling), 0);
}

static void send_load(mln_event_t *ev, void *data)
{
    char payload[SIZE];

    (void)data;
    do {
        fill(payload, SIZE, (uint64_t)sent++);
        CHECK_INT(mln_ipc_master_send_prepare(ev, LOAD, payload, SIZE, slow), 0);
    } while (sent > SINGLE && sent < FRAMES);
    if (sent < FRAMES) {
        CHECK(mln_event_timer_set(ev, 1, NULL, send_load) != NULL);
        return;
    }
    left = bytes_to_send(&slow->conn);
    resident_queued = memory_kib("VmRSS");
}

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int least = 1;

    (void)buf;
    (void)len;
    (void)udata;
    slow = f;
    CHECK_INT(setsockopt(mln_tcp_conn_fd_get(&slow->conn), SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
    resident_before = memory_kib("VmRSS");
    begun = now_ms();
    cpu_before = cpu_ms();
    send_load(ev, NULL);
    ping(ev, NULL);
}

static void answer(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, PING, buf, len), 0);
}

/* Whether the master has written since it was looked the last time, and whether what it has written ends inside of a frame. */
static void look(void)
{
    size_t now = bytes_to_send(&slow->conn);

    if (now < left) {
        ++writes;
        parts += now % FRAME != 0;
    }
    left = now;
}

static void on_pong(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_PTR(f, sibling);
    ++pongs;
    if (sent == FRAMES)
        look();
    if (!done)
        CHECK(mln_event_timer_set(ev, 5, NULL, ping) != NULL);
}

/* A loop that tried again and again to write would have used all of the time. */
static void on_slow_done(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    long resident = memory_kib("VmRSS");

    (void)ev;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_PTR(f, slow);
    look();
    printf("%d writes seen, %d of a part; %zu of %d bytes left; %ld KiB before, %ld queued, %ld then; %ld of %lld ms; %d pongs\n", writes,
           parts, left, TOTAL, resident_before, resident_queued, resident, cpu_ms() - cpu_before, now_ms() - begun, pongs);
    CHECK_INT(sent, FRAMES);
    CHECK(writes >= 2);
    CHECK(parts >= 1);
    CHECK(left > TOTAL - PASSED);
    CHECK((cpu_ms() - cpu_before) * 2 < now_ms() - begun);
    if (check_slowness() > 1) /* valgrind, whose own memory is counted */
        return;
    CHECK(pongs > 60);
    CHECK(resident_queued - resident_before < (TOTAL >> 10) + MORE_KIB);
    CHECK(resident - resident_queued < MORE_KIB);
}

static void on_done(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_PTR(f, slow);
    CHECK_INT(bytes_to_send(&slow->conn), 0);
    done = 1;
    mln_event_break_set(ev);
}

int main(int argc, char **argv)
{
    mln_event_t *ev;

    if (argc > 1)
        return peer(atoi(argv[argc - 1]));
    handle(READY, on_ready, NULL);
    handle(SLOW_DONE, on_slow_done, NULL);
    handle(DONE, on_done, NULL);
    handle(PING, on_pong, answer);
    ev = become_master();
    start_worker(ev, NULL);
    sibling = last_worker(ev);
    (void)start_peer(ev, "peer");
    dispatch(ev, NULL);
    CHECK_INT(done, 1);
    mln_event_free(ev);
    return 0;
}
