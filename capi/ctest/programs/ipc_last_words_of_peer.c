/*
 * What an exec'ed program wrote before it ended arrives, though it takes several reads and the program has ended before
 * the first of them.
 */
#include "ipc.h"

enum { READY = 2000, WORDS, SMALL_BEFORE = 3, SMALL_AFTER = 400 };

static const uint32_t sizes[] = {70000, 150000, 65536, 131064, 30000};

enum { PEERS = sizeof sizes / sizeof sizes[0] };

static int heard[PEERS];

/* A few small messages, a large one, and small ones again, by one call each of write(2) that does not wait. */
static int peer(int number, int fd)
{
    char *payload = calloc(1, sizes[number]), small[2000], *at;

    CHECK(payload != NULL);
    write_frame(fd, READY, NULL, 0);
    await_read(fd); /* the master is asleep in its handler now, or about to be */
    fill(payload, sizes[number], (uint64_t)number);
    for (int i = 0; i < SMALL_BEFORE; ++i)
        write_frame(fd, WORDS, &number, sizeof number);
    write_frame(fd, WORDS, payload, sizes[number]);
    for (int i = 0; i < SMALL_AFTER; i += 100) {
        at = small;
        for (int k = 0; k < 100; ++k)
            at = put_frame(at, WORDS, &number, sizeof number);
        write_bytes(fd, small, (size_t)(at - small));
    }
    free(payload);
    return 0;
}

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    usleep(100000);
}

static void on_words(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    int number = atoi(f->args[1]), n;

    (void)udata;
    CHECK(f->pid > 0);
    (void)mln_ipc_master_send_prepare(ev, READY, NULL, 0, f); /* nobody will read it */
    if (heard[number]++ == SMALL_BEFORE) {
        CHECK_INT(len, sizes[number]);
        CHECK(filled(buf, len, (uint64_t)number));
        return;
    }
    CHECK_INT(len, sizeof n);
    memcpy(&n, buf, sizeof n);
    CHECK_INT(n, number);
}

static void look(mln_event_t *ev, void *data)
{
    if (worker_count(ev) == 0)
        mln_event_break_set(ev);
    else
        CHECK(mln_event_timer_set(ev, 10, data, look) != NULL);
}

int main(int argc, char **argv)
{
    char numbers[PEERS][12];
    mln_event_t *ev;

    if (argc > 1)
        return peer(atoi(argv[1]), atoi(argv[argc - 1]));
    handle(READY, on_ready, NULL);
    handle(WORDS, on_words, NULL);
    ev = become_master();
    for (int i = 0; i < PEERS; ++i) {
        snprintf(numbers[i], sizeof numbers[i], "%d", i);
        (void)start_peer(ev, numbers[i]);
    }
    look(ev, NULL);
    mln_event_dispatch(ev);
    for (int i = 0; i < PEERS; ++i)
        CHECK_INT(heard[i], SMALL_BEFORE + 1 + SMALL_AFTER);
    mln_event_free(ev);
    return 0;
}
