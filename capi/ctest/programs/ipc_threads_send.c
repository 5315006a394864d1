/*
 * Four threads of a worker and four of the master send while the loops of both dispatch: nothing is lost, and what one
 * thread sends arrives in its order. What a thread sends while the loop sleeps leaves at once.
 *
 * deadline: 60s
 */
#include "ipc.h"

#include <pthread.h>

#ifndef WORDS
#define WORDS 20000 /* of each thread */
#endif

enum { WORD = 2000, READY, LONE, THREADS = 4, LARGE = 40000 };

struct word {
    uint32_t thread;
    uint32_t number;
};

static mln_event_t *loop;
static mln_fork_t *receiver; /* of the master's threads */
static pthread_t threads[THREADS];
static uint32_t next[THREADS];
static int total, all, lone;

static size_t size_of(struct word w)
{
    size_t extra = w.number % 500 == 5 ? LARGE : (w.thread + w.number) % 100;

    return sizeof w + extra;
}

static void *send_words(void *data)
{
    char *bytes = malloc(sizeof(struct word) + LARGE);
    struct word w = {(uint32_t)(intptr_t)data, 0};

    CHECK(bytes != NULL);
    for (w.number = 0; w.number < WORDS; ++w.number) {
        size_t size = size_of(w);

        memcpy(bytes, &w, sizeof w);
        fill(bytes + sizeof w, size - sizeof w, w.thread * WORDS + w.number);
        CHECK_INT(receiver != NULL ? mln_ipc_master_send_prepare(loop, WORD, bytes, size, receiver)
                                   : mln_ipc_worker_send_prepare(loop, WORD, bytes, size), 0);
        if (w.number % 1000 == 0)
            usleep(1000); /* so that the loop falls asleep now and then */
    }
    free(bytes);
    return NULL;
}

static void *send_alone(void *data)
{
    usleep(50000); /* the loop sleeps now, and nothing else wakes it */
    CHECK_INT(receiver != NULL ? mln_ipc_master_send_prepare(loop, LONE, NULL, 0, receiver)
                               : mln_ipc_worker_send_prepare(loop, LONE, NULL, 0), 0);
    return data;
}

static void start_threads(mln_event_t *ev, mln_fork_t *f)
{
    loop = ev;
    receiver = f;
    for (intptr_t i = 0; i < THREADS; ++i)
        CHECK_INT(pthread_create(&threads[i], NULL, send_words, (void *)i), 0);
}

/* They have sent everything. */
static void join_threads(void)
{
    for (int i = 0; i < THREADS; ++i)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK_INT(pthread_create(&threads[0], NULL, send_alone, NULL), 0);
}

static int take(const void *buf, mln_u32_t len)
{
    struct word w;

    CHECK(len >= sizeof w);
    memcpy(&w, buf, sizeof w);
    CHECK(w.thread < THREADS);
    CHECK_INT(w.number, next[w.thread]);
    CHECK_INT(len, size_of(w));
    CHECK(filled((const char *)buf + sizeof w, len - sizeof w, w.thread * WORDS + w.number));
    ++next[w.thread];
    return ++total == THREADS * WORDS;
}

static void begin(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, READY, NULL, 0), 0);
    start_threads(ev, NULL);
}

static void on_ready(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)udata;
    if (len == 0)
        start_threads(ev, f);
    else
        mln_event_break_set(ev);
}

/* The worker begins: it has had everything, and so has the other side when it is not busy any more. */
static void on_word_in_worker(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    if (take(buf, len))
        join_threads();
}

static void on_word_in_master(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    all = take(buf, len);
    if (all && lone)
        join_threads();
}

static void on_lone_in_master(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    lone = 1;
    if (all)
        join_threads();
}

static void on_lone_in_worker(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_INT(pthread_join(threads[0], NULL), 0);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, READY, "", 1), 0);
}

#ifdef EXECUTED
static int work_executed(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK_INT(mln_fork_worker_ipc_handler_set(WORD, on_word_in_worker, NULL), 0);
    CHECK_INT(mln_fork_worker_ipc_handler_set(LONE, on_lone_in_worker, NULL), 0);
    mln_fork_worker_events_set(ev);
    begin(ev);
    mln_event_dispatch(ev); /* until the master is gone */
    return 1;
}
#endif

int main(int argc, char **argv)
{
    mln_event_t *ev;

    (void)argv;
#ifdef EXECUTED
    if (argc > 1)
        return work_executed();
#else
    (void)argc;
#endif
    handle(WORD, on_word_in_master, on_word_in_worker);
    handle(READY, on_ready, NULL);
    handle(LONE, on_lone_in_master, on_lone_in_worker);
    ev = become_master();
#ifdef EXECUTED
    (void)start_peer(ev, "worker");
#else
    start_worker(ev, begin);
#endif
    dispatch(ev, begin);
    CHECK_INT(pthread_join(threads[0], NULL), 0);
    CHECK_INT(total, THREADS * WORDS);
    mln_event_free(ev);
    return 0;
}
