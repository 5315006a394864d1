/**
 * @file mln_framework.h
 * The framework: a master, its workers, their loops and the reload of the configuration, in one call. The names of today's era.
 */
#ifndef __MLN_FRAMEWORK_H
#define __MLN_FRAMEWORK_H

#include "mln_event.h"
#include "mln_conf.h"
#include "mln_log.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A callback that prepares something. @return below 0 when it failed. */
typedef int (*mln_framework_init_t)(void);
/** What a process does before its loop runs. */
typedef void (*mln_framework_process_t)(mln_event_t *);

/** How to start the framework. Every callback may be NULL. */
struct mln_framework_attr {
    int argc;                               /**< As main() got it. */
    char **argv;                            /**< As main() got it. */
    mln_framework_init_t global_init;       /**< Runs once, before any fork; what it opens and loads is inherited. */
    mln_framework_process_t main_thread;    /**< Of the thread mode, which does not exist here. */
    mln_framework_process_t master_process; /**< Runs in the master, with its loop, after the workers were forked. */
    mln_framework_process_t worker_process; /**< Runs in every plain worker, with its loop. */
};

/**
 * Loads the configuration, calls global_init, and, if the configuration switches the framework on (`framework`), handles
 * the boot parameters, applies limits and account, forks the workers and runs the loops. Usually the last call in main().
 *
 * SIGUSR2 to the master reloads the configuration in the master and in every worker; workers themselves ignore SIGUSR2.
 * Without the framework only configuration and log are set up.
 *
 * A value of `framework` or `worker_proc` that cannot be obeyed ends the process with status 1 and a message.
 *
 * @param attr read during the call only.
 * @return 0 without the framework, and in a process whose loop was broken; -1 when something failed, which the log says.
 */
int mln_framework_init(struct mln_framework_attr *attr);

#ifdef __cplusplus
}
#endif

#endif
