/**
 * @file mln_log.h
 * The log: levelled lines to a file, to standard error, or to a logger of the program's own.
 *
 * The log works from the first instruction of a program on. Until mln_log_init() has opened a file, lines go to
 * standard error; afterwards they go to the file and, unless the process is a daemon, to standard error as well.
 *
 * Every function may be called by any thread of any process, workers included, and a fork may happen at any time in
 * another thread. None is async-signal-safe; a handler that logs all the same neither hangs nor tears a line of the
 * code it interrupted, but a message that does not fit on its stack needs malloc. None is a point where a thread is cancelled.
 *
 * A place that takes nothing, such as a pipe whose reader is stuck or a terminal that was stopped, is waited for a second, and not
 * again before it takes something. What it does not take is lost there, as is what a full disk does not take; how many lines
 * this process has lost, and why, is said on a new line in front of the next one. The mode of a descriptor, blocking or not, stays what
 * it is.
 */
#ifndef __MLN_LOG_H
#define __MLN_LOG_H

#include <stdarg.h>
#include <stdint.h>
#include <sys/types.h>
#include "mln_types.h"
#include "mln_string.h"
#include "mln_conf.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A path length that programs of the seed era use for buffers. The library itself has no limit. */
#define M_LOG_PATH_LEN 1024

/**
 * Importance of a message, in ascending order. Messages below the configured level (key `log_level`) are dropped;
 * `none` is the lowest level, not "silence". `enum log_level` is the name since the seed era, mln_log_level_t today's.
 */
typedef enum log_level {
    none,   /**< Printed as it is, without a prefix. */
    report, /**< Prefix: time and process id. */
    debug,  /**< Prefix: time, place in the source and process id; the same for those below. */
    warn,   /**< Something is not as it should be, and the program goes on. */
    error   /**< Something failed. */
} mln_log_level_t;

/**
 * The state of the log in this process. Programs read it, a custom logger in particular; the library writes it.
 * The pointers are valid until the next mln_log_init(), mln_log_reload() or mln_log_destroy().
 */
typedef struct mln_log_s {
    mln_u32_t thread_lock;   /**< Thread that prints at the moment; private to the library. */
    int fd;                  /**< Descriptor of the log file, 2 while there is none. */
    mln_u32_t in_daemon : 1; /**< 1: lines go to the file only. */
    mln_u32_t init : 1;      /**< 1: the file is open. */
    mln_log_level_t level;   /**< Messages below this level are dropped. */
    char *dir_path;          /**< Folder of the log file; "" while there is none. */
    char *pid_path;          /**< File that holds the process id; "" while there is none. */
    char *log_path;          /**< The log file; "" while there is none. */
} mln_log_t;

/**
 * A function that prints messages instead of the library. It runs with the log locked, so that calls never overlap, and
 * filters by `level` itself if it wants to. `args` belong to `fmt`, whose specifiers are those of mln_log().
 * It must return normally. What it logs itself is printed by the library's own logger. A fork by another thread waits until it returns,
 * but not for long (10 ms): a lock of the logger's own belongs into hooks of the program's around forks (pthread_atfork).
 */
typedef void (*mln_logger_t)(mln_log_t *log, mln_log_level_t level, const char *file, const char *func, int line,
                             char *fmt, va_list args);

/**
 * Returns the state of the log in this process, never NULL. Programs use it by the name g_log.
 */
mln_log_t *mln_log_state(void);

/**
 * The state of the log in this process. Since the seed era.
 *
 * @par Prototype
 * `mln_log_t g_log`
 */
#define g_log (*mln_log_state())

/**
 * Tells whether the log leaves standard error alone because the process is a daemon. Today's name.
 *
 * @par Prototype
 * `int mln_log_in_daemon(void)`
 *
 * @return 1 if so, else 0.
 */
#define mln_log_in_daemon() (g_log.in_daemon)

/**
 * Opens the log by a configuration; programs call it as mln_log_init().
 *
 * The file is the one of key `log_path`: an absolute path, a path that starts with a dot (relative to the working
 * directory), or a path relative to the installation; without the key it is mln_path_log(). The last folder of the path
 * is created if need be (mode 0755), the file is opened for append (mode 0644), and the id of the process is written
 * into `melon.pid` beside it. The level comes from key `log_level`: "none" (without the key), "report", "debug", "warn" or
 * "error". Key `daemon` tells whether lines go to the file only. Does nothing when the log is open already. Without a
 * configuration, or with an empty one, the log stays on standard error, silently.
 *
 * From then on SIGXFSZ is handled, unless the program handles or ignores it: a line that would make the file larger than this process
 * may write (RLIMIT_FSIZE, `ulimit -f`) is lost, and ends nobody. For other files nothing changes, nor for programs that are executed.
 *
 * The process that the pid file names holds it by a lock (`F_SETLK`) until it ends, closes the log, or opens and closes the file
 * itself, which programs should not do. Its children do not hold it. A process that finds it held by another one leaves it as
 * it is and says so, unless that is its parent. Where files cannot be locked a warning says that.
 *
 * A process that runs as root, or as a set-user-ID program, follows symbolic links on the way to these files only if root or its
 * own account has made them, and a set-user-ID program takes no path that is relative to the working directory.
 *
 * @param configuration  the value given to mln_log_init(), see there.
 * @return 0, or -1 after a message that names the cause; lines then keep going to standard error.
 */
