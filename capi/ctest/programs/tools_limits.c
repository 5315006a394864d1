/*
 * Resource limits are what the configuration says, or what they were.
 */
#include "check.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "mln_log.h"
#include "mln_tools.h"
#include "scratch.h"

static char *err;

static void expect_limit(int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit limit;

    CHECK_INT(getrlimit((__rlimit_resource_t)resource, &limit), 0);
    CHECK_INT(limit.rlim_cur, soft);
    CHECK_INT(limit.rlim_max, hard);
}

/* Refused, with a message that has `part` in it, and nothing changed. */
static void expect_refusal(const char *conf, const char *part)
{
    struct rlimit core, files;

    CHECK_INT(getrlimit(RLIMIT_CORE, &core), 0);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &files), 0);
    CHECK_INT(scratch_conf(conf), 0);
    CHECK(truncate(err, 0) == 0);
    CHECK_INT(mln_sys_limit_modify(), -1);
    scratch_expect_part(err, part);
    expect_limit(RLIMIT_CORE, core.rlim_cur, core.rlim_max);
    expect_limit(RLIMIT_NOFILE, files.rlim_cur, files.rlim_max);
}

int main(void)
{
    struct rlimit core, files;

    scratch_make();
    err = strdup(scratch_path("stderr"));
    scratch_catch_stderr(err);
    /* The Go runtime in the library raises a soft limit of its own accord when it starts: let it do so now. */
    CHECK_INT(scratch_conf(""), 0);
    CHECK_INT(getrlimit(RLIMIT_CORE, &core), 0);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &files), 0);
    CHECK(files.rlim_max >= 300);

    /* Without a configuration, and without the keys, limits stay. */
    mln_conf_free();
    CHECK_INT(mln_sys_limit_modify(), 0);
    CHECK_INT(scratch_conf("worker_proc 1;\n"), 0);
    CHECK_INT(mln_sys_limit_modify(), 0);
    expect_limit(RLIMIT_CORE, core.rlim_cur, core.rlim_max);
    expect_limit(RLIMIT_NOFILE, files.rlim_cur, files.rlim_max);
    scratch_expect(err, "");

    expect_refusal("core_file_size;\n", "core_file_size");
    expect_refusal("max_nofile;\n", "max_nofile");
    expect_refusal("core_file_size on;\n", "core_file_size");
    expect_refusal("max_nofile \"many\";\n", "max_nofile");
    expect_refusal("max_nofile \"unlimited!\";\n", "max_nofile");
    expect_refusal("max_nofile \"\";\n", "max_nofile");
    expect_refusal("max_nofile -1;\n", "max_nofile");
    expect_refusal("max_nofile 256 512;\n", "max_nofile");

    CHECK_INT(scratch_conf("max_nofile 256;\n"), 0);
    CHECK_INT(mln_sys_limit_modify(), 0);
    expect_limit(RLIMIT_NOFILE, 256, 256);
    expect_limit(RLIMIT_CORE, core.rlim_cur, core.rlim_max);
    CHECK_INT(scratch_conf("core_file_size 0;\nmax_nofile 200;\n"), 0);
    CHECK_INT(mln_sys_limit_modify(), 0);
    expect_limit(RLIMIT_CORE, 0, 0);
    expect_limit(RLIMIT_NOFILE, 200, 200);

    /* Raising takes a privilege; a child gives it up if it has it. */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (geteuid() == 0)
            CHECK_INT(setresuid(65534, 65534, 65534), 0);
        mln_conf_t *cf = mln_conf();
        mln_conf_domain_t *domain = cf->search(cf, "main");
        mln_conf_cmd_t *command = domain->search(domain, "max_nofile");
        command->search(command, 1)->val.i = 250;
        CHECK_INT(mln_sys_limit_modify(), -1);
        expect_limit(RLIMIT_NOFILE, 200, 200);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
    scratch_expect_part(err, "only root may raise a hard limit");

    mln_conf_free();
    free(err);
    return 0;
}
