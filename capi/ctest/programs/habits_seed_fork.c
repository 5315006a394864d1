/*
 * habits_seed_fork.c - a program of the seed era that forks without the framework: configuration, preparation, fork, a loop in each
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
        mln_event_set_break(ev);
}

static void on_greeting(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr)
{
    (void)f_ptr;
    (void)udata_ptr;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, ANSWER, buf, len), 0);
}

static mln_ipc_handler_t answer_handler = {on_answer, NULL, ANSWER};
static mln_ipc_handler_t greeting_handler = {on_greeting, NULL, GREETING};

/* ---- processes ---- */

static int greet(mln_event_t *ev, mln_fork_t *f, void *data)
{
    return mln_ipc_master_send_prepare(ev, GREETING, data, strlen((char *)data) + 1, f);
}

static int work(void)
{
    mln_event_t *ev = mln_event_init(1);

    CHECK(ev != NULL);
    mln_fork_worker_set_events(ev);
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
    mln_event_t *ev = mln_event_init(1);
    char calls[10];

    CHECK(ev != NULL);
    mln_fork_master_set_events(ev);
    start_program(ev, path);
    CHECK_INT(mln_fork_scan_all(ev, greet, (void *)"hello"), 0);
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
    CHECK_INT(mln_pre_fork(), 0);
    mln_set_master_ipc_handler(&answer_handler);
    mln_set_worker_ipc_handler(&greeting_handler);
    mln_set_resource_clear_handler(on_fork, &answers);
    if ((ret = do_fork()) < 0)
        return 1;
    return ret ? command(argv[0]) : work();
}
