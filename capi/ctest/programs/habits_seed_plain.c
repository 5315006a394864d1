/*
 * habits_seed_plain.c - a program of the seed era that includes nothing but mln_core.h, has configuration and log set up by it, logs
 * before that, and runs a loop of its own: a timer that sets itself again, a descriptor that is cleared in its own handler, and a
 * timer that ends the dispatch.
 */
#include "check.h"

#include "mln_core.h"

static int ticks, writes;

static void tick(mln_event_t *ev, void *data)
{
    CHECK_PTR(data, &ticks);
    ++*(int *)data;
    CHECK_INT(mln_event_set_timer(ev, 2, data, tick), 0);
}

static void write_once(mln_event_t *ev, int fd, void *data)
{
    CHECK_INT(fd, STDOUT_FILENO);
    CHECK_STR((char *)data, "written from the loop\n");
    CHECK(write(fd, data, strlen((char *)data)) > 0);
    writes++;
    CHECK_INT(mln_event_set_fd(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
}

static void finish(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_set_break(ev);
}

static void *log_some(void *data)
{
    int i;

    for (i = 0; i < 20; i++)
        mln_log(report, "%s: line %d of %l\n", (char *)data, i, 20L);
    return NULL;
}

static int run_loop(void)
{
    mln_event_t *ev = mln_event_init(1);

    if (ev == NULL) {
        mln_log(error, "event init failed.\n");
        return -1;
    }
    CHECK_INT(mln_event_set_fd(ev, STDOUT_FILENO, M_EV_SEND, M_EV_UNLIMITED, (void *)"written from the loop\n", write_once), 0);
    CHECK_INT(mln_event_set_timer(ev, 2, &ticks, tick), 0);
    CHECK_INT(mln_event_set_timer(ev, 50 * check_slowness(), NULL, finish), 0);
    mln_event_dispatch(ev);
    mln_event_destroy(ev);
    CHECK(ticks > 1);
    CHECK_INT(writes, 1);
    return 0;
}

int main(int argc, char *argv[])
{
    static char names[2][9] = {"thread 1", "thread 2"};
    struct mln_core_attr attr;
    mln_string_t text = mln_string("before the initialisation");
    mln_conf_domain_t *cd;
    pthread_t threads[2];
    int i;

    mln_log(debug, "%S: %d %u %l %x %f %c\n", &text, 1, 2u, 3L, 255, 1.5, 'c');
    attr.argc = argc;
    attr.argv = argv;
    attr.global_init = NULL;
    attr.worker_process = NULL;
    if (mln_core_init(&attr) < 0) {
        fprintf(stderr, "init failed\n");
        return 1;
    }
    CHECK((cd = mln_get_conf()->search(mln_get_conf(), "main")) != NULL);
    CHECK(cd->search(cd, "no_such_command") == NULL);
    for (i = 0; i < 2; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, log_some, names[i]), 0);
    for (i = 0; i < 2; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    return run_loop();
}
