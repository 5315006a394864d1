/*
 * A supervised worker that closes its end of the channel and lives on is no worker any more: the master's node is gone, nothing
 * can be sent to it, the process is left alone, and another takes its place when it ends.
 */
#include "ipc.h"
#include "processes.h"

#include <signal.h>

enum { HELLO = 2000, LIVES_MS = 1500 }; /* longer than what one that is ended is given */

static pid_t first, second;
static long long closed_at;

static int peer(int fd)
{
    uint32_t pid = (uint32_t)getpid();

    write_frame(fd, HELLO, &pid, sizeof pid);
    close(fd);
    sleep_ms(LIVES_MS * check_slowness());
    return 0;
}

static void on_hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = (mln_fork_t *)f_ptr;

    (void)buf;
    (void)len;
    (void)udata;
    if (first == 0) {
        first = f->pid;
        closed_at = now_ms();
        return;
    }
    CHECK(f->pid != first);
    CHECK(now_ms() - closed_at >= LIVES_MS * check_slowness() * 2 / 3); /* the greeting came late, perhaps */
    CHECK(!is_running(first));
    second = f->pid;
    mln_event_break_set(ev);
}

/* In between. */
static void look(mln_event_t *ev, void *data)
{
    (void)data;
    CHECK(first != 0);
    CHECK(is_running(first));
    CHECK_INT(worker_count(ev), 0);
}

int main(int argc, char **argv)
{
    static char program[] = "/proc/self/exe", role[] = "peer";
    mln_s8ptr_t *args;
    mln_event_t *ev;

    if (argc > 1)
        return peer(atoi(argv[argc - 1]));
    CHECK((args = (mln_s8ptr_t *)calloc(4, sizeof *args)) != NULL);
    args[0] = program;
    args[1] = role;
    handle(HELLO, on_hello, NULL);
    ev = become_master();
    CHECK_INT(mln_fork_spawn(M_PST_SUP, args, 2, ev), 0);
    CHECK(mln_event_timer_set(ev, LIVES_MS * check_slowness() * 2 / 3, NULL, look) != NULL);
    mln_event_dispatch(ev);
    CHECK(first != 0);
    CHECK_INT(worker_count(ev), 1);
    CHECK_INT(kill(second, SIGKILL), 0);
    CHECK_INT(await_status(second), 128 + SIGKILL);
    mln_event_free(ev);
    return 0;
}
