/*
 * Workers, forked and executed, that are killed or stopped and continued at random under traffic in both directions and reloads,
 * also inside of a frame that is larger than what the kernel takes at a time, come back, not too fast, no message of a life is lost or
 * doubled before its end, nobody else ends, and the master has as many descriptors, threads and mappings after the storm as before. It
 * storms for 6 s, or STORM_S.
 * deadline: 300s
 */
#include "ipc.h"
#include "mln_framework.h"
#include "processes.h"
#include "scratch.h"

#include <sys/socket.h>

enum { FORKED = 5, PROGRAMS = 2, WORKERS = FORKED + PROGRAMS, STORM_S = 6, FIRST_MESSAGES = 20, QUIET_MESSAGES = 200, LIVES_MAX = 8192 };
enum { NUMBERED = 3000, ECHOED, OWN, BUFFER_SIZE = 20000 };

/* A life of a worker, as the master knows it. */
struct life {
    const mln_fork_t *channel;
    pid_t pid;
    unsigned sent, echoed, own;
    int killed, stopped;
};

/* What the master holds in the calm. */
struct holding {
    int descriptors, threads, mappings;
};

static struct life lives[LIVES_MAX];
static struct holding before, after;
static int life_count, kills, kills_inside, stops, reloads;
static enum { CALM_BEFORE, STORMY, CALM_AFTER } weather;
static long long storm_s = STORM_S, storm_end, next_reload;
static uint64_t whims; /* the state of all choices */
static pid_t master;

static unsigned pick(unsigned n)
{
    return (unsigned)(random_number(&whims) % n);
}

static size_t size_of(unsigned number)
{
    return numbered_size(number, 6);
}

static void check_message(const void *buf, mln_u32_t len, unsigned number)
{
    CHECK_INT(len, size_of(number));
    CHECK(filled(buf, len, number));
}

static struct life *life_of(const mln_fork_t *f)
{
    /* From the youngest on: a number, or memory, may be given to a second process. That of a dead one to the same is too much to expect. */
    for (int i = life_count - 1; i >= 0; --i)
        if (lives[i].pid == f->pid && lives[i].channel == f)
            return &lives[i];
    return NULL;
}

/* Has the kernel take less at a time than there is in a large frame. */
static void narrow(mln_tcp_conn_t *conn)
{
    int size = BUFFER_SIZE;

    CHECK_INT(setsockopt(mln_tcp_conn_fd_get(conn), SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
}

/* ---- in a worker ---- */

static unsigned expected, own_number;

static void say(mln_event_t *ev, mln_u32_t type, void *buf, mln_u32_t len)
{
    if (mln_ipc_worker_send_prepare(ev, type, buf, len) != 0)
        CHECK_INT(errno, EPIPE); /* the master is gone */
}

static void send_own(mln_event_t *ev, void *data)
{
    (void)data;
    for (int i = 0; i < 5; ++i, ++own_number)
        say(ev, OWN, &own_number, sizeof own_number);
    CHECK(mln_event_timer_set(ev, 2, NULL, send_own) != NULL);
}

static void begin(mln_event_t *ev)
{
    narrow(mln_fork_master_connection_get());
    send_own(ev, NULL);
}

static void in_worker(mln_event_t *ev)
{
    CHECK(getpid() != master);
    begin(ev);
}

static void numbered(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)udata;
    check_message(buf, len, expected);
    ++expected;
    say(ev, ECHOED, buf, len);
}

static int be_a_program(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK_INT(mln_fork_worker_ipc_handler_set(NUMBERED, numbered, NULL), 0);
    mln_fork_worker_events_set(ev);
    begin(ev);
    mln_event_dispatch(ev); /* until the master has no more work for it */
    return 1;
}

/* ---- in the master ---- */

static struct holding measure(void)
{
    return (struct holding){check_open_descriptors(), thread_count(), mapping_count("")};
}

/* Whether every worker is there and has exchanged so many messages. */
static int all_have(unsigned messages)
{
    int well = 0;

    for (int i = 0; i < life_count; ++i)
        well += !lives[i].killed && lives[i].echoed >= messages && lives[i].own >= messages;
    return well == WORKERS;
}

static int continue_one(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)data;
    return kill(f->pid, SIGCONT);
}

static void look_at_weather(mln_event_t *ev)
{
    if (weather == CALM_BEFORE && all_have(FIRST_MESSAGES)) {
        before = measure();
        weather = STORMY;
        storm_end = now_ms() + storm_s * 1000;
    } else if (weather == STORMY && now_ms() >= storm_end) {
        weather = CALM_AFTER;
        CHECK_INT(mln_fork_iterate(ev, continue_one, NULL), 0);
    } else if (weather == CALM_AFTER && all_have(QUIET_MESSAGES)) {
        after = measure();
        mln_event_break_set(ev);
    }
}

static void echoed(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *life = life_of(f_ptr);

    (void)ev;
    (void)udata;
    CHECK(life != NULL);
    check_message(buf, len, life->echoed);
    CHECK(++life->echoed <= life->sent);
}

static void own(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *life = life_of(f_ptr);

    (void)ev;
    (void)udata;
    CHECK_INT(len, sizeof life->own);
    if (life == NULL) { /* its first words */
        CHECK(life_count < LIVES_MAX);
        life = &lives[life_count++];
        life->channel = f_ptr;
        life->pid = life->channel->pid;
        narrow(&((mln_fork_t *)f_ptr)->conn);
    }
    CHECK_INT(*(unsigned *)buf, life->own);
    ++life->own;
}

