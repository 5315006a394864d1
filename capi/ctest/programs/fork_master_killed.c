/*
 * A master that is killed at any moment, 20 times or TIMES, leaves no worker behind for longer than a second.
 * deadline: 300s
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <sys/prctl.h>

enum { TIMES = 20, WORKERS = 3, CHATTER = 3000, MASTER_GONE = 127, PROGRAM_SAW_END = 42 };

/* ---- the exec'ed worker ---- */

static int run_program(const char *descriptor)
{
    char buf[256];
    ssize_t n;

    while ((n = read(atoi(descriptor), buf, sizeof buf)) > 0)
        ;
    return n == 0 ? PROGRAM_SAW_END : 1;
}

/* ---- the master that is to be killed, and its workers ---- */

static void chatter(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)udata;
    if (f->pid == getpid())
        CHECK_INT(mln_ipc_worker_send_prepare(ev, CHATTER, buf, len), 0);
    else
        CHECK_INT(mln_ipc_master_send_prepare(ev, CHATTER, buf, len, f), 0);
}

static int start_talk(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    return mln_ipc_master_send_prepare(ev, CHATTER, f, sizeof *f, f);
}

static void work(mln_event_t *own)
{
    CHECK(own != NULL);
    mln_fork_worker_events_set(own);
    mln_event_dispatch(own);
}

static void start_one(mln_event_t *ev, void *data)
{
    int *left = data;

    if (--*left > 0) {
        int result = mln_fork_restart(ev);
        CHECK(result >= 0);
        if (result == 0)
            return;
        CHECK(mln_event_timer_set(ev, 1, left, start_one) != NULL);
    }
    CHECK_INT(mln_fork_iterate(ev, start_talk, NULL), 0);
}

static int run_master(void)
{
    static int left = WORKERS;
    mln_event_t *ev = mln_event_new();
    pid_t self = getpid();
    mln_s8ptr_t *args = calloc(2, sizeof *args);

    mln_log_logger_set(NULL);
    CHECK(mln_ipc_handler_register(CHATTER, chatter, chatter, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    args[0] = (mln_s8ptr_t) "/proc/self/exe";
    args[1] = (mln_s8ptr_t) "program";
    CHECK_INT(mln_fork_spawn(M_PST_SUP, args, 2, ev), 0);
    CHECK(mln_event_timer_set(ev, 0, &left, start_one) != NULL);
    mln_event_dispatch(ev);
    CHECK(getpid() != self);
    work(mln_event_new());
    return 1;
}

/* ---- the test ---- */

int main(int argc, char **argv)
{
    static const char *const words[] = {"master", NULL};
    unsigned seed = 4711;
    int orphans = 0, programs = 0, times = getenv("TIMES") != NULL ? atoi(getenv("TIMES")) : TIMES;

    if (argc == 3 && strcmp(argv[1], "program") == 0)
        return run_program(argv[2]);
    if (argc == 2 && strcmp(argv[1], "master") == 0)
        return run_master();
    CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans become children of this process */
    for (int i = 0; i < times; ++i) {
        pid_t pid = start_self(words), ended;
        long long killed;
        int status;

        sleep_ms(i == times - 1 ? 1000 : (long long)(rand_r(&seed) % 150));
        CHECK_INT(kill(pid, SIGKILL), 0);
        CHECK_INT(await_status(pid), 128 + SIGKILL);
        killed = now_ms();
        while ((ended = waitpid(-1, &status, WNOHANG)) >= 0) {
            if (ended == 0) {
                CHECK(now_ms() < killed + 1000);
                usleep(1000);
                continue;
            }
            ++orphans;
            CHECK(WIFEXITED(status));
            programs += WEXITSTATUS(status) == PROGRAM_SAW_END;
            CHECK(WEXITSTATUS(status) == PROGRAM_SAW_END || WEXITSTATUS(status) == MASTER_GONE);
        }
        CHECK_INT(errno, ECHILD);
    }
    CHECK(orphans >= WORKERS); /* the last master had a second to start them all */
    CHECK(programs >= 1);
    return 0;
}
