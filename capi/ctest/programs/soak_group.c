/*
 * A master that starts its workers again and again, reloads, and talks with all of them, needs as much of everything in the end
 * as in the beginning: descriptors, threads, mappings, memory. So do two workers, one forked and one executed, that live as long as it
 * does, and set a timer or two at each message. It takes 6 s, or SOAK_S.
 * deadline: 24h
 */
#include "ipc.h"
#include "mln_framework.h"
#include "processes.h"
#include "scratch.h"

#include <malloc.h>

enum { FORKED = 4, PROGRAMS = 2, WORKERS = FORKED + PROGRAMS, SOAK_S = 6, LIVES = 64 };
enum { NUMBERED = 3000, ECHOED, MEASURE, MEASURED };
enum { TICK_MS = 4, KILL_MS = 150, RELOAD_MS = 250, SAMPLE_MS = 500, DRAIN_MS = 10000 };

/* A life of a worker, as the master knows it; those of the dead are used again. */
struct life {
    pid_t pid;
    unsigned sent, echoed;
    unsigned long seen; /* when the master last met it among its workers */
};

/* What a process holds. */
struct holding {
    int descriptors, threads, mappings;
    unsigned long long resident, allocated; /* KiB; the second by malloc() */
};

/* What a worker tells of itself. */
struct report {
    struct holding holding;
    unsigned messages, reloads, timers; /* that it has had */
};

/* A process that lives as long as the soak. */
static struct lasting {
    const char *name;
    pid_t pid;
    int samples, last_samples;          /* in the second quarter of the time, and in the last */
    struct holding most, fewest, least; /* of the second quarter, twice, and of the last */
    struct report report;               /* of a worker, the last one */
} lasting[] = {{.name = "the master"}, {.name = "the forked worker"}, {.name = "the executed worker"}};

enum { LASTING = sizeof lasting / sizeof *lasting };

static struct life lives[LIVES];
static unsigned long ticks;
static int kills, reloads, echoes, untold = -1; /* workers that are to tell what they hold; -1: none were asked */
static uint64_t whims; /* the state of all choices */
static long long begin, soak_ms = SOAK_S * 1000, next_kill, next_reload, next_sample, quiet_since;
static pid_t master;

static size_t size_of(unsigned number)
{
    return numbered_size(number, 48);
}

static void check_message(const void *buf, mln_u32_t len, unsigned number)
{
    CHECK_INT(len, size_of(number));
    CHECK(filled(buf, len, number));
}

static struct holding measure(void)
{
    struct mallinfo2 malloced = mallinfo2();

    malloc_trim(0); /* what large messages have left behind */
    return (struct holding){check_open_descriptors(), thread_count(), mapping_count(""), status_number(0, "VmRSS", 10),
                            (malloced.uordblks + malloced.hblkhd) / 1024};
}

static int reloaded(void *data)
{
    (void)data;
    ++reloads;
    return 0;
}

/* ---- in a worker ---- */

static unsigned expected, timers;

static void on_time(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    ++timers;
}

static void on_numbered(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    mln_event_timer_t *timer = mln_event_timer_set(ev, 3600000, NULL, on_time);

    (void)f;
    (void)udata;
    CHECK(timer != NULL);
    CHECK(mln_event_timer_set(ev, 1, NULL, on_time) != NULL);
    mln_event_timer_cancel(ev, timer);
    check_message(buf, len, expected);
    ++expected;
    if (mln_ipc_worker_send_prepare(ev, ECHOED, buf, len) != 0)
        CHECK_INT(errno, EPIPE); /* the master is gone */
}

static void on_measure(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    struct report report = {measure(), expected, (unsigned)reloads, timers};

    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, MEASURED, &report, sizeof report), 0);
}

static int be_a_program(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK_INT(mln_fork_worker_ipc_handler_set(NUMBERED, on_numbered, NULL), 0);
    CHECK_INT(mln_fork_worker_ipc_handler_set(MEASURE, on_measure, NULL), 0);
    mln_fork_worker_events_set(ev);
    mln_event_dispatch(ev);
    return 1;
}

/* ---- in the master ---- */

static struct life *life_of(pid_t pid)
{
    for (int i = 0; i < LIVES; ++i)
        if (lives[i].pid == pid)
            return &lives[i];
    return NULL;
}

static void on_echoed(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *life = life_of(((mln_fork_t *)f_ptr)->pid);

    (void)ev;
    (void)udata;
    CHECK(life != NULL);
    check_message(buf, len, life->echoed);
    CHECK(++life->echoed <= life->sent);
    ++echoes;
}

