/*
 * A master that reads a file goes on where it was, whatever becomes of the workers that it forks half-way; and a worker reads on from
 * there, too.
 */
#include "check.h"
#include "mln_fork.h"
#include "processes.h"
#include "scratch.h"

enum { LINES = 3000, FORKED_AT = 1000, SOME = 10 };

static FILE *input;
static int next = 1, leave[2];

static void read_lines(int until)
{
    char line[64];

    for (; next <= until; ++next) {
        CHECK_PTR(fgets(line, sizeof line, input), line);
        CHECK_INT(atoi(line), next);
    }
}

static void wait_for_word(void)
{
    char word;

    CHECK_INT(read(leave[0], &word, 1), 1);
}

static void read_some(void)
{
    read_lines(next + SOME - 1);
}

/* It leaves as a C program does, which puts back the position in a file to where its own buffer was read to. */
static void fork_worker(void (*work)(void))
{
    int result = mln_fork_restart(NULL);

    CHECK(result >= 0);
    if (result == 0) {
        work();
        exit(0);
    }
}

int main(void)
{
    FILE *file;

    scratch_make();
    CHECK((file = fopen(scratch_path("lines"), "w")) != NULL);
    for (int i = 1; i <= LINES; ++i)
        fprintf(file, "%d\n", i);
    CHECK_INT(fclose(file), 0);
    CHECK((input = fopen(scratch_path("lines"), "r")) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);

    CHECK_INT(pipe(leave), 0);

    read_lines(FORKED_AT);
    fork_worker(wait_for_word);
    read_lines(FORKED_AT + 500);
    CHECK_INT(write(leave[1], "x", 1), 1);
    CHECK(waitpid(-1, NULL, 0) > 0);
    read_lines(FORKED_AT + 1000);
    fork_worker(read_some);
    CHECK(waitpid(-1, NULL, 0) > 0);
    next += SOME;
    read_lines(LINES);
    CHECK_PTR(fgets((char[64]){0}, 64, input), NULL);
    fclose(input);
    return 0;
}