int mln_log_open(uintptr_t configuration);

/**
 * Opens the log as described at mln_log_open(). The first form is today's, the second the seed era's.
 *
 * @par Prototype
 * `int mln_log_init(mln_conf_t *cf)`
 * `int mln_log_init(int in_daemon)`
 *
 * @param configuration an mln_conf_t *, which is asked then; NULL or 0: the configuration that is loaded; any other integer: the
 *                      same, and this process is a daemon, whose lines go to the file only.
 * @return as mln_log_open().
 */
#define mln_log_init(configuration) mln_log_open((uintptr_t)(configuration))

/**
 * Closes the log file and releases what belongs to it. Lines go to standard error from then on, as before
 * mln_log_init(), which may be called again. A custom logger stays in force. Since the seed era.
 */
void mln_log_destroy(void);

/**
 * Opens the log file anew by the configuration in force and rereads the level, so that a file that was renamed
 * is let go. The descriptor keeps its number. The process that holds the pid file moves it when the folder changed, and
 * the reload fails if another process holds the one that is there.
 * Does nothing when mln_log_init() was never called.
 *
 * Since the seed era.
 *
 * @param data  ignored; it makes the function usable as a reload hook of the configuration.
 * @return 0, or -1 after a message; file and level then stay what they were.
 */
int mln_log_reload(void *data);

/**
 * Writes bytes as they are, without prefix or regard to levels, to the places where lines go. Since the seed era.
 *
 * @param buf  the bytes, the caller's; may be NULL when n is 0.
 * @param n    how many, at most INT_MAX.
 * @return the number of bytes written to the log file (to standard error while there is none), or -1 with errno set: EAGAIN if
 *         that takes nothing. What is missing counts as no lost line.
 */
int mln_log_writen(void *buf, mln_size_t n);

/**
 * Returns the descriptor of the log file; 2, standard error, while there is none. It belongs to the log and must not be
 * closed. Today's name.
 */
int mln_log_fd(void);

/** Returns the folder of the log file, "" while there is none. Valid until the log is reloaded. Today's name. */
char *mln_log_dir_path(void);

/** Returns the path of the log file, "" while there is none. Valid until the log is reloaded. Today's name. */
char *mln_log_logfile_path(void);

/** Returns the path of the pid file, "" while there is none. Valid until the log is reloaded. Today's name. */
char *mln_log_pid_path(void);

/** The seed era's name of mln_log_fd(). */
int mln_log_get_fd(void);

/** The seed era's name of mln_log_dir_path(). */
char *mln_log_get_dir_path(void);

/** The seed era's name of mln_log_logfile_path(). */
char *mln_log_get_log_path(void);

/** The seed era's name of mln_log_pid_path(). */
char *mln_log_get_pid_path(void);

/**
 * Replaces the function that prints messages, in this process and in those forked from it later. Today's name.
 *
 * @param logger  the new function; NULL for silence; a value of mln_log_logger_get() to put that one back.
 */
void mln_log_logger_set(mln_logger_t logger);

/**
 * Tells which function prints messages. Today's name.
 *
 * @return the library's own, the one that was set, or NULL for silence.
 */
mln_logger_t mln_log_logger_get(void);

/**
 * Prints a message; programs call it as mln_log(), which supplies the place in the source.
 *
 * The line is `MSG` (none), `MM/DD/YYYY hh:mm:ss UTC REPORT: PID:n MSG` (report) or
 * `MM/DD/YYYY hh:mm:ss UTC ERROR: file:func:line: PID:n MSG` (the others, by their names). No newline is added. A line
 * of any length reaches each of its places by one write. errno is left as it was.
 *
 * The specifiers, and the types of their arguments:
 *
 *     %s  char *              %S  mln_string_t *
 *     %d  int                 %u  unsigned int
 *     %l  long                %U  unsigned long
 *     %i  mln_s64_t           %I  mln_u64_t
 *     %x  int, hexadecimal    %X  long, hexadecimal
 *     %f  double              %c  int, a character
 *     %%  a percent sign
 *
 * NULL for a string prints `(null)`. Hexadecimal digits are in lower case. There are no widths, precisions and length
 * modifiers. Any other specifier prints `Log message format error.` and ends the message.
 *
 * @param level importance of the message; below the configured one nothing is printed.
 * @param file  file of the source.
 * @param func  function of the source.
 * @param line  line of the source.
 * @param msg   the message with its specifiers; the arguments for them follow.
 */
void mln_sys_log(mln_log_level_t level, const char *file, const char *func, int line, const char *msg, ...);

/**
 * The seed era's name of mln_sys_log().
 *
 * @par Prototype
 * `void _mln_sys_log(mln_log_level_t level, const char *file, const char *func, int line, const char *msg, ...)`
 */
#define _mln_sys_log mln_sys_log

/**
 * Prints a message with the place of the call. Since the seed era.
 *
 * @par Prototype
 * `void mln_log(mln_log_level_t level, const char *msg, ...)`
 *
 * @param level importance of the message; below the configured one nothing is printed.
 * @param ...   the message, with the specifiers of mln_sys_log(), and the arguments for them.
 */
#define mln_log(level, ...) mln_sys_log((level), __FILE__, __func__, __LINE__, __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif
