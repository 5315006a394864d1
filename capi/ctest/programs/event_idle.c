/*
 * deadline: 60s
 *
 * A master and its workers that have nothing to do are never woken, with timers and timeouts pending far away, too.
 *
 * Two masters of two workers each are observed by a process outside: the switches between threads, as the kernel counts
 * them, of every thread of all six processes, over five seconds.
 */
#include "check.h"
#include "events.h"
#include "framework.h"

#include <sys/stat.h>
#include <sys/wait.h>

enum { MASTERS = 2, WORKERS = 2, PROCESSES = MASTERS * (WORKERS + 1) };

static int channel, timers_pending;
static mln_event_t *loop;

static int prepare(void)
{
    configure_workers(WORKERS);
    return 0;
}

static void on_terminate(int signo)
{
    (void)signo;
    mln_event_break_set(loop);
}

/* In the master and in the workers: says that the process is about to wait. */
static void settle(mln_event_t *ev)
{
    static int ends[2];
    pid_t self = getpid();

    loop = ev;
    if (timers_pending) {
        make_pipe(ends);
        for (mln_u32_t msec = 60000; msec < 70000; msec += 1000)
            CHECK(mln_event_timer_set(ev, msec, NULL, never_timer) != NULL);
        CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, 3600000, NULL, never), 0);
    }
    CHECK_INT(write(channel, &self, sizeof self), sizeof self);
}

static void settle_master(mln_event_t *ev)
{
    CHECK(mln_event_signal_set(SIGTERM, on_terminate) != SIG_ERR);
    settle(ev);
}

/* In a process of its own, with a folder of its own for the log. */
static void master(const char *folder, int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, settle_master, settle};
    pid_t self = getpid();

    CHECK_INT(mkdir(folder, 0700), 0);
    CHECK_INT(chdir(folder), 0);
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(getpid(), self);
    remove_log();
    CHECK_INT(chdir(".."), 0);
    CHECK_INT(rmdir(folder), 0);
    _exit(0);
}

/* How often the threads of a process were switched away from, by themselves or not, and how many there are. */
static long switches(pid_t pid, int *threads, int print)
{
    char path[512], line[256], name[64] = "";
    long total = 0, n;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
    CHECK((dir = opendir(path)) != NULL);
    *threads = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        FILE *status;
        long of_thread = 0;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%ld/task/%s/status", (long)pid, entry->d_name);
        if ((status = fopen(path, "r")) == NULL)
            continue;
        while (fgets(line, sizeof line, status) != NULL) {
            sscanf(line, "Name: %63s", name);
            if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1 || sscanf(line, "nonvoluntary_ctxt_switches: %ld", &n) == 1)
                of_thread += n;
        }
        fclose(status);
        if (print)
            printf("process %ld, thread %s (%s): %ld switches\n", (long)pid, entry->d_name, name, of_thread);
        total += of_thread;
        ++*threads;
    }
    closedir(dir);
    return total;
}

int main(int argc, char **argv)
{
    static const char *const folders[MASTERS] = {"plain", "timers"};
    int ends[2], status, threads[PROCESSES], now;
    pid_t masters[MASTERS], pids[PROCESSES];
    long before[PROCESSES], woken = 0;

    make_pipe(ends);
    channel = ends[1];
    for (int i = 0; i < MASTERS; ++i) {
        CHECK((masters[i] = fork()) >= 0);
        if (masters[i] == 0) {
            timers_pending = i;
            master(folders[i], argc, argv);
        }
    }
    for (int i = 0; i < PROCESSES; ++i)
        CHECK_INT(read(ends[0], &pids[i], sizeof pids[i]), sizeof pids[i]);
    sleep(2); /* the runtime of each settles */
    for (int i = 0; i < PROCESSES; ++i)
        before[i] = switches(pids[i], &threads[i], 1);
    sleep(5);
    for (int i = 0; i < PROCESSES; ++i) {
        long n = switches(pids[i], &now, 0) - before[i];

        if (n != 0) {
            fprintf(stderr, "process %ld was woken %ld times\n", (long)pids[i], n);
            (void)switches(pids[i], &now, 1);
        }
        CHECK_INT(now, threads[i]);
        woken += n;
    }
    for (int i = 0; i < MASTERS; ++i)
        CHECK_INT(kill(masters[i], SIGTERM), 0);
    for (int i = 0; i < MASTERS; ++i) {
        CHECK_INT(waitpid(masters[i], &status, 0), masters[i]);
        CHECK_INT(status, 0);
    }
    CHECK_INT(woken, 0);
    return 0;
}
