/*
 * Where a line goes: the log file, standard error, or both; each by one system call, so that lines of several processes
 * that share a file never mix. What a place does not take is lost, and it is told so by the next line that it takes.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/*
 * How long a line may wait for a place that takes nothing: a pipe whose reader is stuck, a terminal that was stopped. Then it is
 * lost, and nothing waits any more until the place takes something. Whoever logs has more to do than that: a master its workers.
 */
#define PATIENCE_MS 1000

/* What is known of a place. */
struct place {
    bool regular;       /* it is a regular file: nobody waits for it */
    bool stuck;         /* it took nothing the last time that it was waited for */
    unsigned long lost; /* lines that it did not take, or not whole, since it was told of the last */
    int cause;          /* of the last of them, an errno */
};

static struct place file, standard_error;

void log_output_renew(void)
{
    file.regular = file.stuck = standard_error.regular = standard_error.stuck = false;
}

/* The parent tells of its own. */
void log_output_after_fork_child(void)
{
    file.lost = standard_error.lost = 0;
}

/* A program may put another file in the place of one. Only what was a regular file is not looked at again: that is to stay fast. */
static bool may_block(struct place *place, int fd)
{
    struct stat status;

    if (!place->regular)
        place->regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    return !place->regular;
}

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whether to try again what was not taken. `until` is 0 before the first time. */
static bool await_room(struct place *place, int fd, long long *until)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};

    if (place->stuck)
        return false;
    if (*until == 0)
        *until = now_ms() + PATIENCE_MS;
    long long left = *until - now_ms();
    place->stuck = left <= 0 || poll(&room, 1, (int)left) == 0;
    return !place->stuck;
}

/*
 * Writes what is taken at once. The descriptor itself is left in its mode, which is that of all processes that have it: so the kernel
 * is asked not to wait for this one write; where it cannot do that (terminals; named pipes; all pipes before Linux 6.4), the file is
 * opened once more for it. That may be forbidden, as to an account that was changed to, and sockets cannot be opened. What is left then
 * is to ask before, and to write no more than what a pipe with room is sure to take; another process may be faster, and a terminal with
 * less room may wait.
 */
static ssize_t write_at_once(int fd, const struct iovec *parts, int count)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    char path[32];

    ssize_t n = pwritev2(fd, parts, count, -1, RWF_NOWAIT);
    if (n >= 0 || errno == EAGAIN || errno == EINTR || errno == EPIPE)
        return n;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own >= 0) {
        n = writev(own, parts, count);
        int cause = errno;
        close(own);
        errno = cause;
        return n;
    }
    if (poll(&room, 1, 0) <= 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, parts->iov_base, parts->iov_len < PIPE_BUF ? parts->iov_len : PIPE_BUF);
}

/*
 * A terminal may have been given to other processes than this one, by a worker perhaps, with the wish that whoever else writes to it be
 * stopped (TOSTOP). A master is not to be stopped by its log.
 */
static ssize_t write_unstopped(int fd, const struct iovec *parts, int count)
{
    sigset_t stop, before;

    sigemptyset(&stop);
    sigaddset(&stop, SIGTTOU);
    (void)pthread_sigmask(SIG_BLOCK, &stop, &before);
    ssize_t n = write_at_once(fd, parts, count);
    int cause = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = cause;
    return n;
}

/* How many bytes were taken; -1 with errno if none were, and errno tells why not all. */
static ssize_t write_all(struct place *place, int fd, struct iovec *parts, int count)
{
    bool at_once = may_block(place, fd);
    long long until = 0;
    ssize_t total = 0;

    while (count > 0) {
        ssize_t n = at_once ? write_unstopped(fd, parts, count) : writev(fd, parts, count);
        if (n < 0) {
            if (errno == EINTR || (errno == EAGAIN && await_room(place, fd, &until)))
                continue;
            if (errno == EFBIG)
                log_forget_limit();
            return total > 0 ? total : -1;
        }
        place->stuck = false;
        total += n;
        while (count > 0 && (size_t)n >= parts->iov_len) {
            n -= (ssize_t)parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + n;
            parts->iov_len -= (size_t)n;
        }
    }
    return total;
}

