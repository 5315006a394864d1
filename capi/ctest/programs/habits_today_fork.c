/*
 * habits_today_fork.c - a program of today that forks without the framework: configuration, preparation, fork, a loop in each
 * process, a handler that is called in every child, and a program that is started as one more worker and speaks the wire format.
 */
#include "check.h"

#include "mln_conf.h"
#include "mln_event.h"
#include "mln_fork.h"

enum { WORKERS = 2, GREETING = 2001, ANSWER };

static int clears[2]; /* a pipe: a byte for each call of the clear handler */
static int answers;

/* ---- the program that is started: it finds its descriptor in its last argument ---- */

static int serve(int fd)
{
    mln_u32_t frame[2];
    char greeting[6];

    CHECK_INT(read(fd, frame, sizeof frame), sizeof frame);
    CHECK_INT(frame[0], 4 + sizeof greeting);
    CHECK_INT(frame[1], GREETING);
    CHECK_INT(read(fd, greeting, sizeof greeting), sizeof greeting);
    CHECK_STR(greeting, "hello");
    frame[1] = ANSWER;
    CHECK_INT(write(fd, frame, sizeof frame), sizeof frame);
    CHECK_INT(write(fd, greeting, sizeof greeting), sizeof greeting);
    return 0;
}

/* ---- handlers ---- */

static void on_fork(void *data)
{
    CHECK_PTR(data, &answers);
    CHECK_INT(write(clears[1], "c", 1), 1);
}

static void on_answer(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr)
{
    mln_fork_t *f = (mln_fork_t *)f_ptr;

    (void)len;
    (void)udata_ptr;
    CHECK_STR((char *)buf, "hello");
    CHECK((f->etype == M_PET_EXE) == (f->args != NULL));
    if (++answers == WORKERS + 1)
        mln_event_break_set(ev);
}

static void on_greeting(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr)
{
    (void)f_ptr;
    (void)udata_ptr;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, ANSWER, buf, len), 0);
}

/* ---- processes ---- */

static int greet(mln_event_t *ev, mln_fork_t *f, void *data)
{
    return mln_ipc_master_send_prepare(ev, GREETING, data, strlen((char *)data) + 1, f);
}

static int work(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    mln_fork_worker_events_set(ev);
    mln_event_dispatch(ev);
    return 1; /* the end of the master is the end of this process */
}

static void start_program(mln_event_t *ev, char *path)
{
    static char serving[] = "serve";
    mln_s8ptr_t *args = (mln_s8ptr_t *)malloc(4 * sizeof *args);

    CHECK(args != NULL);
    args[0] = path;
    args[1] = serving;
    args[2] = args[3] = NULL; /* room for the descriptor and the end */
    CHECK_INT(mln_fork_spawn(M_PST_DFL, args, 2, ev), 0);
}

static int command(char *path)
{
    mln_event_t *ev = mln_event_new();
    char calls[10];

    CHECK(ev != NULL);
    mln_fork_master_events_set(ev);
    start_program(ev, path);
    CHECK_INT(mln_fork_iterate(ev, greet, (void *)"hello"), 0);
    mln_event_dispatch(ev);
    CHECK_INT(answers, WORKERS + 1);
    CHECK_INT(read(clears[0], calls, sizeof calls), WORKERS + 1);
    unlink("habits.conf");
    return 0;
}

int main(int argc, char *argv[])
{
    FILE *file;
    int ret;

    if (argc > 1)
        return serve(atoi(argv[argc - 1]));
    CHECK((file = fopen("habits.conf", "w")) != NULL);
    fprintf(file, "worker_proc %d;\n", WORKERS);
    CHECK_INT(fclose(file), 0);
    CHECK_INT(setenv("MLN_CONF", "habits.conf", 1), 0);
    CHECK_INT(pipe(clears), 0);

    CHECK_INT(mln_conf_load(), 0);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK_INT(mln_fork_master_ipc_handler_set(ANSWER, on_answer, NULL), 0);
    CHECK_INT(mln_fork_worker_ipc_handler_set(GREETING, on_greeting, NULL), 0);
    mln_fork_resource_clear_handler_set(on_fork, &answers);
    if ((ret = mln_fork()) < 0)
        return 1;
    return ret ? command(argv[0]) : work();
}
