/*
 * A place that takes nothing, or not a whole line, holds nobody up: what it does not take is lost, and counted in it.
 * deadline: 60s
 */
#include "check.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>

#include "mln_log.h"
#include "scratch.h"

enum { LINES = 3000, PATIENCE_MS = 1000, BOUND_MS = 20000 };

static char filler[200];
static char text[1 << 20]; /* what came out of a place */

/* Until nothing more comes. */
static void drain(int fd)
{
    struct pollfd input = {.fd = fd, .events = POLLIN};
    size_t length = 0;
    ssize_t n;

    while (poll(&input, 1, 200) > 0 && (n = read(fd, text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)n;
    text[length] = '\0';
}

static int count(const char *part)
{
    int n = 0;

    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
        ++n;
    return n;
}

/* How many lines are said to be lost. */
static int told(void)
{
    int n;
    const char *at = strstr(text, " PID:");

    CHECK(at != NULL && strstr(at, "log: ") != NULL);
    CHECK_INT(sscanf(strstr(at, "log: "), "log: %d line", &n), 1);
    return n;
}

/* Writes lines to a place that is full at some time; it costs its patience once. */
static void fill(void)
{
    long long start = now_ms();

    for (int i = 0; i < LINES; i++)
        mln_log(none, "line %s end\n", filler);
    CHECK(now_ms() - start >= PATIENCE_MS);
    CHECK(now_ms() - start < BOUND_MS);
}

/* Fills the place, whose bytes come out at `out`, and takes them: then it is told how many are missing, and works as before. */
static void fill_and_take(int out)
{
    fill();
    drain(out);
    int arrived = count(" end\n") + count(" end\r\n");
    CHECK(arrived > 0 && arrived < LINES);
    mln_log(none, "after\n");
    drain(out);
    arrived += count(" end\n");
    CHECK(text[0] == '\n' || text[0] == '\r');
    CHECK_INT(arrived + told(), LINES);
    CHECK_INT(count("nothing was taken"), 1);
    CHECK_INT(count("after"), 1);
    mln_log(none, "more\n");
    drain(out);
    CHECK(strncmp(text, "more", 4) == 0);
}

static void start_log(const char *path, const char *daemon)
{
    char conf[4096];

    snprintf(conf, sizeof conf, "log_path \"%s\";\nlog_level \"none\";\ndaemon %s;\n", path, daemon);
    CHECK_INT(scratch_conf(conf), 0);
    CHECK_INT(mln_log_init(NULL), 0);
}

static void a_pipe_that_is_not_read(void)
{
    char *path = scratch_path("pipe");

    CHECK(mkfifo(path, 0600) == 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    CHECK(reader >= 0);
    start_log(path, "on");
    fill_and_take(reader);

    /* A child neither waits again nor tells of what its parent has lost. */
    int status;
    fill();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        long long start = now_ms();
        mln_log(none, "line %s end\n", filler);
        CHECK(now_ms() - start < PATIENCE_MS);
        drain(reader);
        mln_log(none, "child\n");
        drain(reader);
        CHECK_INT(told(), 1);
        CHECK_INT(count("1 line was lost"), 1);
        CHECK_INT(count("child"), 1);
        _exit(0);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);

    /* A reader that comes a little late is waited for. */
    mln_log(none, "after\n");
    drain(reader);
    CHECK_INT(fcntl(reader, F_SETFL, 0), 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int i = 0; i < LINES; i++)
            mln_log(none, "line %s end\n", filler);
        _exit(0);
    }
    mln_log_destroy();
    usleep(PATIENCE_MS * 1000 / 10);
    size_t length = 0;
    for (ssize_t n; (n = read(reader, text + length, sizeof text - 1 - length)) > 0;)
        length += (size_t)n;
    text[length] = '\0';
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    CHECK(count(" end\n") > LINES / 2); /* all, unless this process came very late */
    close(reader);
}

/* Standard error, not the log's own: its mode belongs to others, too. */
static void as_standard_error(int in, int out)
{
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 50), mode = fcntl(in, F_GETFL);

    CHECK(saved >= 0 && dup2(in, STDERR_FILENO) == STDERR_FILENO);
    CHECK((mode & O_NONBLOCK) == 0);
    fill_and_take(out);
    CHECK_INT(fcntl(STDERR_FILENO, F_GETFL), mode);
    CHECK(dup2(saved, STDERR_FILENO) == STDERR_FILENO);
    close(saved);
    close(in);
    close(out);
}

