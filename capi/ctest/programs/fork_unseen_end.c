/*
 * Where the program ignores SIGCHLD, asks not to be told (SA_NOCLDWAIT), or waits for all children in a handler, a worker can be gone
 * without a trace before its master has looked at it. It was started nevertheless: what it said arrives, and another takes its place.
 * Whoever has been given its number is left alone.
 */
#include "ipc.h"
#include "processes.h"
#include "refuse.h"

#include <pthread.h>

enum { WORD = 2000, LIVES = 5 };

static int words;
static pid_t stranger; /* which is to be given the number of the next child */

static void wait_for_all(int signo)
{
    int saved = errno;

    (void)signo;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    errno = saved;
}

/* Gives the child time to end before fork() returns in the parent. A second thread takes the signal. */
static void linger(void)
{
    sleep_ms(30);
}

static void *take_signals(void *data)
{
    for (;;)
        pause();
    return data;
}

/* A child that is gone already, and its number another process's. */
pid_t fork(void)
{
    pid_t (*real)(void) = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork"), pid = real(), other = stranger;

    if (pid > 0 && other != 0) {
        CHECK_INT(await_status(pid), 0);
        stranger = 0;
        return other;
    }
    return pid;
}

static void on_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)udata;
    CHECK_INT(len, 5);
    if (++words == LIVES)
        mln_event_break_set(ev);
}

__attribute__((noreturn)) static void live_shortly(void)
{
    write_frame(mln_fork_get_master_connection()->sockfd, WORD, "words", 5);
    _exit(0);
}

static void try(void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    mln_event_t *ev = mln_event_new();
    pid_t self = getpid();
    int result;

    CHECK(ev != NULL);
    CHECK_INT(sigaction(SIGCHLD, &action, NULL), 0);
    words = 0;
    CHECK((result = mln_fork_restart(ev)) >= 0);
    if (result > 0) {
        CHECK_INT(worker_count(ev), 1);
        mln_event_dispatch(ev);
    }
    if (getpid() != self)
        live_shortly();
    CHECK_INT(words, LIVES);
    mln_event_free(ev);
}

/* Starts a process that is no child of this one, and ends with it. */
static pid_t start_stranger(void)
{
    int life[2], number[2];
    pid_t pid, child;
    char byte;

    CHECK_INT(pipe(life), 0);
    CHECK_INT(pipe(number), 0);
    CHECK((child = fork()) >= 0);
    if (child == 0) {
        close(life[1]);
        if ((pid = fork()) == 0)
            _exit(read(life[0], &byte, 1) == 0 ? 0 : 1);
        CHECK(pid > 0);
        write_bytes(number[1], &pid, sizeof pid);
        _exit(0);
    }
    CHECK_INT(read_bytes(number[0], &pid, sizeof pid), 1);
    CHECK_INT(await_status(child), 0);
    return pid;
}

static void try_number(int watchable)
{
    pid_t pid = start_stranger();
    mln_event_t *ev;

    stranger = pid;
    if (watchable) {
        try(SIG_DFL, 0);
    } else {
        ev = mln_event_new();
        refuse(SYS_pidfd_open, EMFILE);
        if (mln_fork_restart(ev) == 0)
            _exit(0);
        CHECK_INT(worker_count(ev), 0);
        mln_event_free(ev);
    }
    CHECK(is_running(pid));
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"ignore", "no wait", "handler", "another's number", "another's number, without a descriptor"};
    pthread_t thread;

    if (argc == 1) {
        for (size_t i = 0; i < sizeof modes / sizeof *modes; ++i)
            run_self(modes[i]);
        return 0;
    }
    handle(WORD, on_word, NULL);
    mln_event_free(become_master());
    if (strncmp(argv[1], modes[3], strlen(modes[3])) == 0) {
        try_number(strcmp(argv[1], modes[3]) == 0);
        return 0;
    }
    CHECK_INT(pthread_atfork(NULL, linger, NULL), 0);
    CHECK_INT(pthread_create(&thread, NULL, take_signals, NULL), 0);
    if (strcmp(argv[1], modes[0]) == 0)
        try(SIG_IGN, 0);
    else if (strcmp(argv[1], modes[1]) == 0)
        try(SIG_DFL, SA_NOCLDWAIT);
    else
        try(wait_for_all, SA_RESTART);
    return 0;
}
