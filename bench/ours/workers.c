/*
 * workers.c - a master with several workers, with the C API. Options and results are those of the floor's program of this
 * name.
 */
#include "processes.h"

enum { DATA = 2000 };

static size_t size;
static uint64_t count, number, start;
static uint64_t due; /* in a worker: the number of the next message */
static long workers, answers_due;
static int with_timers, broadcasting, staying;
static struct samples samples;
static char *message;
static mln_fork_t **all;

static void far_off(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
}

static void set_timer(mln_event_t *ev)
{
    if (mln_event_timer_set(ev, 3600 * 1000, NULL, far_off) == NULL)
        fail("mln_event_timer_set: %s", strerror(errno));
}

static int send_to(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    return mln_ipc_master_send_prepare(ev, DATA, message, size, f);
}

static void next_round(mln_event_t *ev)
{
    start = now();
    stamp(message, size, number);
    answers_due = workers;
    MUST(mln_fork_iterate(ev, send_to, NULL));
}

static void wake_one(mln_event_t *ev, void *data)
{
    (void)data;
    start = now();
    stamp(message, size, number);
    answers_due = 1;
    MUST(send_to(ev, all[number % (uint64_t)workers], NULL));
}

static void wake_one_later(mln_event_t *ev)
{
    if (mln_event_timer_set(ev, (mln_u32_t)(1000 / workers), NULL, wake_one) == NULL)
        fail("mln_event_timer_set: %s", strerror(errno));
}

static int print_worker(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    printf(", \"worker%d\": %ld", (*(int *)data)++, (long)f->pid);
    return 0;
}

static void stay(mln_event_t *ev)
{
    int i = 0;

    if (with_timers)
        set_timer(ev);
    printf("{\"master\": %ld", (long)getpid());
    MUST(mln_fork_iterate(ev, print_worker, &i));
    printf("}\n");
    fflush(stdout);
}

static void on_answer(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    uint64_t warm = broadcasting ? count / 10 : (uint64_t)workers;

    (void)f;
    (void)udata;
    check(buf, len, size, number);
    if (--answers_due > 0)
        return;
    EXPECT(answers_due == 0);
    if (staying) {
        stay(ev);
        return;
    }
    if (number >= warm)
        samples_add(&samples, now() - start);
    if (++number == count + warm)
        mln_event_break_set(ev);
    else if (broadcasting)
        next_round(ev);
    else
        wake_one_later(ev);
}

static void on_question(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    check(buf, len, size, due);
    due += broadcasting || staying ? 1 : (uint64_t)workers;
    MUST(mln_ipc_worker_send_prepare(ev, DATA, buf, len));
}

static void start_work(mln_event_t *ev)
{
    if (with_timers)
        set_timer(ev);
}

int main(int argc, char **argv)
{
    mln_event_t *ev;

    begin(argc, argv);
    size = (size_t)option(argc, argv, "size", 64);
    count = (uint64_t)option(argc, argv, "count", 1000);
    workers = option(argc, argv, "workers", 4);
    with_timers = (int)option(argc, argv, "timers", 0);
    broadcasting = option_is(argc, argv, "do", "broadcast");
    staying = option_is(argc, argv, "do", "stay");
    message = calloc(1, size);
    all = calloc((size_t)workers, sizeof(mln_fork_t *));
    handle(DATA, on_answer, on_question);
    ev = become_master();
    for (long i = 0; i < workers; ++i) {
        due = broadcasting || staying ? 0 : (uint64_t)i; /* the worker inherits it */
        start_worker(ev, start_work);
        all[i] = last_worker(ev);
    }
    if (broadcasting || staying)
        next_round(ev);
    else
        wake_one_later(ev);
    run_master(ev, start_work);
    report_samples(&samples);
    report_end();
    return 0;
}
