/**
 * @file mln_core.h
 * The framework under the names of the seed era. mln_core_init() does what mln_framework_init() does, see mln_framework.h, with
 * two differences: it has no callback for the master, and `framework on` in the configuration is enough to switch it on.
 */
#ifndef __MLN_CORE_H
#define __MLN_CORE_H

#include "mln_event.h"
#include "mln_conf.h"
#include "mln_log.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A callback that prepares something. The seed era's name of mln_framework_init_t.
 *
 * @return 0 or more, or below 0 when it failed, which ends the start.
 */
typedef int (*mln_core_init_t)(void);
/** What a worker does before its loop runs; the argument is that loop, which stays the framework's. Seed era. */
typedef void (*mln_core_worker_process_t)(mln_event_t *);

/** How to start the framework. Every callback may be NULL. Seed era. */
struct mln_core_attr {
    int argc;                                 /**< As main() got it. */
    char **argv;                              /**< As main() got it. */
    mln_core_init_t global_init;              /**< Runs once, before any fork; what it opens and loads is inherited. */
    mln_core_worker_process_t worker_process; /**< Runs in every plain worker, with its loop. */
};

/**
 * Loads the configuration, calls global_init, and, if the configuration switches the framework on (`framework`), handles
 * the boot parameters, applies limits and account, forks the workers and runs the loops. Usually the last call in main(),
 * made while the process has no other threads. It returns in the master and in every worker. Since the seed era.
 *
 * SIGUSR2 to the master reloads the configuration in the master and in every worker; workers themselves ignore SIGUSR2, and so does the
 * master when its loop has ended.
 * Without the framework only configuration and log are set up.
 *
 * A value of `framework` or `worker_proc` that cannot be obeyed ends the process with status 1 and a message.
 *
 * @param attr what to call; read during the call only, and the caller's.
 * @return 0 without the framework, and in a process whose loop was broken; -1 when something failed, which the log says.
 */
int mln_core_init(struct mln_core_attr *attr);

#ifdef __cplusplus
}
#endif

#endif
