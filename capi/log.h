/*
 * log.h - what the C files of the library use of the log, and what its own files share.
 *
 *   log.c         the public functions and the life of the state
 *   log_format.c  specifiers and prefix: from a message to a line
 *   log_output.c  where a line goes
 *   log_file.c    paths, the log file, to whom files belong
 *   log_pid.c     the pid file
 *   log_limit.c   a file that has reached the limit for the size of files
 *   log_lock.c    the lock, and what happens to it at a fork
 */
#ifndef LOG_H
#define LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "mln_conf.h"
#include "mln_log.h"

/* ---- for all files ---- */

/*
 * Prints a printf-style message as one line. Control characters in the text come out as \xNN, and bytes that are no UTF-8,
 * so that what a peer or a file contains can never forge a line of its own, or lead a terminal. No newline at the end of
 * `fmt`. errno is left as it was.
 *
 *     void log_line(mln_log_level_t level, const char *fmt, ...);
 */
#define log_line(level, ...) log_line_at((level), __FILE__, __func__, __LINE__, __VA_ARGS__)

void log_line_at(mln_log_level_t level, const char *file, const char *func, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/*
 * Around a fork: no other thread is inside the log when the child is made, so that its copy is whole. The three are
 * registered with pthread_atfork when the library is loaded; code that makes processes by other means calls them itself.
 * Pairs may nest.
 */
void log_before_fork(void);
void log_after_fork_parent(void);
void log_after_fork_child(void);

/*
 * Opens the log like mln_log_init(), but leaves the pid file alone when `write_pid_file` is false, because another
 * process is going to survive. `in_daemon` true: lines go to the file only, whatever key `daemon` says.
 */
int log_start(mln_conf_t *cf, bool in_daemon, bool write_pid_file);

/* Whether another process is this program once more, which must not be. */
typedef bool pid_twin(pid_t pid);

/*
 * Makes this process the one that the pid file names, for as long as it lives. 0 (also while no file is open), or -1 after a message. Where
 * another process holds the file it is left alone, which is told unless that one is the parent; -1 if it is a twin, also after some
 * seconds. twin: NULL where there may be any.
 */
int log_pid_file_write(pid_twin *twin);

/*
 * For a process that a child is going to succeed, before it opens the log by this configuration: gives up the pid file, which the child
 * is to take, and sees whether a twin holds it, while there is somebody to see the message. 0 or -1.
 */
int log_pid_file_leave(mln_conf_t *cf, pid_twin *twin);

/*
 * Hands the log file and (when it belongs to this program alone) its folder to another account, so that it can reopen the file later.
 * What cannot be handed over is reported and left.
 */
void log_give_to(uid_t uid, gid_t gid);

/* The files of a log; each string from malloc. */
struct log_paths {
    char *dir;
    char *file;
    char *pid;
};

/* Prints bytes that others have chosen: what is a control character, or no UTF-8, comes out as \xNN. */
void log_print_escaped(FILE *stream, const char *bytes, size_t n);

/* Works out the files of a log by a configuration, NULL allowed, without touching them. 0, or -1 after a message. */
int log_paths_from_conf(mln_conf_t *cf, struct log_paths *paths);
void log_paths_free(struct log_paths *paths);

/* What the kernel says of the lock of a pid file, which is open. */
enum pid_lock {
    PID_LOCK_FREE, /* or this process has it */
    PID_LOCK_HELD, /* by *holder, or by one that cannot be named from here: 0 */
    PID_LOCK_UNKNOWN,
};

enum pid_lock log_pid_lock(int fd, pid_t *holder);

/* How a message calls the process that holds a pid file. */
enum { PID_HOLDER_MAX = 64 };
void log_pid_file_name_holder(char text[PID_HOLDER_MAX], pid_t holder);

/* ---- among the files of the log ---- */

/* A text that grows: on the stack as long as it is short, then from malloc. */
struct log_text {
    char *data;
    size_t length;
    size_t capacity;
    char fixed[1024];
};

void log_text_init(struct log_text *text);
void log_text_release(struct log_text *text);
void log_text_append(struct log_text *text, const void *bytes, size_t n);

/* Appends bytes that others have chosen, as log_print_escaped() prints them. */
void log_text_append_escaped(struct log_text *text, const char *bytes, size_t n);

/* A line, ready to be written. The word of its level, "ERROR" for instance, lies at word_start, word_length bytes. */
struct log_record {
    struct log_text text;
    mln_log_level_t level;
    size_t word_start;
    size_t word_length;
};

/* Fills `record` with prefix and message; log_text_release(&record->text) afterwards. */
void log_format(struct log_record *record, mln_log_level_t level, const char *file, const char *func, int line,
                const char *fmt, va_list args);

/* Writes a line to the places where lines go. */
void log_output_record(const mln_log_t *log, const struct log_record *record);

/* Likewise bytes. How many reached the first of the places, or -1 with errno set. */
ssize_t log_output_bytes(const mln_log_t *log, const void *bytes, size_t n);

/* The places may be other ones now: forgets what kind of files they are. */
void log_output_renew(void);

/* In the child of a fork: what was lost before is the parent's to tell. */
void log_output_after_fork_child(void);

/* Before the log is opened: a write beyond the limit for the size of files fails with EFBIG, and does not end this process. */
void log_outlive_limit(void);

/* After such a write by a thread that blocks SIGXFSZ: it is not to find the signal pending. */
void log_forget_limit(void);

/* Opens the log file for append, after creating its folder if need be. Its descriptor, or -1 after a message. */
int log_file_open(const struct log_paths *paths);

/* Why a file of the log cannot be had. */
const char *log_why(int cause);

/*
 * Writes the id of this process into the file `path`, and holds that, and not the one that it held, which is removed if `instead_of`
 * names it. 0; 1 if another process holds `path`: *holder, or 0 if it cannot be named from here; -1 after a message.
 */
int log_pid_file_take(const char *path, const char *instead_of, pid_t *holder);

/* Whether another process holds the file `path`; if it is a twin, also after some seconds. */
bool log_pid_file_is_taken(const char *path, pid_twin *twin, pid_t *holder);

/* Say that it is held by another process, and what comes of that. The second: -1. */
void log_pid_file_yield(const char *path, pid_t holder);
int log_pid_file_refuse(const char *path, pid_t holder);

/* Says once, after the file `path` was taken, if it could not be locked. */
void log_pid_file_tell(const char *path);

/* Whether this process holds a pid file, and the one that is under that name now. */
bool log_pid_file_is_ours(void);
bool log_pid_file_is_at(const char *path);

/* Gives up the file, and leaves it where it is. In a child: the parent's. */
void log_pid_file_drop(void);

/*
 * The lock of the log. The thread that holds it may take it again: its signal handlers and a custom logger do.
 */
void log_lock(void);
void log_unlock(void);
bool log_is_locked_here(void); /* by this thread */

/* A custom logger is running, by the thread that holds the lock. Atomic. */
extern bool log_in_logger;

#endif
