/*
 * Where the program ignores SIGCHLD, asks not to be told (SA_NOCLDWAIT), or waits for all children in a handler, a worker can be gone
 * without a trace before its master has looked at it. It was started nevertheless: what it said arrives, and another takes its place.
 */
#include "ipc.h"
#include "processes.h"

#include <pthread.h>

enum { WORD = 2000, LIVES = 5 };

static int words;

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

int main(int argc, char **argv)
{
    static const char *const modes[] = {"ignore", "no wait", "handler"};
    pthread_t thread;

    if (argc == 1) {
        for (int i = 0; i < 3; ++i)
            run_self(modes[i]);
        return 0;
    }
    handle(WORD, on_word, NULL);
    mln_event_free(become_master());
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
