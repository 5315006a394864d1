/*
 * habits_today_plain.c - a program of today that includes nothing but mln_framework.h, has configuration and log set up by it more
 * than once, logs from several threads, replaces the logger for a while, and runs a loop of its own.
 */
#include "check.h"

#include "mln_framework.h"

static int ticks, writes, lines;

static void tick(mln_event_t *ev, void *data)
{
    ++*(int *)data;
    mln_event_timer_set(ev, 2, data, tick);
}

static void write_once(mln_event_t *ev, int fd, void *data)
{
    CHECK(write(fd, data, strlen((char *)data)) > 0);
    writes++;
    CHECK_INT(mln_event_fd_set(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
}

static void finish(mln_event_t *ev, void *data)
{
    (void)data;
    mln_event_break_set(ev);
}

/* As the samples look at the result, from when it was a number: a warning, and no error. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wextra"
static void set_timer_as_of_old(mln_event_t *ev)
{
    if (mln_event_timer_set(ev, 2, &ticks, tick) < 0) {
        fprintf(stderr, "timer set failed.\n");
        exit(1);
    }
}
#pragma GCC diagnostic pop

static void run_loop(void)
{
    mln_event_t *ev;

    CHECK((ev = mln_event_new()) != NULL);
    CHECK_INT(mln_event_fd_set(ev, STDOUT_FILENO, M_EV_SEND, M_EV_UNLIMITED, (void *)"written from the loop\n", write_once), 0);
    if (mln_event_timer_set(ev, 2, &ticks, tick) == NULL)
        mln_log(error, "timer set failed.\n");
    set_timer_as_of_old(ev);
    CHECK(mln_event_timer_set(ev, 50 * check_slowness(), NULL, finish) != NULL);
    mln_event_dispatch(ev);
    mln_event_free(ev);
    CHECK(ticks > 1);
    CHECK_INT(writes, 1);
}

static void own_logger(mln_log_t *log, mln_log_level_t level, const char *file, const char *func, int line, char *fmt, va_list arg)
{
    CHECK_PTR(log, &g_log);
    CHECK_INT(level, debug);
    CHECK(strstr(file, "habits_today_plain.c") != NULL && line > 0);
    CHECK_STR(func, "log_by_own_logger");
    CHECK_STR(fmt, "%d\n");
    CHECK_INT(va_arg(arg, int), 5);
    lines++;
}

static void *log_some(void *name)
{
    int i;

    for (i = 0; i < 20; i++)
        mln_log(report, "%s: line %d of %l\n", (char *)name, i, 20L);
    return NULL;
}

static void log_by_threads(void)
{
    static char names[2][9] = {"thread 1", "thread 2"};
    pthread_t threads[2];
    int i;

    for (i = 0; i < 2; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, log_some, names[i]), 0);
    for (i = 0; i < 2; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
}

static void log_by_own_logger(void)
{
    mln_logger_t before = mln_log_logger_get();

    mln_log_logger_set(own_logger);
    CHECK(mln_log_logger_get() == own_logger);
    mln_log(debug, "%d\n", 5);
    mln_log_logger_set(NULL);
    mln_log(debug, "silence\n");
    mln_log_logger_set(before);
    mln_log(debug, "and as before\n");
    CHECK_INT(lines, 1);
}

int main(int argc, char *argv[])
{
    struct mln_framework_attr attr;
    int i;

    mln_log(debug, "before the initialisation\n");
    memset(&attr, 0, sizeof attr);
    attr.argc = argc;
    attr.argv = argv;
    for (i = 0; i < 3; i++) {
        if (mln_framework_init(&attr) < 0) {
            fprintf(stderr, "init failed\n");
            return 1;
        }
    }
    CHECK(mln_conf() != NULL);
    CHECK_INT(mln_conf_is_empty(mln_conf()), 1);
    log_by_threads();
    log_by_own_logger();
    run_loop();
    return 0;
}
