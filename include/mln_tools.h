/*
 * mln_tools.h - what a server does at its start (command line, limits, daemon, account), and UTC time arithmetic.
 */
#ifndef __MLN_TOOLS_H
#define __MLN_TOOLS_H

#include <sys/types.h>
#include <time.h>
#include "mln_types.h"
#include "mln_string.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Action of a word on the command line: gets the word and its short form, returns the exit status. Since the seed era.
 */
typedef int (*boot_param)(const char *boot_str, const char *alias);

/** A word on the command line that the library acts on. Since the seed era. */
typedef struct mln_boot_s {
    char *boot_str;     /**< The word, `--stop` for instance. */
    char *alias;        /**< Its short form, `-s` for instance. */
    boot_param handler; /**< What it does. */
    mln_size_t cnt;     /**< How many times it acts at most. */
} mln_boot_t;

/**
 * Acts on the words of a command line that the library knows; ignores all others. Since the seed era.
 *
 *   --help, -h      prints the usage and exits with status 0
 *   --version, -v   prints the version and exits with status 0
 *   --reload, -r    sends SIGUSR2 to the running program, which reloads its configuration
 *   --stop, -s      sends SIGTERM to the running program
 *
 * The running program is the one named by the pid file, `melon.pid` in the folder of the log, which the configuration
 * (loaded if need be) tells. The signal is sent only if that process holds the file, see mln_log_open(), and runs the same
 * program as the caller; the exit status is 0 then. Otherwise a message on standard error tells why, and the exit status is
 * 1. Where files cannot be locked the program has to do. From another pid namespace than the program's the words are
 * refused. To be called from the main thread, before anything is set up.
 *
 * @param argc  number of words
 * @param argv  the words; argv[0], the name of the program, is skipped
 * @return 0 when none of the words is known; otherwise the function does not return.
 */
int mln_boot_params(int argc, char *argv[]);

/**
 * Sets resource limits by the configuration, soft and hard limit alike: RLIMIT_CORE from key `core_file_size` (bytes)
 * and RLIMIT_NOFILE from key `max_nofile`. The argument is an integer or "unlimited", which for descriptors means the
 * most that the kernel grants. A limit whose key is absent stays what it is, and so do both without a configuration.
 * They hold for the process with all its threads, and for the processes it starts. Since the seed era.
 *
 * @return 0, or -1 after a message: an argument of another kind, or no privilege to raise a hard limit.
 */
int mln_sys_limit_modify(void);

/**
 * Opens the log, makes the process a daemon if the configuration says `daemon on`, and changes to the account of key
 * `user`. To be called from the main thread while it is the only one of the program. Since the seed era.
 *
 * Daemon: the caller continues in a child process, in a session of its own, with descriptors 0 to 2 on the null device;
 * the original process ends with status 0 without running atexit handlers. Working directory and umask stay.
 * The pid file names the process that continues. If another process holds it, see mln_log_open(), that keeps it; but the start
 * as a daemon fails if that other one runs the same program, also after three seconds, unless it is the parent.
 *
 * Account: the log file is handed over, and its folder if it is `logs` in the installation or was created by this process.
 * Any other folder keeps its owner, of which a warning tells: the account can open the log anew there after a rotation only
 * if it may create files there. The pid file is not handed over. Supplementary groups, group and user are set in this order
 * and read back, and privileges are gone for good. Without the key the real user and group are
 * made the effective ones, before the log is opened, so that a set-user-ID program neither keeps nor uses its privileges.
 *
 * @return 0, or -1 after a message: running already, log not to be opened, unknown account, no privilege to change to it, no
 * process to be had. The caller should exit then: it may be any number of steps on the way.
 */
int mln_daemon(void);

/** Form of mln_s2time(): UTCTime of RFC 5280, YYMMDDHHMMSSZ; years 50 to 99 are in the 20th century. */
#define M_TOOLS_TIME_UTC 0
/** Form of mln_s2time(): GeneralizedTime of RFC 5280, YYYYMMDDHHMMSSZ. */
#define M_TOOLS_TIME_GENERALIZEDTIME 1

/** A moment of the Gregorian calendar, UTC. Since the seed era. */
struct utctime {
    long year;
    long month; /**< 1 to 12 */
    long day;   /**< 1 to 31 */
    long hour;
    long minute;
    long second;
    long week; /**< Day of the week, 0 is Sunday. */
};

/*
 * The functions on time depend on their arguments alone and may be called from any thread of any process, from a signal
 * handler too. Since the seed era.
 */

/**
 * Converts seconds since 1970-01-01 00:00:00 UTC, which may be negative, into a date.
 *
 * @param tm  the seconds
 * @param uc  gets the date, day of the week included
 */
void mln_time2utc(time_t tm, struct utctime *uc);

/**
 * Converts a date into seconds since 1970-01-01 00:00:00 UTC. The day of the week is ignored. Fields out of their range
 * count on: month 13 is January of the next year, second -1 the last one of the minute before.
 *
 * @return the seconds; for a date that time_t cannot express, the nearest value that it can.
 */
time_t mln_utc2time(struct utctime *uc);

/** Brings all fields of a date into their ranges, by the rule of mln_utc2time(), and sets the day of the week. */
void mln_utc_adjust(struct utctime *uc);

/**
 * Returns the number of days of a month, or -1 when there is no such month.
 *
 * @param year   the year, leap years of the Gregorian calendar are observed
 * @param month  1 to 12
 */
long mln_month_days(long year, long month);

/**
 * Reads a time as certificates spell it.
 *
 * @param tm    gets the seconds since 1970-01-01 00:00:00 UTC; untouched on failure
 * @param s     the text, in exactly the form of `type`
 * @param type  M_TOOLS_TIME_UTC or M_TOOLS_TIME_GENERALIZEDTIME
 * @return 0, or -1 when the text has another form or names a moment that does not exist.
 */
int mln_s2time(time_t *tm, mln_string_t *s, int type);

#ifdef __cplusplus
}
#endif

#endif
