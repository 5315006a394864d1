/*
 * A master that is killed at any moment, 20 times or TIMES, while it talks, reloads, and stops and continues its workers, leaves no
 * worker behind for longer than a second; one that is stopped has that second when it goes on.
 * deadline: 300s
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_framework.h"
#include "mln_log.h"
#include "processes.h"
#include "scratch.h"

#include <sys/prctl.h>

enum { TIMES = 20, WORKERS = 3, DISTURB_MS = 7, CHATTER = 3000, MASTER_GONE = 127, PROGRAM_SAW_END = 42 };

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

static void in_master(mln_event_t *ev)
{
    mln_s8ptr_t *args = calloc(2, sizeof *args);

    CHECK(args != NULL);
    args[0] = (mln_s8ptr_t) "/proc/self/exe";
    args[1] = (mln_s8ptr_t) "program";
    CHECK_INT(mln_fork_spawn(M_PST_SUP, args, 2, ev), 0);
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
    (void)mln_framework_init(&attr);
    return 1;
}

/* ---- the test ---- */

/* Lets those go on that the master has stopped; returns their number. */
static int continue_children(void)
{
    char path[64];
    FILE *children;
    int stopped = 0;
    long pid;

    snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
    CHECK((children = fopen(path, "r")) != NULL);
    while (fscanf(children, "%ld", &pid) == 1) {
        stopped += process_state((pid_t)pid) == 'T';
        (void)kill((pid_t)pid, SIGCONT); /* it may end before */
    }
    fclose(children);
    return stopped;
}

int main(int argc, char **argv)
{
    static const char *const words[] = {"master", NULL};
    char text[700], *log;
    unsigned seed = 4711;
    int orphans = 0, programs = 0, stopped = 0, times = getenv("TIMES") != NULL ? atoi(getenv("TIMES")) : TIMES;

    if (argc == 3 && strcmp(argv[1], "program") == 0)
        return run_program(argv[2]);
    if (argc == 2 && strcmp(argv[1], "master") == 0)
        return run_master(argv);
    scratch_make();
    snprintf(text, sizeof text, "framework \"multiprocess\"; worker_proc %d; log_level \"report\"; log_path \"%s/log\";", WORKERS,
             scratch_dir);
    scratch_write(scratch_path("melon.conf"), text);
    CHECK_INT(setenv("MLN_CONF", scratch_path("melon.conf"), 1), 0);
    log = strdup(scratch_path("log"));
    CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans become children of this process */
    for (int i = 0; i < times; ++i) {
        pid_t pid = start_self(words), ended;
        long long killed;
        int status;

        sleep_ms(i == times - 1 ? 1000 : (long long)(rand_r(&seed) % 150));
        CHECK_INT(kill(pid, SIGKILL), 0);
        CHECK_INT(await_status(pid), 128 + SIGKILL);
        killed = now_ms();
        stopped += continue_children();
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
    CHECK(orphans >= WORKERS); /* the last master had a second to start them all */
    CHECK(programs >= 1);
    CHECK(stopped >= 1);
    CHECK(scratch_count(log, "reloaded") > times);
    free(log);
    return 0;
}
