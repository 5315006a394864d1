/*
 * A program that was executed as a worker and uses this library is one by the same functions as a forked worker. A program that
 * it starts in turn is not.
 */
#include "ipc.h"
#include "processes.h"

enum { QUESTION = 2000, ANSWER, SIZE = 300000 };

static mln_event_t *loop;

/* ---- the worker ---- */

static void on_question(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    const char *const words[] = {"stranger", NULL};

    (void)f_ptr;
    (void)udata;
    CHECK_INT(len, SIZE);
    CHECK(filled(buf, len, 5));
    CHECK_INT(await_status(start_self(words)), 0);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, ANSWER, buf, len), 0);
}

static int work_alone(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK_INT(mln_fork_worker_ipc_handler_set(QUESTION, on_question, NULL), 0);
    mln_fork_worker_events_set(ev);
    CHECK(mln_fork_master_connection_get()->sockfd >= 0);
    mln_event_dispatch(ev); /* until the master is gone */
    return 1;
}

/* ---- the program that the worker starts ---- */

static int be_a_stranger(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(getenv("MELON_WORKER") != NULL); /* inherited, and meant for another one */
    CHECK_INT(mln_fork_master_connection_get()->sockfd, -1);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, ANSWER, NULL, 0), -1);
    CHECK_INT(errno, ENOTCONN);
    mln_event_free(ev);
    return 0;
}

/* ---- the master ---- */

static int answers;

static void on_answer(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)udata;
    CHECK_INT(f->etype, M_PET_EXE);
    CHECK_INT(len, SIZE);
    CHECK(filled(buf, len, 5));
    ++answers;
    mln_event_break_set(ev);
}

static int ask(mln_event_t *ev, mln_fork_t *f, void *data)
{
    return mln_ipc_master_send_prepare(ev, QUESTION, data, SIZE, f);
}

int main(int argc, char *argv[])
{
    static char content[SIZE];
    mln_s8ptr_t args[2] = {(mln_s8ptr_t)"/proc/self/exe", (mln_s8ptr_t)"worker"};

    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return work_alone();
    if (argc > 1)
        return be_a_stranger();
    handle(ANSWER, on_answer, NULL);
    loop = become_master();
    fill(content, sizeof content, 5);
    CHECK_INT(mln_fork_spawn(M_PST_SUP, args, 2, loop), 0);
    CHECK_INT(mln_fork_iterate(loop, ask, content), 0);
    mln_event_dispatch(loop);
    CHECK_INT(answers, 1);
    mln_event_free(loop);
    return 0;
}
