/*
 * What a master has printed and not yet flushed comes out once, however many workers are forked and however they end.
 */
#include "ipc.h"
#include "scratch.h"

#include <sys/wait.h>

enum { WORKERS = 4, BYE = 2000 };

static int ended;

static void end_in_one_of_the_ways(mln_event_t *ev)
{
    static char bye[] = "bye";

    printf("worker,");
    CHECK_INT(mln_ipc_worker_send_prepare(ev, BYE, bye, sizeof bye), 0);
}

static void on_bye(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    if (++ended == WORKERS)
        mln_event_break_set(ev); /* then the master ends: the workers, by exit(127), after it */
}

/* The master, in a process of its own, with its standard output in a file. */
static void master(const char *output)
{
    mln_event_t *ev;

    CHECK(freopen(output, "w", stdout) != NULL);
    printf("master,");
    handle(BYE, on_bye, NULL);
    ev = become_master();
    for (int i = 0; i < WORKERS; ++i)
        start_worker(ev, end_in_one_of_the_ways);
    dispatch(ev, end_in_one_of_the_ways);
    exit(0);
}

static int count(const char *text, const char *word)
{
    int n = 0;

    for (text = strstr(text, word); text != NULL; text = strstr(text + 1, word))
        ++n;
    return n;
}

int main(void)
{
    long long deadline = now_ms() + 10000 * check_slowness();
    char path[600], *text;
    int status;
    pid_t pid;

    scratch_make();
    snprintf(path, sizeof path, "%s", scratch_path("output"));
    CHECK((pid = fork()) >= 0);
    if (pid == 0)
        master(path);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    while (count(text = scratch_read(path), "worker,") < WORKERS && now_ms() < deadline) {
        free(text);
        usleep(1000);
    }
    CHECK_INT(count(text, "worker,"), WORKERS);
    CHECK_INT(count(text, "master,"), 1);
    free(text);
    return 0;
}
