/*
 * Which handler gets a message: of registrations and settings, of both eras, before and after the preparation to fork,
 * the latest one; and the slot of user data is one a process and type.
 */
#include "ipc.h"

#include "mln_conf.h"
#include "scratch.h"

enum {
    TWICE = 2000,  /* registered twice */
    EARLY,         /* registered, then set before the preparation */
    OVERRULED,     /* set, then registered, before the preparation */
    LATE,          /* registered, then set after the preparation */
    SEED,          /* set the seed era's way, twice */
    SEED_FIRST,    /* set the seed era's way before the preparation */
    WITHDRAWN,     /* registered twice, of which the second was withdrawn */
    GONE,          /* registered and withdrawn */
    NOTHING,       /* registered, then set to no handler */
    TAKEN = 2256 + 8, /* in the same bucket of a small table as NOTHING */
    ITSELF = 3000, /* the handler replaces itself */
    SLOT,          /* counts in its slot */
    SEED_SLOT,     /* the slot is the program's */
    IN_WORKER,     /* set in the worker */
    AFTER_FORK,    /* set for workers when this one was there already */
    LAST,
    MANY = 10000,  /* registered and withdrawn by hundreds */
    HUNDREDS = 500,
    WORKERS = 2,
    WORDS = 10 /* of each type */
};

/* Every type, in the order in which they are sent; the least, the largest, and one that the library has of its own too. */
static const mln_u32_t types[] = {
    0, 0xffffffff, M_IPC_TYPE_CONF, TWICE, EARLY, OVERRULED, LATE, SEED, SEED_FIRST, WITHDRAWN, GONE, NOTHING, TAKEN, ITSELF,
    SLOT, SEED_SLOT, IN_WORKER, AFTER_FORK, MANY, MANY + HUNDREDS - 1, LAST,
};

enum { TYPES = sizeof types / sizeof types[0] };

static int in_worker, finished;
static long right[TYPES], wrong[TYPES];
static long dropped; /* bytes */

static int index_of(mln_u32_t type)
{
    for (int i = 0; i < TYPES; ++i)
        if (types[i] == type)
            return i;
    CHECK(!"a type of this test");
    return -1;
}

static void good(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)len;
    (void)udata;
    CHECK_INT(*(mln_u32_t *)buf, ((mln_fork_t *)f)->msg_type);
    ++right[index_of(*(mln_u32_t *)buf)];
}

static void bad(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)len;
    (void)udata;
    ++wrong[index_of(*(mln_u32_t *)buf)];
}

static int set(mln_u32_t type, ipc_handler handler, void *data)
{
    return in_worker ? mln_fork_worker_ipc_handler_set(type, handler, data)
                     : mln_fork_master_ipc_handler_set(type, handler, data);
}

static void on_itself(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    enum { SIZES = 16, STEP = 16 };
    void *taken[SIZES];

    CHECK_STR(*udata, "first");
    CHECK_INT(right[index_of(ITSELF)], 0);
    good(ev, f, buf, len, udata);
    CHECK_INT(set(ITSELF, NULL, NULL), 0);
    CHECK_INT(set(ITSELF, bad, NULL), 0);
    for (int i = 0; i < SIZES; ++i) { /* in place of whatever was freed by that */
        CHECK((taken[i] = malloc((size_t)(i + 1) * STEP)) != NULL);
        memset(taken[i], 0, (size_t)(i + 1) * STEP);
    }
    CHECK_INT(set(ITSELF, good, "last"), 0);
    CHECK_STR(*udata, "last"); /* the slot that it was called with still is one */
    *udata = "first";
    for (int i = 0; i < SIZES; ++i)
        free(taken[i]);
}

static void on_slot(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    long *count = *udata;

    good(ev, f, buf, len, udata);
    if (right[index_of(SLOT)] == 1) {
        CHECK_STR(*udata, in_worker ? "worker" : "master");
        *udata = &right[index_of(SLOT)];
        return;
    }
    CHECK_PTR(count, &right[index_of(SLOT)]); /* of all workers together in the master */
}

static mln_ipc_handler_t seed_slots[2];

static void on_seed_slot(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    good(ev, f, buf, len, udata);
    CHECK_PTR(udata, &seed_slots[in_worker].data);
    CHECK_INT((intptr_t)*udata, 100 + right[index_of(SEED_SLOT)] - 1);
    *udata = (void *)((intptr_t)*udata + 1);
}

/* What the other side sent is all here. */
static void verify(mln_fork_t *f)
{
    long times = in_worker ? WORDS : (long)WORDS * WORKERS;

    for (int i = 0; i < TYPES - 1; ++i) {
        mln_u32_t type = types[i];
        int none = type == GONE || type == NOTHING || type == MANY || type == MANY + HUNDREDS - 1 ||
                   (type == AFTER_FORK && in_worker) || (type == IN_WORKER && !in_worker);

        if (wrong[i] != 0 || right[i] != (none ? 0 : times))
            fprintf(stderr, "in the %s, type %u: %ld to the right handler, %ld to another\n",
                    in_worker ? "worker" : "master", type, right[i], wrong[i]);
        CHECK_INT(wrong[i], 0);
        CHECK_INT(right[i], none ? 0 : times);
    }
    dropped += (long)f->error_bytes;
}

static void send_words(mln_event_t *ev, mln_fork_t *f)
{
    for (int k = 0; k < WORDS; ++k) {
        for (int i = 0; i < TYPES - 1; ++i) {
            mln_u32_t type = types[i];

            CHECK_INT(in_worker ? mln_ipc_worker_send_prepare(ev, type, &type, sizeof type)
                                : mln_ipc_master_send_prepare(ev, type, &type, sizeof type, f), 0);
        }
    }
}

