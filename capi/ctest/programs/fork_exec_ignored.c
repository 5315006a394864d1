/*
 * What the library ignores for itself, a master and its workers, is not ignored by the programs that they start; what the program ignores
 * is, as it would be without the library.
 */
#include "check.h"
#include "mln_fork.h"
#include "processes.h"

enum { FINE = 77 };

/* ---- the program: its first argument after "program" is the signal that it expects to be ignored, or 0 ---- */

static int run_program(int expected)
{
    for (int signo = 1; signo < NSIG; ++signo) {
        struct sigaction now;

        if (sigaction(signo, NULL, &now) != 0 || (now.sa_handler == SIG_IGN) == (signo == expected))
            continue;
        fprintf(stderr, "signal %d is%s ignored\n", signo, signo == expected ? " not" : "");
        return 1;
    }
    return FINE;
}

/* ---- the master ---- */

static void expect(mln_event_t *ev, const char *signo)
{
    mln_s8ptr_t *args = calloc(4, sizeof *args);
    int status;

    CHECK(args != NULL);
    args[0] = (mln_s8ptr_t) "/proc/self/exe";
    args[1] = (mln_s8ptr_t) "program";
    args[2] = (mln_s8ptr_t)signo;
    CHECK_INT(mln_fork_spawn(M_PST_DFL, args, 3, ev), 0);
    CHECK(wait(&status) > 0); /* the program's own, before the loop comes to see the end */
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), FINE);
}

static mln_event_t *become_master(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    return ev;
}

static void by_default(void)
{
    expect(become_master(), "0");
    CHECK(signal(SIGPIPE, SIG_DFL) == SIG_IGN); /* as ever, in the master */
}

static void by_the_program(void)
{
    char number[16];

    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    snprintf(number, sizeof number, "%d", SIGPIPE);
    expect(become_master(), number);
}

static void by_default_without_master(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    expect(ev, "0");
}

/* A worker of a master, which is a master itself. */
static void below_a_worker(void)
{
    mln_event_t *ev = become_master();
    pid_t self = getpid();
    int status;

    CHECK(mln_fork_restart(ev) >= 0);
    if (getpid() != self) {
        expect(become_master(), "0");
        _exit(FINE);
    }
    CHECK(wait(&status) > 0);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), FINE);
}

static const struct part parts[] = {
    {"by default", by_default},
    {"by the program", by_the_program},
    {"by default, without a master", by_default_without_master},
    {"below a worker", below_a_worker},
};

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "program") == 0)
        return run_program(atoi(argv[2]));
    for (int signo = 1; argc == 1 && signo < NSIG; ++signo)
        if (signo != SIGSTKFLT) /* the library's own */
            (void)signal(signo, SIG_DFL); /* a shell ignores some for what it runs in the background, and that is passed on */
    return run_parts(argc, argv, parts, sizeof parts / sizeof *parts);
}
