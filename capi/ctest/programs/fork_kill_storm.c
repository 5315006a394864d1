/*
 * Workers that are killed at random under traffic in both directions come back, not too fast, and no message of a life
 * is lost or doubled before its end.
 * deadline: 120s
 */
#include "check.h"
#include "framework.h"
#include "mln_fork.h"
#include "processes.h"

enum { WORKERS = 6, STORM_MS = 4000, QUIET_MESSAGES = 200, NUMBERED = 3000, ECHOED, OWN };

/* A life of a worker, as the master knows it. */
struct life {
    pid_t pid;
    unsigned sent, echoed, own;
    int killed;
};

static struct life lives[WORKERS * 64];
static int life_count, stormy = 1, kills;
static long long storm_end;
static unsigned seed = 12345;
static pid_t master;

static struct life *life_of(pid_t pid)
{
    /* From the youngest on: a number may be given to a second process. */
    for (int i = life_count - 1; i >= 0; --i)
        if (lives[i].pid == pid)
            return &lives[i];
    return NULL;
}

/* ---- in a worker ---- */

static unsigned expected, own_number;

static void send_own(mln_event_t *ev, void *data)
{
    (void)data;
    for (int i = 0; i < 5; ++i, ++own_number)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, OWN, &own_number, sizeof own_number), 0);
    CHECK(mln_event_timer_set(ev, 2, NULL, send_own) != NULL);
}

static void in_worker(mln_event_t *ev)
{
    CHECK(getpid() != master);
    send_own(ev, NULL);
}

static void numbered(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)udata;
    CHECK_INT(len, 1000);
    CHECK_INT(*(unsigned *)buf, expected);
    ++expected;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, ECHOED, buf, len), 0);
}

/* ---- in the master ---- */

static void check_finished(mln_event_t *ev)
{
    int well = 0;

    if (stormy)
        return;
    for (int i = 0; i < life_count; ++i)
        well += !lives[i].killed && lives[i].echoed >= QUIET_MESSAGES && lives[i].own >= QUIET_MESSAGES;
    if (well == WORKERS)
        mln_event_break_set(ev);
}

static void echoed(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *life = life_of(((mln_fork_t *)f_ptr)->pid);

    (void)udata;
    CHECK(life != NULL);
    CHECK_INT(len, 1000);
    CHECK_INT(*(unsigned *)buf, life->echoed);
    CHECK(++life->echoed <= life->sent);
    check_finished(ev);
}

static void own(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *life = life_of(((mln_fork_t *)f_ptr)->pid);

    (void)udata;
    CHECK_INT(len, sizeof life->own);
    if (life == NULL) { /* its first words */
        CHECK(life_count < WORKERS * 64);
        life = &lives[life_count++];
        life->pid = ((mln_fork_t *)f_ptr)->pid;
    }
    CHECK_INT(*(unsigned *)buf, life->own);
    ++life->own;
    check_finished(ev);
}

static int feed(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct life *life = life_of(f->pid);
    unsigned message[250];

    (void)data;
    if (life == NULL)
        return 0;
    memset(message, 0, sizeof message);
    for (int i = 0; i < 3; ++i) {
        message[0] = life->sent;
        if (mln_ipc_master_send_prepare(ev, NUMBERED, message, sizeof message, f) != 0) {
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

static int kill_one(mln_event_t *ev, mln_fork_t *f, void *data)
{
    int *countdown = data;
    struct life *life = life_of(f->pid);

    (void)ev;
    if ((*countdown)-- > 0)
        return 0;
    if (life != NULL && !life->killed) {
        life->killed = 1;
        ++kills;
        CHECK_INT(kill(f->pid, SIGKILL), 0);
    }
    return -1;
}

static void storm(mln_event_t *ev, void *data)
{
    int n = 0, which;

    (void)data;
    CHECK_INT(mln_fork_iterate(ev, feed, NULL), 0);
    CHECK_INT(mln_fork_iterate(ev, count, &n), 0);
    CHECK(n <= WORKERS);
    if (stormy && now_ms() >= storm_end)
        stormy = 0;
    if (stormy && n > 0) {
        which = rand_r(&seed) % n;
        CHECK_INT(mln_fork_iterate(ev, kill_one, &which), -1);
    }
    CHECK(mln_event_timer_set(ev, (mln_u32_t)(rand_r(&seed) % 8), NULL, storm) != NULL);
}

static void in_master(mln_event_t *ev)
{
    storm_end = now_ms() + STORM_MS;
    storm(ev, NULL);
}

static int prepare(void)
{
    configure_workers(WORKERS);
    return 0;
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, in_master, in_worker};

    master = getpid();
    mln_log_logger_set(NULL);
    CHECK(mln_ipc_handler_register(NUMBERED, NULL, numbered, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(ECHOED, echoed, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(OWN, own, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(child_count(), 0);
    CHECK_INT(life_count, kills + WORKERS); /* each that was killed has one successor */
    /* At once, after 0.1, 0.2, 0.4, 0.8, 1.6 s: a worker that never lives a second starts seven times in four seconds,
       and some live that long before they are hit. */
    CHECK(kills >= WORKERS * 2);
    CHECK(kills <= WORKERS * 9);
    remove_log();
    return 0;
}
