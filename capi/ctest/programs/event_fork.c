/*
 * After a plain fork() the child's copies of its parent's loops are refused with ESTALE and can be freed, and new loops
 * work, in grandchildren and daemons too.
 */
#include "check.h"
#include "events.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int ends[2];
static mln_event_t *stale;

static void ignore_signal(mln_event_t *ev, int signo, void *data)
{
    (void)ev;
    (void)signo;
    (void)data;
    CHECK(0);
}

/* A loop of this process does all it should. */
static void use_a_new_loop(void)
{
    mln_event_t *ev = new_loop();
    int local[2], bytes = 0, timers = 0;

    make_pipe(local);
    for (int i = 0; i < 10; ++i)
        put_byte(local[1]);
    CHECK_INT(mln_event_fd_set(ev, local[0], M_EV_RECV, M_EV_UNLIMITED, &bytes, count_byte), 0);
    CHECK(mln_event_timer_set(ev, 5, &timers, count_timer) != NULL);
    run_for(ev, 20);
    CHECK_INT(bytes, 10);
    CHECK_INT(timers, 1);
    mln_event_free(ev);
    close_both(local);
}

static void stale_loop_is_refused(mln_event_t *ev)
{
    struct stat before, after;
    FILE *file = tmpfile();

    CHECK(file != NULL);
    CHECK_INT(fstat(fileno(file), &before), 0);
    /* Whatever descriptors the loop had, their numbers may mean something else by now. */
    for (int fd = 3; fd < 40; ++fd)
        if (fcntl(fd, F_GETFD) < 0)
            CHECK_INT(dup2(fileno(file), fd), fd);
    errno = 0;
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, M_EV_UNLIMITED, NULL, never), -1);
    CHECK_INT(errno, ESTALE);
    errno = 0;
    CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), -1);
    CHECK_INT(errno, ESTALE);
    errno = 0;
    CHECK_PTR(mln_event_timer_set(ev, 1, NULL, never_timer), NULL);
    CHECK_INT(errno, ESTALE);
    errno = 0;
    CHECK_INT(mln_event_set_timer(ev, 1, NULL, never_timer), -1);
    CHECK_INT(errno, ESTALE);
    errno = 0;
    CHECK_INT(mln_event_set_signal(ev, M_EV_SET, SIGUSR1, NULL, ignore_signal), -1);
    CHECK_INT(errno, ESTALE);
    mln_event_timer_cancel(ev, NULL);
    mln_event_fd_timeout_handler_set(ev, ends[0], NULL, never);
    mln_event_callback_set(ev, never_timer, NULL);
    mln_event_dispatch(ev); /* returns */
    mln_event_set_break(ev);
    mln_event_break_set(ev);
    mln_event_break_reset(ev);
    CHECK_INT(fstat(fileno(file), &after), 0);
    CHECK_INT(after.st_size, before.st_size);
    for (int fd = 3; fd < 40; ++fd)
        if (fd != fileno(file) && fstat(fd, &after) == 0 && after.st_ino == before.st_ino && after.st_dev == before.st_dev)
            close(fd);
    fclose(file);
    mln_event_free(ev);
}

/* Runs it in a child made by fork(), which has to end with status 0. */
static void in_a_child(void (*body)(void))
{
    int status;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
}

static void free_and_go_on(void)
{
    mln_event_free(stale);
    use_a_new_loop();
}

static void be_refused_and_go_on(void)
{
    stale_loop_is_refused(stale);
    use_a_new_loop();
}

static void grandchild(void)
{
    use_a_new_loop();
    in_a_child(use_a_new_loop);
    use_a_new_loop();
}

/* As daemon() does it. */
static void daemonize(void)
{
    int status;
    pid_t child;

    CHECK((child = fork()) >= 0);
    if (child > 0) {
        CHECK_INT(waitpid(child, &status, 0), child);
        _exit(WEXITSTATUS(status));
    }
    CHECK(setsid() >= 0);
    in_a_child(use_a_new_loop);
}

static void fork_here(mln_event_t *ev, void *data)
{
    pid_t *child = data;

    CHECK((*child = fork()) >= 0);
    if (*child > 0)
        mln_event_set_break(ev);
}

static void *dispatch(void *data)
{
    mln_event_dispatch(data);
    return NULL;
}

int main(void)
{
    pthread_t thread;
    int status, calls = 0;
    pid_t child;

    make_pipe(ends);
    in_a_child(use_a_new_loop); /* before the first use of the library */
    in_a_child(daemonize);
    stale = new_loop();
    CHECK_INT(mln_event_fd_set(stale, ends[0], M_EV_RECV, M_EV_UNLIMITED, &calls, count_byte), 0);
    in_a_child(free_and_go_on);
    in_a_child(be_refused_and_go_on);
    in_a_child(grandchild);
    in_a_child(daemonize);

    /* While another thread sleeps in the loop. */
    CHECK_INT(pthread_create(&thread, NULL, dispatch, stale), 0);
    usleep(50000);
    in_a_child(be_refused_and_go_on);
    mln_event_set_break(stale);
    CHECK_INT(pthread_join(thread, NULL), 0);

    /* In a handler: dispatch returns in the child. */
    CHECK(mln_event_timer_set(stale, 0, &child, fork_here) != NULL);
    mln_event_dispatch(stale);
    if (child == 0) {
        be_refused_and_go_on();
        _exit(0);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);

    /* What children did to their copies is nothing to the parent's. */
    put_byte(ends[1]);
    run_for(stale, 20);
    CHECK_INT(calls, 1);
    mln_event_free(stale);
    close_both(ends);
    return 0;
}
