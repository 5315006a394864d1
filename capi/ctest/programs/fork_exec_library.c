/*
 * A program that was executed as a worker and uses this library is one by the same functions as a forked worker. A program that
 * it starts in turn is not. One whose master has ended before it asks for its channel ends as any worker does then.
 */
#include "ipc.h"
#include "processes.h"

#include <sys/prctl.h>

enum { QUESTION = 2000, ANSWER, SIZE = 300000 };

static mln_event_t *loop;

/* Starts this program as a worker, with two arguments. */
static void spawn_self(enum proc_state_type stype, const char *role, const char *more, mln_event_t *ev)
{
    mln_s8ptr_t *args = calloc(3, sizeof *args);

    CHECK(args != NULL);
    args[0] = (mln_s8ptr_t)"/proc/self/exe";
    args[1] = (mln_s8ptr_t)role;
    args[2] = (mln_s8ptr_t)more;
    CHECK_INT(mln_fork_spawn(stype, args, 3, ev), 0);
}

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

/* ---- the worker whose master does not stay ---- */

static int leave_an_orphan(const char *parent_to_be)
{
    spawn_self(M_PST_DFL, "orphan", parent_to_be, become_master());
    _exit(0);
}

static int be_an_orphan(const char *parent_to_be)
{
    while (getppid() != atoi(parent_to_be))
        usleep(1000);
    return work_alone();
}

static void an_orphan_ends(void)
{
    char self[16];
    const char *const words[] = {"leave", self, NULL};
    int status;

    snprintf(self, sizeof self, "%d", (int)getpid());
    CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    CHECK_INT(await_status(start_self(words)), 0);
    CHECK(wait(&status) > 0);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 127);
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

    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return work_alone();
    if (argc > 1 && strcmp(argv[1], "leave") == 0)
        return leave_an_orphan(argv[2]);
    if (argc > 1 && strcmp(argv[1], "orphan") == 0)
        return be_an_orphan(argv[2]);
    if (argc > 1)
        return be_a_stranger();
    handle(ANSWER, on_answer, NULL);
    loop = become_master();
    fill(content, sizeof content, 5);
    spawn_self(M_PST_SUP, "worker", "", loop);
    CHECK_INT(mln_fork_iterate(loop, ask, content), 0);
    mln_event_dispatch(loop);
    CHECK_INT(answers, 1);
    mln_event_free(loop);
    an_orphan_ends();
    return 0;
}
