/**
 * @file mln_framework.h
 * The framework: a master, its workers, their loops and the reload of the configuration, in one call.
 *
 * mln_framework_init() is today's name. It does what the configuration says (see mln_conf.h). These commands of the domain
 * "main" count, and each may be absent:
 *
 * - `framework "multiprocess"` switches the framework on. Absent or `off`: only configuration and log are set up.
 * - `worker_proc N` is the number of plain workers, 0 to 65535; absent: none.
 * - `daemon on` makes the master a daemon, `user "NAME"` changes to that account; see mln_daemon() in mln_tools.h.
 * - `core_file_size N` and `max_nofile N` set resource limits; see mln_sys_limit_modify() in mln_tools.h.
 * - `log_path "FILE"` and `log_level "NAME"` are the log's; see mln_log_init() in mln_log.h.
 * - `ipc_message_max N` is the size of the largest message in bytes; absent: 64 MiB.
 * - `ipc_queue_limit N` is how many bytes may wait to be sent on one connection; absent or 0: no limit.
 * - `worker_backoff_min N`, `worker_backoff_max N`: the pause before a worker that failed twice in a row is started again,
 *   doubled each further time, and where that ends, in milliseconds; absent: 100 and 30000.
 * - `worker_backoff_reset N`: a worker that lived so long, in milliseconds, is started again at once; absent: 1000.
 * - `worker_backoff_jitter N`: so many percent of each pause are left to chance; absent: 0.
 * - `worker_failure_limit N`, `worker_failure_window N`: more than so many failures in so many milliseconds end the group;
 *   absent: any number, and 60000.
 * - `worker_start_timeout N`: a plain worker that does not dispatch its loop within so many milliseconds is ended by SIGABRT
 *   and replaced; absent or 0: it may take any time.
 * - `worker_heartbeat N`: a plain worker whose loop is stuck for so many milliseconds is ended by SIGABRT and replaced;
 *   absent or 0: it may take any time.
 * - `worker_drain_timeout N`, `worker_kill_timeout N`: a worker that was asked to end is sent SIGTERM after the first, and
 *   SIGKILL after the second of these times in milliseconds; absent: 1000 each.
 *
 * The commands `ipc_*` and `worker_*` are read once, before the first fork.
 *
 * The domain `proc_exec` (or `exec_proc`) lists programs to be started as workers: `keepalive "PATH" "ARGUMENT" ...;` for one
 * that is started again whenever it ends, `default "PATH" "ARGUMENT" ...;` for one that is not.
 *
 * The words `--help`, `--version`, `--reload` and `--stop` on the command line act on the program that runs already, or
 * print something, and end the process; see mln_boot_params() in mln_tools.h.
 *
 * When the master's loop is broken, the master ends its workers before it returns. SIGTERM and SIGINT to the master stop the
 * group gracefully, unless the program handles or ignores them: each worker gets what was sent to it, ends, and its last
 * messages are handled. The second such signal does not wait for them.
 */
#ifndef __MLN_FRAMEWORK_H
#define __MLN_FRAMEWORK_H

#include "mln_event.h"
#include "mln_conf.h"
#include "mln_log.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A callback that prepares something.
 *
 * @return 0 or more, or below 0 when it failed, which ends the start.
 */
typedef int (*mln_framework_init_t)(void);
/** What a process does before its loop runs; the argument is that loop, which stays the framework's. */
typedef void (*mln_framework_process_t)(mln_event_t *);

/** How to start the framework. Every callback may be NULL. Today's name. */
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
 * the boot parameters, applies limits and account, forks the workers and runs the loops. Usually the last call in main(),
 * made while the process has no other threads. It returns in the master and in every worker. Today's name.
 *
 * SIGUSR2 to the master reloads the configuration in the master and in every worker; workers themselves ignore SIGUSR2, and so does the
 * master when its loop has ended.
 * Without the framework only configuration and log are set up.
 *
 * A value of `framework` or `worker_proc` that cannot be obeyed ends the process with status 1 and a message.
 *
 * @param attr what to call; read during the call only, and the caller's.
 * @return 0 without the framework, after a stop, and in a process whose loop was broken; -1 when something failed, which the
 * log says, or when workers failed more often than worker_failure_limit allows.
 */
int mln_framework_init(struct mln_framework_attr *attr);

#ifdef __cplusplus
}
#endif

#endif