static struct iovec part_of(const char *bytes, size_t n)
{
    return (struct iovec){.iov_base = (void *)bytes, .iov_len = n};
}

/* Writes parts of a line. Whether all were taken; the cause is noted if not. */
static bool write_line(struct place *place, int fd, struct iovec *parts, int count)
{
    ssize_t size = 0;

    for (int i = 0; i < count; i++)
        size += (ssize_t)parts[i].iov_len;
    if (write_all(place, fd, parts, count) == size)
        return true;
    place->cause = errno;
    return false;
}

static const char *why_lost(int cause)
{
    switch (cause) {
        case EAGAIN:
            return "nothing was taken, as by a terminal that is stopped, or a pipe whose reader does not read";
        case EFBIG:
            return "the file has reached the size that this process may write (see ulimit -f)";
        default:
            return strerror(cause);
    }
}

static void format_error(struct log_record *record, const char *func, int line, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    log_format(record, error, __FILE__, func, line, fmt, args);
    va_end(args);
}

/* Tells of the lines that were lost, on a new line: the last may have been cut short, another process's, too. */
static bool tell_lost(struct place *place, int fd)
{
    struct log_record record;
    unsigned long lost = place->lost;

    place->lost = 0; /* a signal handler that logs may lose more, or tell of them */
    format_error(&record, __func__, __LINE__, "log: %U line%s lost: %s\n", lost, lost == 1 ? " was" : "s were",
                 why_lost(place->cause));
    struct iovec parts[] = {part_of("\n", 1), part_of(record.text.data, record.text.length)};
    bool told = write_line(place, fd, parts, sizeof parts / sizeof *parts);
    log_text_release(&record.text);
    if (!told)
        place->lost += lost;
    return told;
}

static void put(struct place *place, int fd, struct iovec *parts, int count)
{
    if ((place->lost > 0 && !tell_lost(place, fd)) || !write_line(place, fd, parts, count))
        place->lost++;
}

static void put_plain(struct place *place, int fd, const void *bytes, size_t n)
{
    struct iovec part = part_of(bytes, n);
    put(place, fd, &part, n > 0);
}

/* Puts the line on standard error with the word of its level in colour. */
static void put_coloured(const struct log_record *record)
{
    static const char *const start[] = {
        [report] = "\x1b[34m", [debug] = "\x1b[32m", [warn] = "\x1b[33m", [error] = "\x1b[31m",
    };
    const char *text = record->text.data;
    size_t word_end = record->word_start + record->word_length;
    struct iovec parts[] = {
        part_of(text, record->word_start),
        part_of(start[record->level], 5),
        part_of(text + record->word_start, record->word_length),
        part_of("\x1b[0m", 4),
        part_of(text + word_end, record->text.length - word_end),
    };
    standard_error.regular = false;
    put(&standard_error, STDERR_FILENO, parts, sizeof parts / sizeof *parts);
}

/* Standard error is a place of its own next to the file, unless the process is a daemon. */
static bool also_stderr(const mln_log_t *log)
{
    return log->init && !log->in_daemon && log->fd != STDERR_FILENO;
}

void log_output_record(const mln_log_t *log, const struct log_record *record)
{
    if (log->init)
        put_plain(&file, log->fd, record->text.data, record->text.length);
    if (log->init && !also_stderr(log))
        return;

    /* Escape sequences in a pipe or a file are noise for whoever reads it. */
    if (record->word_length > 0 && isatty(STDERR_FILENO))
        put_coloured(record);
    else
        put_plain(&standard_error, STDERR_FILENO, record->text.data, record->text.length);
}

static ssize_t write_bytes(struct place *place, int fd, const void *bytes, size_t n)
{
    struct iovec part = part_of(bytes, n);
    return write_all(place, fd, &part, n > 0);
}

/* As they are, without a word in front of them, whatever was lost before. */
ssize_t log_output_bytes(const mln_log_t *log, const void *bytes, size_t n)
{
    ssize_t written = write_bytes(log->init ? &file : &standard_error, log->fd, bytes, n);
    if (also_stderr(log)) {
        int saved_errno = errno;
        write_bytes(&standard_error, STDERR_FILENO, bytes, n);
        errno = saved_errno;
    }
    return written;
}
