/**
 * @file mln_thread.h
 * The thread mode of the framework, in which every worker runs a set of threads. This library has no such mode: it offers the
 * names, so that programs that mention them build, and refuses to start threads with errno ENOTSUP and a line in the log.
 *
 * What serves a program's own threads works: messages are released, and a thread can name what is to be called at its end.
 */
#ifndef __MLN_THREAD_H
#define __MLN_THREAD_H

#include <pthread.h>

#include "mln_types.h"
#include "mln_string.h"
#include "mln_connection.h"
#include "mln_event.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a thread runs: like main(), with its alias as first argument. Today's name. */
typedef int (*mln_thread_entrance_t)(int argc, char **argv);
/** The seed era's name of mln_thread_entrance_t. */
typedef mln_thread_entrance_t tentrance;

/** What happens when a thread ends. Today's name; the constants are of both eras. */
typedef enum {
    THREAD_RESTART, /**< It is started again. */
    THREAD_DEFAULT  /**< Nothing. */
} mln_thread_stype_t;

/** What a message between threads is. */
enum mln_thread_msg_type {
    ITC_REQUEST, /**< To be passed on to the thread `dest`. */
    ITC_RESPONSE /**< From the main thread: the message did not reach its destination. */
};

/** A message between threads: written and read as a whole. Both eras. */
typedef struct {
    mln_string_t *dest;   /**< Alias of the thread that is to get it. */
    mln_string_t *src;    /**< Alias of the thread that sent it. */
    double f;             /**< The program's. */
    void *pfunc;          /**< The program's. */
    void *pdata;          /**< The program's. */
    mln_sauto_t sauto;    /**< The program's. */
    mln_uauto_t uauto;    /**< The program's. */
    mln_s8_t c;           /**< The program's. */
    mln_s8_t padding[7];  /**< Not used. */
    enum mln_thread_msg_type type; /**< What it is. */
    int need_clear;       /**< Non-zero: whoever gets it releases it, with mln_thread_clear_msg(). */
} mln_thread_msg_t;

/** A function that the configuration can start as a thread, by its alias. Both eras. */
typedef struct {
    char *alias;                       /**< Its name. */
    mln_thread_entrance_t thread_main; /**< What the thread runs. */
} mln_thread_module_t;

/** A thread of the framework. Its contents are private. Both eras. */
typedef struct mln_thread_s mln_thread_t;

/**
 * Names the functions that threads can run. Without effect, since no thread will be started. Both eras.
 *
 * @param modules the functions.
 * @param num     their number.
 */
void mln_thread_module_set(mln_thread_module_t *modules, mln_size_t num);

/**
 * Starts the threads of the domain `thread_exec` of the configuration. Both eras.
 *
 * @param ev the loop that would serve them.
 * @return -1 with errno ENOTSUP, after a line in the log.
 */
int mln_load_thread(mln_event_t *ev);

/**
 * Starts a thread. Today's arguments; see mln_thread_create_from() for those of the seed era.
 *
 * @param ev       the loop that would serve it.
 * @param alias    its name.
 * @param stype    what would happen when it ends.
 * @param entrance what it would run.
 * @param argc     number of arguments.
 * @param argv     the arguments.
 * @return -1 with errno ENOTSUP, after a line in the log.
 */
int mln_thread_create(mln_event_t *ev, char *alias, mln_thread_stype_t stype, mln_thread_entrance_t entrance, int argc,
                      char **argv);

/**
 * What mln_thread_create() with the seed era's two arguments stands for.
 *
 * @param t  the thread.
 * @param ev the loop that would serve it.
 * @return -1 with errno ENOTSUP, after a line in the log.
 */
int mln_thread_create_from(mln_thread_t *t, mln_event_t *ev);

/**
 * Sets the one function that is called when the calling thread ends: by mln_thread_exit(), by pthread_exit(), by being
 * cancelled or by returning from its function. The main thread has no such end; there only mln_thread_exit() calls it. Any
 * thread may call this for itself. Both eras.
 *
 * @param tcleanup the function; NULL: none. It replaces the one that was set before.
 * @param data     passed to it; stays the caller's. Has to last until then.
 */
void mln_thread_cleanup_set(void (*tcleanup)(void *), void *data);

/**
 * Releases what a message refers to, `dest` and `src`, and sets both to NULL. What `pdata` refers to stays the program's. Any
 * thread of any process. Both eras.
 *
 * @param msg the message, which stays the caller's; NULL is allowed.
 */
void mln_thread_clear_msg(mln_thread_msg_t *msg);

/**
 * Ends the calling thread, after the function that mln_thread_cleanup_set() set. In the main thread it ends the process, by
 * exit(). Both eras.
 *
 * @param exit_code what pthread_join() gives as (void *)(intptr_t)exit_code; in the main thread the status of the process.
 */
void mln_thread_exit(int exit_code) __attribute__((__noreturn__));

/**
 * Ends the threads of an alias. As there can be none, it does nothing. Both eras.
 *
 * @param alias the alias.
 */
void mln_thread_kill(mln_string_t *alias);

#ifdef __cplusplus
}

/** The seed era's form of mln_thread_create(), as mln_thread_create_from(). */
static inline int mln_thread_create(mln_thread_t *t, mln_event_t *ev)
{
    return mln_thread_create_from(t, ev);
}
#else
/* The number of arguments tells the eras apart: six today, two in the seed era. */
#define mln_thread_create(...) \
    MLN_THREAD_CREATE_SEVENTH(__VA_ARGS__, mln_thread_create, mln_thread_create, mln_thread_create, mln_thread_create, \
                              mln_thread_create_from, mln_thread_create, )(__VA_ARGS__)
#define MLN_THREAD_CREATE_SEVENTH(a, b, c, d, e, f, seventh, ...) seventh
#endif

#endif
