/*
 * Lines are whole and none is lost, whatever threads, reloads, signals and forks do at the same time.
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "mln_log.h"
#include "scratch.h"

enum { THREADS = 6, LINES = 3000, CHILDREN = 20 };

static char filler[1500]; /* longer than what fits on the logger's stack */
static int signals; /* those that were handled; several threads may handle one each at a time */
static int writing = THREADS;

static void on_alarm(int signo)
{
    (void)signo;
    mln_log(none, "signal %d end\n", __atomic_add_fetch(&signals, 1, __ATOMIC_SEQ_CST));
}

static void *writer(void *arg)
{
    long id = (long)arg;

    for (int i = 0; i < LINES; i++)
        mln_log(none, "thread %l line %d %s end\n", id, i, i % 7 == 0 ? filler : "short");
    __atomic_sub_fetch(&writing, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void *reloader(void *arg)
{
    (void)arg;
    while (__atomic_load_n(&writing, __ATOMIC_SEQ_CST) > 0) {
        CHECK_INT(mln_log_reload(NULL), 0);
        usleep(1000);
    }
    return NULL;
}

static void fork_children(void)
{
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            mln_log(none, "child %d end\n", i);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK_INT(status, 0);
    }
}

static int inside, overlaps, custom_calls;

static void counting_logger(mln_log_t *log, mln_log_level_t level, const char *file, const char *func, int line, char *fmt,
                            va_list args)
{
    (void)log;
    (void)level;
    (void)file;
    (void)func;
    (void)line;
    (void)fmt;
    (void)args;
    overlaps += __atomic_fetch_add(&inside, 1, __ATOMIC_SEQ_CST) != 0;
    for (volatile int i = 0; i < 200; i++)
        ;
    custom_calls++;
    __atomic_fetch_sub(&inside, 1, __ATOMIC_SEQ_CST);
}

static void *custom_writer(void *arg)
{
    (void)arg;
    for (int i = 0; i < LINES; i++)
        mln_log(none, "x");
    return NULL;
}

/* A custom logger needs no lock of its own. */
static void custom_logger_runs_in_one_thread_at_a_time(void)
{
    pthread_t threads[THREADS];
    mln_logger_t library_logger = mln_log_logger_get();

    mln_log_logger_set(counting_logger);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, custom_writer, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    mln_log_logger_set(library_logger);
    CHECK_INT(custom_calls, THREADS * LINES);
    CHECK_INT(overlaps, 0);
}

/* Every line is one that somebody wrote, and each writer's lines are in order. */
static void check_lines(void)
{
    char *text = scratch_read(scratch_path("app.log")), *line, *rest = text;
    int next[THREADS] = {0}, children = 0, from_signals = 0;
    size_t length;

    while ((line = strsep(&rest, "\n")) != NULL && rest != NULL) {
        long id;
        int number;
        char word[2000];

        length = strlen(line);
        CHECK(length > 4 && strcmp(line + length - 4, " end") == 0);
        if (sscanf(line, "thread %ld line %d %1999s end", &id, &number, word) == 3) {
            CHECK(id >= 0 && id < THREADS);
            CHECK_INT(number, next[id]);
            CHECK_STR(word, number % 7 == 0 ? filler : "short");
            next[id]++;
        } else if (sscanf(line, "child %d end", &number) == 1) {
            CHECK_INT(number, children);
            children++;
        } else {
            CHECK_INT(sscanf(line, "signal %d end", &number), 1);
            from_signals++;
        }
    }
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(next[i], LINES);
    CHECK_INT(children, CHILDREN);
    CHECK_INT(from_signals, signals);
    free(text);
}

int main(void)
{
    pthread_t threads[THREADS], reload;
    struct sigaction action;
    struct itimerval interval = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    char conf[1024];

    scratch_make();
    memset(filler, 'f', sizeof filler - 1);
    snprintf(conf, sizeof conf, "log_path \"%s\";\ndaemon on;\n", scratch_path("app.log"));
    CHECK_INT(scratch_conf(conf), 0);
    CHECK_INT(mln_log_init(NULL), 0);

    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);

    /* Signals interrupt the writers alone. */
    for (long i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, writer, (void *)i) == 0);
    sigset_t alarm_only;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    CHECK(pthread_sigmask(SIG_BLOCK, &alarm_only, NULL) == 0);
    CHECK(pthread_create(&reload, NULL, reloader, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &interval, NULL) == 0);

    fork_children();
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(pthread_join(reload, NULL) == 0);
    action.sa_handler = SIG_IGN;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);

    check_lines();
    custom_logger_runs_in_one_thread_at_a_time();
    mln_log_destroy();
    mln_conf_free();
    return 0;
}
