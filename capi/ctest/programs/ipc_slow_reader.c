/*
 * A peer that reads one byte a millisecond costs its master the memory of what is queued, and no processor; the other worker is
 * served meanwhile. When the peer reads faster, everything arrives.
 * deadline: 60s
 */
#include "ipc.h"
#include "processes.h"

enum { READY = 2000, LOAD, SLOW_DONE, DONE, PING, LOADS = 5, SIZE = 1000000, SLOW_BYTES = 1000, PASSED = 3000000 };

static mln_fork_t *sibling, *slow;
static int pongs, done;
static long cpu_before;
static long long begun;

static int peer(int fd)
{
    static char frame[8 + SIZE];
    uint32_t header[2];

    write_frame(fd, READY, NULL, 0);
    for (int i = 0; i < SLOW_BYTES; ++i) {
        CHECK(read_bytes(fd, frame + i, 1));
        usleep(1000);
    }
    write_frame(fd, SLOW_DONE, NULL, 0);
    for (int i = 0; i < LOADS; ++i) {
        int has = i == 0 ? SLOW_BYTES : 0;

        CHECK(read_bytes(fd, frame + has, sizeof frame - (size_t)has));
        memcpy(header, frame, sizeof header);
        CHECK_INT(header[0], 4 + SIZE);
        CHECK_INT(header[1], LOAD);
        CHECK(filled(frame + sizeof header, SIZE, (uint64_t)i));
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

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    static char payload[SIZE];

    (void)buf;
    (void)len;
    (void)udata;
    slow = f;
    for (int i = 0; i < LOADS; ++i) {
        fill(payload, SIZE, (uint64_t)i);
        CHECK_INT(mln_ipc_master_send_prepare(ev, LOAD, payload, SIZE, f), 0);
    }
    begun = now_ms();
    cpu_before = cpu_ms();
    ping(ev, NULL);
}

static void answer(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, PING, buf, len), 0);
}

static void on_pong(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_PTR(f, sibling);
    ++pongs;
    if (!done)
        CHECK(mln_event_timer_set(ev, 5, NULL, ping) != NULL);
}

/* A loop that tried again and again to write would have used all of the time. */
static void on_slow_done(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_PTR(f, slow);
    CHECK(bytes_to_send(&slow->conn) > LOADS * SIZE - PASSED);
    CHECK((cpu_ms() - cpu_before) * 2 < now_ms() - begun);
    CHECK(pongs > 20 || check_slowness() > 1);
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
