/*
 * Of its master's descriptors and its siblings' none is within a worker's reach: it has its own end of its own channel, and what the
 * program left open on purpose; nothing of the master's loop, nor of the poller that the Go runtime in the master comes to have. All of
 * the library's are close-on-exec. A variable in the environment that tells of a channel, set by accident or by an attacker, makes
 * nobody a worker.
 */
#include "ipc.h"
#include "processes.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { COUNTED = 2000, WORKERS = 3 };

static int reports;
static char given[256]; /* open when this program began: of whoever started it */

/* What there is of each kind; all but the standard descriptors have to be close-on-exec. */
struct held {
    int peers;     /* sockets and pidfds */
    int instances; /* of epoll */
    int wakers;    /* eventfds */
    int timers;    /* timerfds */
};

static struct held look(void)
{
    struct held n = {0};

    for (int fd = 3; fd < 256; ++fd) {
        int flags = fcntl(fd, F_GETFD);
        const char *target;

        if (flags < 0 || given[fd])
            continue;
        target = descriptor_name(fd);
        CHECK(*target != '\0');
        if ((flags & FD_CLOEXEC) == 0)
            fprintf(stderr, "descriptor %d, %s, is not close-on-exec\n", fd, target);
        CHECK((flags & FD_CLOEXEC) != 0);
        n.peers += strncmp(target, "socket:", 7) == 0 || strstr(target, "pidfd") != NULL;
        n.instances += strstr(target, "eventpoll") != NULL;
        n.wakers += strstr(target, "eventfd") != NULL;
        n.timers += strstr(target, "timerfd") != NULL;
    }
    return n;
}

static void count(mln_event_t *ev)
{
    struct held n = look();

    CHECK_INT(mln_ipc_worker_send_prepare(ev, COUNTED, &n, sizeof n), 0);
}

static void on_counted(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    struct held n;

    (void)f;
    (void)udata;
    CHECK_INT(len, sizeof n);
    memcpy(&n, buf, sizeof n);
    CHECK_INT(n.peers, 1);
    CHECK_INT(n.instances, 0); /* its engine is not started yet */
    CHECK_INT(n.wakers, 0);
    CHECK_INT(n.timers, 0);
    if (++reports == WORKERS)
        mln_event_break_set(ev);
}

/* The channel of this process, as the library sees it. */
static int told(void)
{
    return mln_fork_master_connection_get()->sockfd;
}

static void variable_makes_no_worker(void)
{
    static const char *const values[] = {
        "", ":", "0:0:0:0:0", "inherited:1", "0:-1:0:1:0", "0:99999999999:1:1:0", "0:3:18446744073709551616:1:0", "x:y:z", "%n%s",
    };
    const char *const words[] = {"told", NULL};
    struct stat status;
    char value[128];
    int pair[2];

    for (unsigned i = 0; i < sizeof values / sizeof *values; ++i) {
        CHECK_INT(setenv("MELON_WORKER", values[i], 1), 0);
        CHECK_INT(await_status(start_self(words)), 1);
    }
    /* The right descriptor, of another parent; then another kind of file, of the right one. */
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_INT(fstat(pair[0], &status), 0);
    snprintf(value, sizeof value, "0:%d:%llu:%ld:0", pair[0], (unsigned long long)status.st_ino, (long)getppid());
    CHECK_INT(setenv("MELON_WORKER", value, 1), 0);
    CHECK_INT(await_status(start_self(words)), 1);
    CHECK_INT(fstat(0, &status), 0);
    snprintf(value, sizeof value, "0:0:%llu:%ld:0", (unsigned long long)status.st_ino, (long)getpid());
    CHECK_INT(setenv("MELON_WORKER", value, 1), 0);
    CHECK_INT(await_status(start_self(words)), 1);
    CHECK_INT(unsetenv("MELON_WORKER"), 0);
    close(pair[0]);
    close(pair[1]);
}

/* Makes garbage until the collector of the runtime has run, and the runtime has its poller. */
static void await_poller(mln_event_t *ev, void *data)
{
    (void)data;
    if (look().instances == 2) {
        mln_event_break_set(ev);
        return;
    }
    for (int i = 0; i < 10; ++i)
        mln_event_free(mln_event_new());
    CHECK(mln_event_timer_set(ev, 1, NULL, await_poller) != NULL);
}

int main(int argc, char **argv)
{
    mln_event_t *ev;

    if (argc > 1)
        return told() < 0 ? 1 : 0;
    if (getenv("GOGC") == NULL) { /* read by the runtime when it starts */
        CHECK_INT(setenv("GOGC", "1", 1), 0);
        CHECK_INT(execv("/proc/self/exe", argv), 0);
    }
    for (int fd = 3; fd < 256; ++fd)
        given[fd] = *descriptor_name(fd) != '\0';
    variable_makes_no_worker();
    handle(COUNTED, on_counted, NULL);
    ev = become_master();
    mln_fork_master_events_set(ev);
    await_poller(ev, NULL);
    mln_event_dispatch(ev);
    mln_event_break_reset(ev);
    CHECK_INT(look().wakers, 2);
    CHECK_INT(look().timers, 1);
    for (int i = 0; i < WORKERS; ++i)
        start_worker(ev, count);
    dispatch(ev, count);
    CHECK_INT(look().peers, 2 * WORKERS);
    mln_event_free(ev);
    return 0;
}
