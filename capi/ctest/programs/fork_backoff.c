/*
 * A supervised worker that fails at once is started again at growing intervals, never in a storm, and one that lived long
 * enough at once.
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <sys/mman.h>

enum { TIME_MS = 2000, STABLE_MS = 1200 };

/* Shared with all processes: when each worker started. */
struct starts {
    int count;
    long long at[256];
};

static struct starts *starts;
static pid_t master;
static mln_event_t *loop;

static void note_start(void)
{
    int n = __atomic_fetch_add(&starts->count, 1, __ATOMIC_SEQ_CST);

    if (n < 256)
        starts->at[n] = now_ms();
}

static void clear(void *data)
{
    (void)data;
    note_start();
}

static void stop(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

static void run_for(mln_u32_t ms)
{
    CHECK(mln_event_timer_set(loop, ms, NULL, stop) != NULL);
    mln_event_dispatch(loop);
    if (getpid() != master)
        _exit(9);
    mln_event_break_reset(loop);
}

/* Starts at 0, at once, and 0.1, 0.3, 0.7, 1.5 s after that. */
static void check_starts(void)
{
    for (int i = 0; starts->count < 4 && i < 100; ++i) /* a busy machine takes its time */
        run_for(100);
    CHECK(starts->count >= 4);
    CHECK(starts->count <= 6);
    for (int i = 2; i < starts->count; ++i)
        CHECK(starts->at[i] - starts->at[i - 1] >= (100 << (i - 2)) - 10);
    CHECK(starts->at[1] - starts->at[0] < 1000);
}

static void fail_at_once(void)
{
    int result = mln_fork_restart(loop);

    CHECK(result >= 0);
    if (result == 0)
        _exit(9);
    run_for(TIME_MS);
    check_starts();
}

static void program_fails_at_once(const char *path)
{
    mln_s8ptr_t *args = malloc(sizeof *args);

    CHECK(args != NULL);
    args[0] = (mln_s8ptr_t)path;
    CHECK_INT(mln_fork_spawn(M_PST_SUP, args, 1, loop), 0);
    run_for(TIME_MS);
    check_starts();
}

/* Lives longer than a second: its successor comes at once, each time. */
static void live_long(void)
{
    int result = mln_fork_restart(loop);

    CHECK(result >= 0);
    for (;;) {
        if (result == 0) {
            sleep_ms(STABLE_MS);
            _exit(9);
        }
        CHECK(mln_event_timer_set(loop, 3 * STABLE_MS + 600, NULL, stop) != NULL);
        mln_event_dispatch(loop);
        if (getpid() == master)
            break;
        result = 0;
    }
    CHECK(starts->count >= 3);
    for (int i = 1; i < starts->count; ++i)
        CHECK(starts->at[i] - starts->at[i - 1] < STABLE_MS + 600);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        run_self("worker");
        run_self("program");
        run_self("bad path");
        run_self("stable");
        return 0;
    }
    master = getpid();
    mln_log_logger_set(NULL);
    starts = mmap(NULL, sizeof *starts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(starts != MAP_FAILED);
    mln_set_resource_clear_handler(clear, NULL);
    CHECK((loop = mln_event_new()) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    if (strcmp(argv[1], "worker") == 0)
        fail_at_once();
    else if (strcmp(argv[1], "program") == 0)
        program_fails_at_once("/bin/false");
    else if (strcmp(argv[1], "bad path") == 0)
        program_fails_at_once("/nowhere/at/all");
    else
        live_long();
    return 0;
}