static int feed(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct life *life = life_of(f->pid);

    (void)data;
    if (life == NULL) { /* of its own, or of one that was not met the last time */
        for (life = lives; life < lives + LIVES && life->pid != 0 && life->seen + 1 >= ticks; ++life)
            ;
        CHECK(life < lives + LIVES);
        *life = (struct life){.pid = f->pid};
    }
    life->seen = ticks;
    for (int i = 0; i < 3; ++i) {
        size_t size = size_of(life->sent);

        if (mln_ipc_master_send_prepare(ev, NUMBERED, numbered_message(life->sent, size), (mln_u32_t)size, f) != 0) {
            CHECK_INT(errno, EPIPE); /* it was killed just now */
            return 0;
        }
        ++life->sent;
    }
    return 0;
}

static struct lasting *lasting_of(pid_t pid)
{
    for (int i = 0; i < LASTING; ++i)
        if (lasting[i].pid == pid)
            return &lasting[i];
    return NULL;
}

/* Of those that do not last. */
static int kill_one(mln_event_t *ev, mln_fork_t *f, void *data)
{
    int *countdown = data;

    (void)ev;
    if (lasting_of(f->pid) != NULL || (*countdown)-- > 0)
        return 0;
    ++kills;
    CHECK_INT(kill(f->pid, SIGKILL), 0);
    return -1;
}

/* How many are there and have answered everything. */
static int check_one(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct life *life = life_of(f->pid);
    int *well = data;

    (void)ev;
    *well += life == NULL || life->echoed == life->sent; /* a new one has not been sent anything */
    return 0;
}

#define TAKE(which, comparison, now)                             \
    do {                                                         \
        if ((now).descriptors comparison (which).descriptors)    \
            (which).descriptors = (now).descriptors;             \
        if ((now).threads comparison (which).threads)            \
            (which).threads = (now).threads;                     \
        if ((now).mappings comparison (which).mappings)          \
            (which).mappings = (now).mappings;                   \
        if ((now).resident comparison (which).resident)          \
            (which).resident = (now).resident;                   \
        if ((now).allocated comparison (which).allocated)        \
            (which).allocated = (now).allocated;                 \
    } while (0)

static void take(struct lasting *who, const struct holding *now)
{
    long long age = now_ms() - begin;

    if (age < soak_ms / 4 || (age > soak_ms / 2 && age < soak_ms * 3 / 4))
        return;
    if (age <= soak_ms / 2) {
        if (who->samples++ == 0)
            who->most = who->fewest = *now;
        TAKE(who->most, >, *now);
        TAKE(who->fewest, <, *now);
        return;
    }
    if (who->last_samples++ == 0)
        who->least = *now;
    TAKE(who->least, <, *now);
}

static int ask_one(mln_event_t *ev, mln_fork_t *f, void *data)
{
    if (lasting_of(f->pid) == NULL)
        return 0;
    ++*(int *)data;
    return mln_ipc_master_send_prepare(ev, MEASURE, NULL, 0, f);
}

static void on_measured(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct lasting *who = lasting_of(((mln_fork_t *)f_ptr)->pid);

    (void)ev;
    (void)udata;
    CHECK(who != NULL);
    CHECK_INT(len, sizeof who->report);
    memcpy(&who->report, buf, len);
    --untold;
    take(who, &who->report.holding);
}

static void sample(mln_event_t *ev)
{
    struct holding now = measure();

    take(&lasting[0], &now);
    untold = 0;
    CHECK_INT(mln_fork_iterate(ev, ask_one, &untold), 0);
    CHECK_INT(untold, LASTING - 1);
}

static void tick(mln_event_t *ev, void *data)
{
    long long now = now_ms(), age = now - begin;
    int well = 0, which = (int)(random_number(&whims) % (WORKERS - (LASTING - 1)));

    (void)data;
    ++ticks;
    CHECK(mln_event_timer_set(ev, TICK_MS, NULL, tick) != NULL);
    if (quiet_since != 0) { /* until everything is answered, and those that last have told what they hold */
        CHECK(now - quiet_since < DRAIN_MS);
        if (untold < 0) {
            CHECK_INT(mln_fork_iterate(ev, check_one, &well), 0);
            if (well == WORKERS)
                sample(ev);
        }
        if (untold != 0)
            return;
        untold = -1;
        quiet_since = 0;
        if (age >= soak_ms)
            mln_event_break_set(ev);
    }
    CHECK_INT(mln_fork_iterate(ev, feed, NULL), 0);
    if (now >= next_sample) {
        next_sample = now + SAMPLE_MS;
        quiet_since = now;
        return;
    }
    if (now >= next_kill) {
        next_kill = now + KILL_MS;
        (void)mln_fork_iterate(ev, kill_one, &which);
    }
    if (now >= next_reload) {
        next_reload = now + RELOAD_MS;
        CHECK_INT(raise(SIGUSR2), 0);
    }
}

