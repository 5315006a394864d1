/*
 * thread.c - what of the thread mode makes sense without it (mln_thread.h).
 */
#include "mln_thread.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"

/* ---- threads of the framework: there are none ---- */

static int refuse(const char *what)
{
    log_line(error, "%s: this library has no thread mode; start worker processes instead", what);
    errno = ENOTSUP;
    return -1;
}

int mln_load_thread(mln_event_t *ev)
{
    (void)ev;
    return refuse("cannot start the threads of the configuration");
}

/* In parentheses because the name is a macro, too. */
int (mln_thread_create)(mln_event_t *ev, char *alias, mln_thread_stype_t stype, mln_thread_entrance_t entrance, int argc,
                        char **argv)
{
    (void)ev;
    (void)alias;
    (void)stype;
    (void)entrance;
    (void)argc;
    (void)argv;
    return refuse("cannot start a thread");
}

int mln_thread_create_from(mln_thread_t *t, mln_event_t *ev)
{
    (void)t;
    (void)ev;
    return refuse("cannot start a thread");
}

void mln_thread_module_set(mln_thread_module_t *modules, mln_size_t num)
{
    (void)modules;
    (void)num;
}

void mln_thread_kill(mln_string_t *alias)
{
    (void)alias;
}

/* ---- messages ---- */

void mln_thread_clear_msg(mln_thread_msg_t *msg)
{
    if (msg == NULL)
        return;
    mln_string_free(msg->dest);
    mln_string_free(msg->src);
    msg->dest = msg->src = NULL;
}

/* ---- the end of a thread ---- */

static __thread struct cleanup {
    void (*function)(void *);
    void *data;
} cleanup;

/* Has a value in each thread that ever set a cleanup, so that the C library calls the destructor when the thread ends. */
static pthread_key_t at_end;
static int have_key;

/* At most once: what the function sets is for the next end. */
static void clean_up(void *unused)
{
    struct cleanup now = cleanup;

    (void)unused;
    cleanup = (struct cleanup){NULL, NULL};
    if (now.function != NULL)
        now.function(now.data);
}

static void make_key(void)
{
    have_key = pthread_key_create(&at_end, clean_up) == 0;
}

void mln_thread_cleanup_set(void (*tcleanup)(void *), void *data)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    cleanup = (struct cleanup){tcleanup, data};
    pthread_once(&once, make_key);
    if (!have_key || pthread_setspecific(at_end, &cleanup) != 0)
        log_line(error, "the function set by mln_thread_cleanup_set() will be called by mln_thread_exit() only: no memory");
}

void mln_thread_exit(int exit_code)
{
    clean_up(NULL);
    if (getpid() == gettid())
        exit(exit_code);
    pthread_exit((void *)(intptr_t)exit_code);
}