static int feed(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct life *life = life_of(f);

    (void)data;
    if (life == NULL)
        return 0;
    for (int i = 0; i < 3; ++i) {
        size_t size = size_of(life->sent);

        if (mln_ipc_master_send_prepare(ev, NUMBERED, numbered_message(life->sent, size), (mln_u32_t)size, f) != 0) {
            CHECK_INT(errno, EPIPE); /* it is dead, and its last messages are still to be read */
            CHECK(life->killed);
            return 0;
        }
        ++life->sent;
    }
    return 0;
}

static int count(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)f;
    ++*(int *)data;
    return 0;
}

/* Whether the first frame that has not all left the master is a large one, of which a part has. */
static int is_inside_of_a_large_frame(mln_fork_t *f, const struct life *life)
{
    size_t left = bytes_to_send(&f->conn);

    for (unsigned number = life->sent; left > 0;) {
        size_t frame = 8 + size_of(--number);

        if (left < frame)
            return frame > 8 + USUAL_SIZE;
        left -= frame;
    }
    return 0;
}

/* Kills one, or stops it; who is stopped already is continued or killed. */
static int hit_one(mln_event_t *ev, mln_fork_t *f, void *data)
{
    int *countdown = data;
    struct life *life = life_of(f);

    (void)ev;
    if ((*countdown)-- > 0)
        return 0;
    if (life == NULL || life->killed)
        return -1;
    if (pick(2) == 0) {
        life->killed = 1;
        ++kills;
        kills_inside += is_inside_of_a_large_frame(f, life);
        CHECK_INT(kill(f->pid, SIGKILL), 0);
    } else {
        life->stopped = !life->stopped;
        stops += life->stopped;
        CHECK_INT(kill(f->pid, life->stopped ? SIGSTOP : SIGCONT), 0);
    }
    return -1;
}

static int reloaded(void *data)
{
    (void)data;
    reloads += getpid() == master;
    return 0;
}

static void storm(mln_event_t *ev, void *data)
{
    int n = 0, which;

    (void)data;
    CHECK_INT(mln_fork_iterate(ev, feed, NULL), 0);
    CHECK_INT(mln_fork_iterate(ev, count, &n), 0);
    CHECK(n <= WORKERS);
    look_at_weather(ev);
    if (weather == STORMY && n > 0) {
        which = pick((unsigned)n);
        CHECK_INT(mln_fork_iterate(ev, hit_one, &which), -1);
    }
    if (weather == STORMY && now_ms() >= next_reload) {
        next_reload = now_ms() + 40;
        CHECK_INT(raise(SIGUSR2), 0);
    }
    CHECK(mln_event_timer_set(ev, pick(8), NULL, storm) != NULL);
}

static void in_master(mln_event_t *ev)
{
    static char program[] = "/proc/self/exe", role[] = "worker";

    for (int i = 0; i < PROGRAMS; ++i) {
        mln_s8ptr_t *args = calloc(2, sizeof *args);

        CHECK(args != NULL);
        args[0] = program;
        args[1] = role;
        CHECK_INT(mln_fork_spawn(M_PST_SUP, args, 2, ev), 0);
    }
    storm(ev, NULL);
}

static int prepare(void)
{
    return mln_conf_hook_set(reloaded, NULL) == NULL ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, in_master, in_worker};
    char text[1000], *log;

    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return be_a_program();
    if (getenv("STORM_S") != NULL)
        storm_s = atoi(getenv("STORM_S"));
    whims = seed_of_run();
    master = getpid();
    scratch_make();
    snprintf(text, sizeof text, "framework \"multiprocess\"; worker_proc %d; log_level \"report\"; log_path \"%s/log\";\n"
             "worker_drain_timeout 60000;\n", /* a busy host must not make it end one by a signal */
             FORKED, scratch_dir);
    snprintf(scratch_conf_path, sizeof scratch_conf_path, "%s/melon.conf", scratch_dir);
    scratch_write(scratch_conf_path, text);
    mln_path_hook_set(m_p_conf, scratch_conf_file);
    log = strdup(scratch_path("stderr"));
    scratch_catch_stderr(log);
    CHECK(mln_ipc_handler_register(NUMBERED, NULL, numbered, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(ECHOED, echoed, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(OWN, own, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(getpid(), master);
    CHECK_INT(child_count(), 0);
    CHECK_INT(life_count, kills + WORKERS); /* each that was killed has one successor */
    /* At once, after 0.1, 0.2, 0.4, 0.8, 1.6 s: a worker that never lives a second starts seven times in four seconds,
       and some live that long before they are hit. */
    printf("%d killed, %d of them inside of a large frame, %d stopped and continued, %d reloads in %lld s\n", kills, kills_inside, stops,
           reloads, storm_s);
    printf("before: %d descriptors, %d threads, %d mappings\n", before.descriptors, before.threads, before.mappings);
    printf("after: %d descriptors, %d threads, %d mappings\n", after.descriptors, after.threads, after.mappings);
    CHECK_INT(scratch_count(log, "was killed by signal 9 "), kills);
    CHECK_INT(scratch_count(log, "was killed by signal "), kills);
    CHECK_INT(scratch_count(log, "exited with status "), 0);
    CHECK_INT(after.descriptors, before.descriptors);
    CHECK(after.threads <= before.threads + 2); /* Go's runtime starts a thread or two more when it first needs them */
    CHECK(after.mappings <= before.mappings + 16); /* of which each has four; and the allocators of the C library and of Go move */
    CHECK(kills >= WORKERS * 2);
    CHECK(kills <= WORKERS * (7 + storm_s));
    CHECK(kills_inside >= 1);
    CHECK(stops >= WORKERS);
    CHECK(reloads > storm_s);
    free(log);
    return 0;
}