static void worker_last(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)udata;
    verify(f);
    CHECK_INT(dropped, 5 * WORDS * (8 + (long)sizeof(mln_u32_t)));
    send_words(ev, NULL);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, LAST, buf, len), 0);
}

static int sum_dropped(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    *(long *)data += (long)f->error_bytes;
    return 0;
}

static void master_last(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    if (++finished == WORKERS)
        mln_event_break_set(ev);
}

static void before_preparation(void)
{
    static mln_ipc_handler_t seed_first[2] = {{good, NULL, SEED_FIRST}, {good, NULL, SEED_FIRST}};
    mln_ipc_cb_t *many[HUNDREDS], *second;

    handle(0, good, good);
    handle(0xffffffff, good, good);
    handle(M_IPC_TYPE_CONF, good, good);
    handle(TWICE, bad, bad);
    handle(TWICE, good, good);
    handle(EARLY, bad, bad);
    CHECK_INT(mln_fork_master_ipc_handler_set(EARLY, good, NULL), 0);
    CHECK_INT(mln_fork_worker_ipc_handler_set(EARLY, good, NULL), 0);
    CHECK_INT(mln_fork_master_ipc_handler_set(OVERRULED, bad, NULL), 0);
    CHECK_INT(mln_fork_worker_ipc_handler_set(OVERRULED, bad, NULL), 0);
    handle(OVERRULED, good, good);
    handle(LATE, bad, bad);
    mln_set_master_ipc_handler(&seed_first[0]);
    mln_set_worker_ipc_handler(&seed_first[1]);
    handle(WITHDRAWN, good, good);
    second = mln_ipc_handler_register(WITHDRAWN, bad, bad, NULL, NULL);
    CHECK(second != NULL);
    mln_ipc_handler_unregister(second);
    mln_ipc_handler_unregister(mln_ipc_handler_register(GONE, bad, bad, NULL, NULL));
    mln_ipc_handler_unregister(NULL);
    handle(NOTHING, bad, bad);
    handle(TAKEN, good, good);
    CHECK(mln_ipc_handler_register(ITSELF, on_itself, on_itself, "first", "first") != NULL);
    CHECK(mln_ipc_handler_register(SLOT, on_slot, on_slot, "master", "worker") != NULL);
    handle(LAST, master_last, worker_last);
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < HUNDREDS; ++i) {
            many[i] = mln_ipc_handler_register(MANY + (mln_u32_t)i, bad, bad, NULL, NULL);
            CHECK(many[i] != NULL);
            CHECK_INT(many[i]->type, MANY + i);
        }
        for (int i = 0; i < HUNDREDS; ++i) /* from both ends */
            mln_ipc_handler_unregister(many[i % 2 == 0 ? i / 2 : HUNDREDS - 1 - i / 2]);
    }
}

static void after_preparation(void)
{
    static mln_ipc_handler_t seed[] = {{good, NULL, SEED}, {good, NULL, SEED}, {bad, NULL, SEED}};

    CHECK_INT(mln_fork_master_ipc_handler_set(LATE, good, NULL), 0);
    CHECK_INT(mln_fork_worker_ipc_handler_set(LATE, good, NULL), 0);
    mln_set_master_ipc_handler(&seed[0]);
    mln_set_worker_ipc_handler(&seed[1]);
    mln_set_master_ipc_handler(&seed[2]); /* refused, with a line in the log */
    mln_set_worker_ipc_handler(&seed[2]);
    CHECK_INT(mln_fork_master_ipc_handler_set(NOTHING, NULL, NULL), 0);
    CHECK_INT(mln_fork_worker_ipc_handler_set(NOTHING, NULL, NULL), 0);
    for (int i = 0; i < 2; ++i)
        seed_slots[i] = (mln_ipc_handler_t){on_seed_slot, (void *)100, SEED_SLOT};
    mln_set_master_ipc_handler(&seed_slots[0]);
    mln_set_worker_ipc_handler(&seed_slots[1]);
}

static void begin(mln_event_t *ev)
{
    (void)ev;
    in_worker = 1;
    CHECK_INT(mln_fork_worker_ipc_handler_set(IN_WORKER, good, NULL), 0);
}

int main(void)
{
    long dropped_by_all = 0;
    mln_event_t *ev;
    char *path;

    scratch_make();
    path = scratch_path("stderr");
    before_preparation();
    ev = become_master();
    scratch_catch_stderr(path);
    after_preparation();
    scratch_expect_part(path, "message type 2004 has a handler; the second one is refused");
    for (int i = 0; i < WORKERS; ++i)
        start_worker(ev, begin);
    CHECK_INT(mln_fork_worker_ipc_handler_set(AFTER_FORK, bad, NULL), 0);
    CHECK_INT(mln_fork_master_ipc_handler_set(AFTER_FORK, good, NULL), 0);
    for (mln_fork_t *f = last_worker(ev); f != NULL; f = f->prev) {
        send_words(ev, f);
        CHECK_INT(mln_ipc_master_send_prepare(ev, LAST, NULL, 0, f), 0);
    }
    dispatch(ev, begin);
    CHECK_INT(finished, WORKERS);
    verify(last_worker(ev));
    CHECK_INT(mln_fork_iterate(ev, sum_dropped, &dropped_by_all), 0);
    CHECK_INT(dropped_by_all, WORKERS * 5 * WORDS * (8 + (long)sizeof(mln_u32_t)));
    mln_event_free(ev);
    return 0;
}
