/*
 * A master that is killed at any moment, 20 times or TIMES, while it talks, reloads, and stops and continues its workers, leaves no
 * worker behind for longer than a second; one that is stopped has that second when it goes on.
 * deadline: 300s
 */
#include "check.h"
#include "contents.h"
#include "mln_fork.h"
#include "mln_framework.h"
#include "mln_log.h"
#include "processes.h"
#include "scratch.h"

#include <sys/prctl.h>

enum { TIMES = 20, SPAN_MS = 150, WORKERS = 3, PROGRAMS = 2, DISTURB_MS = 7, CHATTER = 3000, MASTER_GONE = 127, PROGRAM_SAW_END = 42 };

/* What workers and their master tell each other, without end. */
static void chatter(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)udata;
    if (f->pid == getpid()) {
        if (mln_ipc_worker_send_prepare(ev, CHATTER, buf, len) != 0)
            CHECK_INT(errno, EPIPE); /* the master is gone */
    } else {
        CHECK_INT(mln_ipc_master_send_prepare(ev, CHATTER, buf, len, f), 0);
    }
}

/* ---- the executed workers: one without the library, and one with it ---- */

static int run_program(const char *descriptor)
{
    char buf[256];
    ssize_t n;

    while ((n = read(atoi(descriptor), buf, sizeof buf)) > 0)
        ;
    return n == 0 ? PROGRAM_SAW_END : 1;
}

static int run_library(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK_INT(mln_fork_worker_ipc_handler_set(CHATTER, chatter, NULL), 0);
    mln_fork_worker_events_set(ev);
    mln_event_dispatch(ev);
    return 1;
}

/* ---- the master that is to be killed, and its workers ---- */

static int start_talk(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    return mln_ipc_master_send_prepare(ev, CHATTER, f, sizeof *f, f);
}

static int stop_or_continue(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)data;
    return kill(f->pid, rand() % 2 == 0 ? SIGSTOP : SIGCONT);
}

static void disturb(mln_event_t *ev, void *data)
{
    CHECK_INT(mln_fork_iterate(ev, stop_or_continue, NULL), 0);
    CHECK_INT(raise(SIGUSR2), 0);
    CHECK(mln_event_timer_set(ev, DISTURB_MS, data, disturb) != NULL);
}

static void spawn(mln_event_t *ev, const char *role)
{
    mln_s8ptr_t *args = calloc(2, sizeof *args);

    CHECK(args != NULL);
    args[0] = (mln_s8ptr_t) "/proc/self/exe";
    args[1] = (mln_s8ptr_t)role;
    CHECK_INT(mln_fork_spawn(M_PST_SUP, args, 2, ev), 0);
}

static void in_master(mln_event_t *ev)
{
    spawn(ev, "program");
    spawn(ev, "library");
    CHECK_INT(mln_fork_iterate(ev, start_talk, NULL), 0);
    CHECK(mln_event_timer_set(ev, DISTURB_MS, NULL, disturb) != NULL);
}

static int reloaded(void *data)
{
    (void)data;
    mln_log(report, "reloaded\n");
    return 0;
}

static int prepare(void)
{
    return mln_conf_hook_set(reloaded, NULL) == NULL ? -1 : 0;
}

static int run_master(char **argv)
{
    struct mln_framework_attr attr = {1, argv, prepare, NULL, in_master, NULL};

    CHECK(mln_ipc_handler_register(CHATTER, chatter, chatter, NULL, NULL) != NULL);
    srand((unsigned)strtoul(argv[2], NULL, 0));
    (void)mln_framework_init(&attr);
    return 1;
}

/* ---- the test ---- */

/* Calls `each` for every child of a process; returns their number. */
static int each_child(pid_t parent, void (*each)(pid_t child, void *data), void *data)
{
    char path[64];
    FILE *children;
    int n = 0;
    long pid;

    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)parent, (long)parent);
    CHECK((children = fopen(path, "r")) != NULL);
    for (; fscanf(children, "%ld", &pid) == 1; ++n)
        if (each != NULL)
            each((pid_t)pid, data);
    fclose(children);
    return n;
}

/* Lets one go on that the master has stopped. */
static void go_on(pid_t child, void *data)
{
    *(int *)data += process_state(child) == 'T';
    (void)kill(child, SIGCONT); /* it may end before */
}

int main(int argc, char **argv)
{
    char text[700], *log;
    long long longest = SPAN_MS;
    uint64_t whims;
    int orphans = 0, programs = 0, stopped = 0, times = getenv("TIMES") != NULL ? atoi(getenv("TIMES")) : TIMES;

    if (argc == 3 && strcmp(argv[1], "program") == 0)
        return run_program(argv[2]);
    if (argc == 3 && strcmp(argv[1], "library") == 0)
        return run_library();
    if (argc == 3 && strcmp(argv[1], "master") == 0)
        return run_master(argv);
    whims = seed_of_run();
    scratch_make();
    snprintf(text, sizeof text, "framework \"multiprocess\"; worker_proc %d; log_level \"report\"; log_path \"%s/log\";", WORKERS,
             scratch_dir);
    scratch_write(scratch_path("melon.conf"), text);
    CHECK_INT(setenv("MLN_CONF", scratch_path("melon.conf"), 1), 0);
    log = strdup(scratch_path("log"));
    CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans become children of this process */
    for (int i = 0; i < times; ++i) {
        const char *const words[] = {"master", text, NULL};
        long long begin = now_ms(), killed;
        pid_t pid, ended;
        int status;

        snprintf(text, sizeof text, "%u", (unsigned)random_number(&whims));
        pid = start_self(words);
        /* Three of four have the time to start them all; the first tells how long that takes here. */
        while (i % 4 != 3 && each_child(pid, NULL, NULL) < WORKERS + PROGRAMS)
            usleep(1000);
        if (i == 0 && now_ms() - begin > longest)
            longest = now_ms() - begin;
        sleep_ms((long long)(random_number(&whims) % (uint64_t)longest));
        CHECK_INT(kill(pid, SIGKILL), 0);
        CHECK_INT(await_status(pid), 128 + SIGKILL);
        killed = now_ms();
        (void)each_child(getpid(), go_on, &stopped);
        while ((ended = waitpid(-1, &status, WNOHANG)) >= 0) {
            if (ended == 0) {
                CHECK(now_ms() < killed + 1000 * check_slowness());
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
    printf("%d times: %d orphans, %d of them programs without the library, %d stopped\n", times, orphans, programs, stopped);
    CHECK(orphans * 2 >= times * (WORKERS + PROGRAMS));
    CHECK(programs * 2 >= times);
    CHECK(stopped >= 1);
    CHECK(scratch_count(log, "reloaded") > times);
    free(log);
    return 0;
}
