/*
 * Where a line goes: the log file, standard error, or both; each by one system call, so that lines of several processes
 * that share a file never mix.
 */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * How long a descriptor in non-blocking mode may stay full before the rest of a line is given up. Standard error is in
 * that mode when the program put standard output into it and both are one terminal.
 */
#define FULL_TIMEOUT_MS 1000

static ssize_t write_all(int fd, struct iovec *parts, int count)
{
    ssize_t total = 0;

    while (count > 0) {
        ssize_t n = writev(fd, parts, count);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN) {
                struct pollfd full = {.fd = fd, .events = POLLOUT};
                if (poll(&full, 1, FULL_TIMEOUT_MS) > 0 && (full.revents & POLLOUT))
                    continue;
                errno = EAGAIN;
            }
            return total > 0 ? total : -1;
        }
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

static ssize_t write_plain(int fd, const void *bytes, size_t n)
{
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = n};
    return write_all(fd, &part, n > 0);
}

static struct iovec part_of(const char *bytes, size_t n)
{
    return (struct iovec){.iov_base = (void *)bytes, .iov_len = n};
}

/* Writes the line with the word of its level in colour. */
static void write_coloured(int fd, const struct log_record *record)
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
    write_all(fd, parts, sizeof parts / sizeof *parts);
}

/* Standard error is a place of its own next to the file, unless the process is a daemon. */
static bool also_stderr(const mln_log_t *log)
{
    return log->init && !log->in_daemon && log->fd != STDERR_FILENO;
}

ssize_t log_output_record(const mln_log_t *log, const struct log_record *record)
{
    ssize_t written = 0;
    bool to_stderr = also_stderr(log);

    if (log->init)
        written = write_plain(log->fd, record->text.data, record->text.length);
    else
        to_stderr = true;
    if (!to_stderr)
        return written;

    /* Escape sequences in a pipe or a file are noise for whoever reads it. */
    if (record->word_length > 0 && isatty(STDERR_FILENO))
        write_coloured(STDERR_FILENO, record);
    else
        write_plain(STDERR_FILENO, record->text.data, record->text.length);
    return written;
}

ssize_t log_output_bytes(const mln_log_t *log, const void *bytes, size_t n)
{
    ssize_t written = write_plain(log->fd, bytes, n);
    if (also_stderr(log)) {
        int saved_errno = errno;
        write_plain(STDERR_FILENO, bytes, n);
        errno = saved_errno;
    }
    return written;
}