static int prepare(void)
{
    return mln_conf_hook_set(reloaded, NULL) == NULL ? -1 : 0;
}

static void spawn(mln_event_t *ev)
{
    static char program[] = "/proc/self/exe", role[] = "worker";
    mln_s8ptr_t *args = calloc(2, sizeof *args);

    CHECK(args != NULL);
    args[0] = program;
    args[1] = role;
    CHECK_INT(mln_fork_spawn(M_PST_SUP, args, 2, ev), 0);
}

static void in_master(mln_event_t *ev)
{
    lasting[0].pid = master;
    lasting[1].pid = last_worker(ev)->pid;
    for (int i = 0; i < PROGRAMS; ++i)
        spawn(ev);
    lasting[2].pid = last_worker(ev)->pid;
    begin = now_ms();
    tick(ev, NULL);
}

static void show(const char *when, const struct holding *h)
{
    printf("  %s: %d descriptors, %d threads, %d mappings, %llu KiB, of which %llu KiB by malloc\n", when, h->descriptors, h->threads,
           h->mappings, h->resident, h->allocated);
}

static void judge(const struct lasting *who)
{
    printf("%s: %d and %d samples; %u messages, %u reloads, %u timers\n", who->name, who->samples, who->last_samples,
           who->report.messages, who->report.reloads, who->report.timers);
    show("at most, in the second quarter of the time", &who->most);
    show("at least, in the second quarter", &who->fewest);
    show("at least, in the last", &who->least);
    CHECK(who->samples > 0 && who->last_samples > 0);
    CHECK(who->least.descriptors <= who->most.descriptors);
    CHECK(who->least.threads <= who->most.threads + 2); /* Go's runtime starts a thread or two more when it first needs them */
    CHECK(who->least.mappings <= who->most.mappings + 16); /* of which each has four; and the allocators of C and of Go move */
    /*
     * In three minutes it is seen that every restart loses 1 KiB of malloc's or 2 KiB of Go's, or every message 4 bytes of malloc's or 16
     * of Go's. In less, not all pages have been used that will be, and what is kept of the last 256 workers has not grown yet.
     */
    CHECK(who->least.resident <= who->fewest.resident + (soak_ms >= 120000 ? 512 : 1536));
    /* A connection has a buffer of 64 KiB, or has not. */
    CHECK(who->least.allocated <= who->fewest.allocated + (soak_ms >= 120000 ? 128 : 384));
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, in_master, NULL};
    char text[1000];

    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return be_a_program();
    if (getenv("GOGC") == NULL) { /* read by the runtimes when they start, and inherited by all workers */
        CHECK_INT(setenv("GOGC", "1", 1), 0);
        CHECK_INT(execv("/proc/self/exe", argv), 0);
    }
    if (getenv("SOAK_S") != NULL)
        soak_ms = atoll(getenv("SOAK_S")) * 1000;
    whims = seed_of_run();
    master = getpid();
    scratch_make();
    snprintf(text, sizeof text,
             "framework \"multiprocess\"; worker_proc %d; log_level \"error\"; log_path \"%s/log\"; worker_backoff_max 200;\n", FORKED,
             scratch_dir);
    snprintf(scratch_conf_path, sizeof scratch_conf_path, "%s/melon.conf", scratch_dir);
    scratch_write(scratch_conf_path, text);
    mln_path_hook_set(m_p_conf, scratch_conf_file);
    mln_log_logger_set(NULL);
    CHECK(mln_ipc_handler_register(NUMBERED, NULL, on_numbered, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(MEASURE, NULL, on_measure, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(MEASURED, on_measured, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(ECHOED, on_echoed, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(getpid(), master);
    CHECK_INT(child_count(), 0);
    printf("%lld s: %d killed, %d reloads, %d messages answered\n", soak_ms / 1000, kills, reloads, echoes);
    CHECK(kills >= 5 && reloads >= 5 && echoes > 100);
    for (int i = 0; i < LASTING; ++i)
        judge(&lasting[i]);
    return 0;
}
