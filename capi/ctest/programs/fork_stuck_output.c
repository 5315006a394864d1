/*
 * Output that nobody takes holds up no fork, and comes out once: the master's alone, when it is taken.
 */
#include "check.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <fcntl.h>
#include <stdio_ext.h>

static int reader; /* of the pipe that is standard output */

/* With the usual buffer, or a large one. */
static void make_pipe_output(int is_large)
{
    static char large[1 << 16];
    int ends[2];

    CHECK_INT(pipe(ends), 0);
    reader = ends[0];
    CHECK_INT(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
    CHECK_INT(close(ends[1]), 0);
    if (is_large)
        CHECK_INT(setvbuf(stdout, large, _IOFBF, sizeof large), 0);
    mln_log_logger_set(NULL);
    CHECK_INT(mln_fork_prepare(), 0);
}

/* Puts so many bytes at most into it. */
static int fill(int most)
{
    int flags = fcntl(STDOUT_FILENO, F_GETFL), n = 0;

    CHECK_INT(fcntl(STDOUT_FILENO, F_SETFL, flags | O_NONBLOCK), 0);
    while (n < most && write(STDOUT_FILENO, "w", 1) == 1)
        ++n;
    CHECK_INT(fcntl(STDOUT_FILENO, F_SETFL, flags), 0);
    return n;
}

static void print(int n)
{
    while (n-- > 0)
        putchar('m');
}

/* Forks a worker that prints this, and leaves as a C program does, which flushes. */
static void fork_worker(const char *text)
{
    int result = mln_fork_restart(NULL);

    CHECK(result >= 0);
    if (result == 0) {
        fputs(text, stdout);
        exit(0);
    }
    CHECK(waitpid(-1, NULL, 0) > 0);
}

/* What comes out next is so many bytes like this. */
static void expect(int n, char byte)
{
    char got;

    while (n-- > 0) {
        CHECK_INT(read(reader, &got, 1), 1);
        CHECK_INT(got, byte);
    }
}

static void expect_end(void)
{
    char rest;

    CHECK_INT(fclose(stdout), 0);
    CHECK_INT(read(reader, &rest, 1), 0);
}

static void full(void)
{
    int n;

    make_pipe_output(0);
    n = fill(1 << 20);
    print(10);
    fork_worker("");
    expect(n, 'w');
    fork_worker("c");
    expect(10, 'm');
    expect(1, 'c');
    expect_end();
}

/* A pipe with room for something, and not for all of a large buffer. */
static void short_of_room(void)
{
    make_pipe_output(1);
    CHECK_INT(fill(60000), 60000);
    print(20000);
    fork_worker("");
    expect(60000, 'w');
    fork_worker("c");
    expect(20000, 'm');
    expect(1, 'c');
    expect_end();
}

/* Nobody will ever take it: that ends the master when it writes, and not when it forks. */
static void broken(void)
{
    make_pipe_output(0);
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    print(10);
    CHECK_INT(close(reader), 0);
    fork_worker("");
    __fpurge(stdout);
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {{"full", full}, {"short of room", short_of_room}, {"broken", broken}};

    return run_parts(argc, argv, parts, sizeof parts / sizeof *parts);
}
