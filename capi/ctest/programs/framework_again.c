/*
 * One group after another in a process: each is stopped by a signal of its own, and all answers that are under way arrive before it ends.
 */
#include "ipc.h"

#include "framework.h"

#include <signal.h>

enum { QUESTION = 2000, ANSWER, GROUPS = 3, QUESTIONS = 5 };

static int answers;

static void on_question(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    usleep(20000); /* the signal is there before the answer */
    CHECK_INT(mln_ipc_worker_send_prepare(ev, ANSWER, NULL, 0), 0);
}

static void on_answer(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    ++answers;
}

static int prepare(void)
{
    configure_workers(1);
    return 0;
}

static int ask(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    for (int i = 0; i < QUESTIONS; ++i)
        CHECK_INT(mln_ipc_master_send_prepare(ev, QUESTION, NULL, 0, f), 0);
    return 0;
}

static void ask_and_stop(mln_event_t *ev, void *data)
{
    (void)data;
    CHECK_INT(mln_fork_iterate(ev, ask, NULL), 0);
    raise(SIGTERM);
}

static void in_master(mln_event_t *ev)
{
    CHECK(mln_event_timer_set(ev, 10, NULL, ask_and_stop) != NULL);
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, in_master, NULL};
    pid_t master = getpid();

    handle(QUESTION, NULL, on_question);
    handle(ANSWER, on_answer, NULL);
    for (int i = 0; i < GROUPS; ++i) {
        answers = 0;
        CHECK_INT(mln_framework_init(&attr), 0);
        if (getpid() != master)
            return 0;
        CHECK_INT(answers, QUESTIONS);
    }
    remove_log();
    return 0;
}
