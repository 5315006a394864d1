/*
 * A program whose configuration cannot be obeyed does not start: it ends with status 1 after a message that names the key and
 * what it may be, not by a signal.
 * deadline: 60s
 */
#include "scratch.h"

#include <sys/wait.h>

#include "mln_core.h"
#include "mln_framework.h"

enum { TODAY = 1, SEED = 2, BOTH = 3 };

static const struct refusal {
    int eras;
    const char *configuration;
    const char *message; /* part of it */
} refusals[] = {
    {TODAY, "framework on;", "framework must be \"multiprocess\" or off"},
    {BOTH, "framework \"something\";", "framework must be"},
    {BOTH, "framework \"multithread\";", "no thread mode"},
    {SEED, "framework 5;", "framework must be"},
    {BOTH, "framework;", "framework must be"},
    {BOTH, "framework \"multiprocess\" \"twice\";", "framework must be"},
    {BOTH, "framework \"multiprocess\"; thread_mode on;", "thread_mode must be off"},
    {BOTH, "framework \"multiprocess\"; worker_proc -1;", "worker_proc must be an integer"},
    {BOTH, "framework \"multiprocess\"; worker_proc \"4\";", "worker_proc must be an integer"},
    {BOTH, "framework \"multiprocess\"; worker_proc 1 2;", "worker_proc must be an integer"},
    {BOTH, "framework \"multiprocess\"; worker_proc;", "worker_proc must be an integer"},
    {BOTH, "framework \"multiprocess\"; proc_exec { always \"/bin/true\"; }", "proc_exec must be made of"},
    {BOTH, "framework \"multiprocess\"; proc_exec { default; }", "proc_exec must be made of"},
    {BOTH, "framework \"multiprocess\"; exec_proc { keepalive \"/bin/true\" 5; }", "exec_proc must be made of"},
};

static void start(int era)
{
    if (era == SEED) {
        struct mln_core_attr attr = {0, NULL, NULL, NULL};
        mln_core_init(&attr);
    } else {
        struct mln_framework_attr attr = {0, NULL, NULL, NULL, NULL, NULL};
        mln_framework_init(&attr);
    }
}

static void expect_refusal(const struct refusal *refusal, int era)
{
    char path[600], text[800];
    int status;
    pid_t pid;

    snprintf(path, sizeof path, "%s", scratch_path("errors"));
    snprintf(text, sizeof text, "log_path \"%s/test.log\";\n%s\n", scratch_dir, refusal->configuration);
    CHECK((pid = fork()) >= 0);
    if (pid == 0) {
        scratch_catch_stderr(path);
        CHECK_INT(scratch_conf(text), 0);
        start(era);
        CHECK(!"the program started");
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
        fprintf(stderr, "with \"%s\" it ended with wait status %#x\n", refusal->configuration, (unsigned)status);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    scratch_expect_part(path, refusal->message);
}

int main(void)
{
    scratch_make();
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        for (int era = TODAY; era <= SEED; era++)
            if (refusals[i].eras & era)
                expect_refusal(&refusals[i], era);
    return 0;
}
