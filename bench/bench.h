/*
 * bench.h - what every benchmark program shares: options, the clock, samples, the contents of messages and the report.
 *
 * A program takes options as name=value and prints one line of JSON, a flat object of numbers. It ends by itself, its
 * children with it, and has a deadline. What it measures it checks as well: a wrong answer is a failure, however fast.
 */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BENCH_UNUSED __attribute__((unused))

/* The directions of a stream. */
enum { DOWN = 1 /* master to worker */, UP = 2, BOTH = 3 };

__attribute__((noreturn, format(printf, 1, 2))) BENCH_UNUSED static void fail(const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* For results of system calls. */
#define MUST(call) \
    do { \
        if ((call) < 0) \
            fail("%s:%d: %s: %s", __FILE__, __LINE__, #call, strerror(errno)); \
    } while (0)

/* For what must hold. */
#define EXPECT(condition) \
    do { \
        if (!(condition)) \
            fail("%s:%d: %s does not hold", __FILE__, __LINE__, #condition); \
    } while (0)

BENCH_UNUSED static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/*
 * Between two starts of a process: what was started before goes on coming up after its first message, and is not to be
 * measured with the next one. The figure is the latency of one start. What is not measured may follow sooner.
 */
enum { SETTLE_MS = 100, SETTLE_UNMEASURED_MS = 20 };

BENCH_UNUSED static void settle(int milliseconds)
{
    const struct timespec pause = {0, milliseconds * 1000000L};

    nanosleep(&pause, NULL);
}

/* Timers are spread over so much time, by a sequence that is the same for all. */
enum { SPREAD_MS = 200 };

BENCH_UNUSED static uint32_t random_delay(uint32_t *state)
{
    *state = *state * 1103515245 + 12345;
    return (*state >> 16) % SPREAD_MS;
}

/* ---- options ---- */

BENCH_UNUSED static const char *option_text(int argc, char **argv, const char *name, const char *otherwise)
{
    size_t length = strlen(name);

    for (int i = 1; i < argc; ++i)
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=')
            return argv[i] + length + 1;
    return otherwise;
}

BENCH_UNUSED static long option(int argc, char **argv, const char *name, long otherwise)
{
    const char *text = option_text(argc, argv, name, NULL);

    return text != NULL ? strtol(text, NULL, 10) : otherwise;
}

BENCH_UNUSED static int option_is(int argc, char **argv, const char *name, const char *value)
{
    return strcmp(option_text(argc, argv, name, ""), value) == 0;
}

/* The first thing in main. */
BENCH_UNUSED static void begin(int argc, char **argv)
{
    alarm((unsigned)option(argc, argv, "deadline", 60));
}

/* The first thing in a child: whatever happens to its parent, it does not stay behind. */
BENCH_UNUSED static void end_with_parent(void)
{
    MUST(prctl(PR_SET_PDEATHSIG, SIGKILL));
}

/* As many descriptors as this process may have. */
BENCH_UNUSED static void many_descriptors(long needed)
{
    struct rlimit limit;

    MUST(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    if ((long)limit.rlim_cur < needed)
        fail("%ld descriptors are needed, the hard limit is %ld", needed, (long)limit.rlim_cur);
}

/*
 * A socket pair whose ends hold a message of a megabyte, for all who can choose: the default, 208 KiB, has the sender wait for the
 * receiver several times a message, and the library enlarges its own.
 */
BENCH_UNUSED static void open_pair(int pair[2], int flags)
{
    static const int room = 1 << 20;

    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, pair));
    for (int i = 0; i < 2; ++i)
        MUST(setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room));
}

/* ---- samples ---- */

struct samples {
    uint64_t *at;
    size_t count, room;
};

BENCH_UNUSED static void samples_add(struct samples *s, uint64_t nanoseconds)
{
    if (s->count == s->room) {
        s->room = s->room == 0 ? 1024 : 2 * s->room;
        if ((s->at = realloc(s->at, s->room * sizeof *s->at)) == NULL)
            fail("out of memory");
    }
    s->at[s->count++] = nanoseconds;
}

static int compare_samples(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static double samples_at(const struct samples *s, double quantile)
{
    return (double)s->at[(size_t)(quantile * (double)(s->count - 1) + 0.5)];
}

/* ---- the report ---- */

static char report_line[512] = "{";

BENCH_UNUSED static void report(const char *name, double value)
{
    size_t length = strlen(report_line);

    snprintf(report_line + length, sizeof report_line - length, "%s\"%s\": %.9g", length > 1 ? ", " : "", name, value);
}

/* "p50" and "p99" in nanoseconds. */
BENCH_UNUSED static void report_samples(struct samples *s)
{
    EXPECT(s->count > 0);
    qsort(s->at, s->count, sizeof *s->at, compare_samples);
    report("p50", samples_at(s, 0.5));
    report("p99", samples_at(s, 0.99));
    report("samples", (double)s->count);
}

/* Of a stream: "rate", in messages a second, and "seconds" that it took. */
BENCH_UNUSED static void report_stream(uint64_t messages, uint64_t nanoseconds)
{
    report("rate", (double)messages * 1e9 / (double)nanoseconds);
    report("seconds", (double)nanoseconds / 1e9);
}

BENCH_UNUSED static void report_end(void)
{
    printf("%s}\n", report_line);
    fflush(stdout);
}

/* ---- contents ---- */

/* A message of 64 bytes or more carries its number at both ends, and when it was sent. */
enum { LEAST_MESSAGE = 24 };

static inline void stamp(char *message, size_t size, uint64_t number)
{
    memcpy(message, &number, sizeof number);
    memcpy(message + size - sizeof number, &number, sizeof number);
}

static inline void stamp_time(char *message, uint64_t time)
{
    memcpy(message + sizeof(uint64_t), &time, sizeof time);
}

static inline uint64_t stamped_time(const char *message)
{
    uint64_t time;

    memcpy(&time, message + sizeof time, sizeof time);
    return time;
}

static inline void check(const char *message, size_t size, size_t expected_size, uint64_t number)
{
    uint64_t first, last;

    if (size != expected_size)
        fail("message %llu has %zu bytes instead of %zu", (unsigned long long)number, size, expected_size);
    memcpy(&first, message, sizeof first);
    memcpy(&last, message + size - sizeof last, sizeof last);
    if (first != number || last != number)
        fail("message %llu came where %llu was due", (unsigned long long)first, (unsigned long long)number);
}

#endif