static void standard_error_that_is_not_read(void)
{
    int ends[2];

    CHECK(pipe(ends) == 0);
    as_standard_error(ends[1], ends[0]);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    as_standard_error(ends[1], ends[0]);
}

/* As after a change of the account. */
static void standard_error_that_cannot_be_opened_again(void)
{
    char *path = scratch_path("others");
    pid_t child = fork();
    int status;

    CHECK(child >= 0);
    if (child == 0) {
        CHECK(mkfifo(path, 0600) == 0);
        int out = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), in = open(path, O_WRONLY | O_CLOEXEC);
        CHECK(out >= 0 && in >= 0 && chmod(path, 0) == 0);
        CHECK(geteuid() != 0 || setuid(65534) == 0);
        CHECK_INT(open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC), -1);
        as_standard_error(in, out);
        _exit(0);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
}

static void open_terminal(int *screen, int *terminal)
{
    *screen = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(*screen >= 0 && grantpt(*screen) == 0 && unlockpt(*screen) == 0);
    *terminal = open(ptsname(*screen), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(*terminal >= 0);
}

static void *read_all(void *screen)
{
    char byte[4096];

    while (read(*(int *)screen, byte, sizeof byte) > 0)
        ;
    return NULL;
}

/* By one worker of a group, for instance: tcflow() is for everybody who has the terminal. */
static void a_terminal_that_is_stopped(void)
{
    int screen, terminal, saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 50);
    pthread_t reader;

    open_terminal(&screen, &terminal);
    as_standard_error(terminal, screen);
    open_terminal(&screen, &terminal);
    CHECK_INT(pthread_create(&reader, NULL, read_all, &screen), 0);
    CHECK(saved >= 0 && dup2(terminal, STDERR_FILENO) == STDERR_FILENO);
    CHECK_INT(tcflow(terminal, TCOOFF), 0);
    fill();
    CHECK_INT(tcflow(terminal, TCOON), 0);
    mln_log(error, "after\n");
    CHECK(dup2(saved, STDERR_FILENO) == STDERR_FILENO);
    close(terminal);
    CHECK_INT(pthread_join(reader, NULL), 0);
    close(screen);
    close(saved);
}

static void limit_files(rlim_t size)
{
    struct rlimit limit;

    CHECK_INT(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A file that takes no more, as on a full disk: what was cut short is not glued to what comes then. */
static void a_file_that_cannot_grow(void)
{
    enum { WHOLE = 4, ALL = 10 };
    char *path = scratch_path("limited.log");
    int size = snprintf(text, sizeof text, "line %s end\n", filler);

    start_log(path, "on");
    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    limit_files((rlim_t)(WHOLE * size + size / 2));
    for (int i = 0; i < ALL; i++)
        mln_log(none, "line %s end\n", filler);
    limit_files(RLIM_INFINITY);
    mln_log(none, "after\n");
    CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);

    char *file = scratch_read(path);
    snprintf(text, sizeof text, "%s", file);
    free(file);
    CHECK_INT(text[WHOLE * size + size / 2], '\n');
    CHECK_INT(count(" end\n"), WHOLE);
    CHECK_INT(told(), ALL - WHOLE);
    CHECK_INT(count("ulimit -f)\nafter\n"), 1);
    mln_log_destroy();
}

int main(void)
{
    memset(filler, 'f', sizeof filler - 1);
    scratch_make();
    scratch_catch_stderr(scratch_path("stderr"));
    a_pipe_that_is_not_read();
    standard_error_that_is_not_read();
    standard_error_that_cannot_be_opened_again();
    a_terminal_that_is_stopped();
    a_file_that_cannot_grow();
    mln_conf_free();
    return 0;
}
