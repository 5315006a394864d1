/*
 * Whatever a master and its workers send each other at the same time, of any size and in any order, from handlers, timers
 * and before their loops run, arrives complete, once and in order.
 *
 * Both sides know the seed of each direction, and with it the type, size and content of every message that has to come.
 * The seed is printed; SEED=number in the environment repeats a run.
 *
 * deadline: 120s
 */
#include "ipc.h"

enum {
    WORKERS = 3,
    FIRST = 2000, /* of the types that carry a sequence */
    TYPES = 5,
    LAST,                  /* nothing follows */
    VOLUME = 50 << 20,     /* bytes that one direction of one worker carries, and a last message */
    IN_FLIGHT = 16 << 20,  /* what a sender lets queue up before it leaves it to its timer */
    LARGEST = 4 << 20
};

/* A sequence of messages, which sender and receiver make alike. */
struct sequence {
    uint64_t state;
    size_t volume; /* of the messages so far */
    long count;
};

struct message {
    mln_u32_t type;
    mln_u32_t size;
    uint64_t content;
};

/* One end of a channel. */
struct end {
    mln_fork_t *f; /* NULL in a worker */
    struct sequence out, in;
    int out_done, in_done;
    uint64_t whims; /* when to send how many */
};

static uint64_t seed;
static struct end ends[WORKERS]; /* in a worker, its own is the one with its number */
static int number = -1;          /* of this worker */
static int finished;
static char payload[LARGEST];

/* Small ones are the most, and each size between has its share. */
static mln_u32_t random_size(uint64_t *state)
{
    uint64_t r = random_number(state);
    unsigned kind = (unsigned)(r % 1000);
    uint64_t n = r >> 20;

    if (kind < 50)
        return 0;
    if (kind < 650)
        return (mln_u32_t)(n % 65);
    if (kind < 900)
        return (mln_u32_t)(n % 4097);
    if (kind < 980)
        return (mln_u32_t)(n % (64 << 10));
    if (kind < 996)
        return (mln_u32_t)(n % (512 << 10));
    return (mln_u32_t)(n % (LARGEST + 1));
}

/* 0 at the end of the sequence. */
static int next_message(struct sequence *s, struct message *m)
{
    if (s->volume >= VOLUME)
        return 0;
    m->size = random_size(&s->state);
    m->content = random_number(&s->state);
    m->type = FIRST + (mln_u32_t)(m->content % TYPES);
    s->volume += m->size + 64; /* as if it had a header of that size: so that empty ones count */
    ++s->count;
    return 1;
}

static struct sequence sequence_of(int worker, int upwards)
{
    uint64_t state = seed + (uint64_t)(2 * worker + upwards + 1) * 1000003;

    return (struct sequence){.state = random_number(&state)};
}

static mln_tcp_conn_t *connection(struct end *e)
{
    return e->f != NULL ? &e->f->conn : mln_fork_master_connection_get();
}

static void send_one(mln_event_t *ev, struct end *e, mln_u32_t type, mln_u32_t size)
{
    CHECK_INT(e->f != NULL ? mln_ipc_master_send_prepare(ev, type, payload, size, e->f)
                           : mln_ipc_worker_send_prepare(ev, type, payload, size), 0);
}

static void send_some(mln_event_t *ev, struct end *e, int n)
{
    struct message m;

    for (; n > 0 && !e->out_done; --n) {
        if (next_message(&e->out, &m)) {
            fill(payload, m.size, m.content);
            send_one(ev, e, m.type, m.size);
        } else {
            e->out_done = 1;
            memcpy(payload, &e->out.count, sizeof e->out.count);
            send_one(ev, e, LAST, sizeof e->out.count);
        }
    }
}

static void on_timer(mln_event_t *ev, void *data)
{
    struct end *e = data;

    if (bytes_to_send(connection(e)) < IN_FLIGHT)
        send_some(ev, e, 1 + (int)(random_number(&e->whims) % 100));
    if (!e->out_done)
        CHECK(mln_event_timer_set(ev, (mln_u32_t)(random_number(&e->whims) % 3), e, on_timer) != NULL);
}

static void start(mln_event_t *ev, struct end *e)
{
    send_some(ev, e, 200);
    on_timer(ev, e);
}

static struct end *end_of(mln_fork_t *f)
{
    if (number >= 0)
        return &ends[number];
    for (int i = 0; i < WORKERS; ++i)
        if (ends[i].f == f)
            return &ends[i];
    CHECK(!"a worker that was started");
    return NULL;
}

static void on_message(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    struct end *e = end_of(f);
    struct message m;

    (void)udata;
    CHECK_INT(e->in_done, 0);
    CHECK(next_message(&e->in, &m));
    CHECK_INT(((mln_fork_t *)f)->msg_type, m.type);
    CHECK_INT(len, m.size);
    CHECK_INT((uintptr_t)buf % 8, 0);
    CHECK(filled(buf, len, m.content));
    if (bytes_to_send(connection(e)) < IN_FLIGHT)
        send_some(ev, e, (int)(random_number(&e->whims) % 3));
}

/* The worker confirms it. */
static void on_last(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    struct end *e = end_of(f);
    struct message m;
    long count;

    (void)udata;
    CHECK_INT(e->in_done, 0);
    e->in_done = 1;
    CHECK_INT(len, sizeof count);
    memcpy(&count, buf, sizeof count);
    CHECK_INT(count, e->in.count);
    CHECK_INT(next_message(&e->in, &m), 0);
    CHECK(count > 100);
    if (number < 0)
        mln_event_break_set(ev); /* main looks whether that is all */
    else
        CHECK_INT(mln_ipc_worker_send_prepare(ev, LAST + 1, NULL, 0), 0);
}

/* The worker has had everything. */
static void on_finished(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    ++finished;
    mln_event_break_set(ev);
}

static void begin(mln_event_t *ev)
{
    start(ev, &ends[number]);
}

int main(void)
{
    int all_in = 0;
    mln_event_t *ev;

    seed = seed_of_run();
    for (mln_u32_t i = 0; i < TYPES; ++i)
        handle(FIRST + i, on_message, on_message);
    handle(LAST, on_last, on_last);
    handle(LAST + 1, on_finished, NULL);
    ev = become_master();
    for (int i = 0; i < WORKERS; ++i) {
        number = i;
        ends[i] = (struct end){.out = sequence_of(i, 1), .in = sequence_of(i, 0), .whims = seed + 77 + (uint64_t)i};
        start_worker(ev, begin);
        number = -1;
        ends[i] = (struct end){.f = last_worker(ev), .out = sequence_of(i, 0), .in = sequence_of(i, 1),
                               .whims = seed + 7777 + (uint64_t)i};
        start(ev, &ends[i]);
    }
    while (finished < WORKERS || all_in < WORKERS) {
        dispatch(ev, NULL);
        mln_event_break_reset(ev);
        all_in = 0;
        for (int i = 0; i < WORKERS; ++i)
            all_in += ends[i].in_done;
    }
    for (int i = 0; i < WORKERS; ++i)
        CHECK(ends[i].out_done);
    mln_event_free(ev);
    return 0;
}
