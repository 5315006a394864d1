/*
 * A reload is asked for while the group is being started, when its pid file can be found and nothing else is there, and again when
 * the group has ended and the program goes on: neither ends the program, and the first is done as soon as there is a loop.
 */
#include "scratch.h"
#include "mln_framework.h"

#include <signal.h>

enum { WORKERS = 2 };

static pid_t master;
static int reloads;

static void configure_value(int value)
{
    char text[100];

    snprintf(text, sizeof text, "framework \"multiprocess\"; worker_proc %d; value %d;\n", WORKERS, value);
    snprintf(scratch_conf_path, sizeof scratch_conf_path, "%s/melon.conf", scratch_dir);
    scratch_write(scratch_conf_path, text);
}

/* What the library calls when it is about to open the log, and to write the pid file beside it. */
static char *log_file(void)
{
    static int asked;

    if (asked++ == 0) {
        configure_value(2);
        CHECK_INT(raise(SIGUSR2), 0);
    }
    return scratch_path("log");
}

static int reloaded(void *ev)
{
    mln_conf_domain_t *cd = mln_conf()->search(mln_conf(), "main");
    mln_conf_cmd_t *cc = cd->search(cd, "value");

    CHECK_INT(cc->search(cc, 1)->val.i, 2);
    ++reloads;
    if (getpid() == master)
        mln_event_break_set(ev);
    return 0;
}

static void in_master(mln_event_t *ev)
{
    CHECK(mln_conf_hook_set(reloaded, ev) != NULL);
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, NULL, NULL, in_master, NULL};

    scratch_make();
    master = getpid();
    configure_value(1);
    mln_path_hook_set(m_p_conf, scratch_conf_file);
    mln_path_hook_set(m_p_log, log_file);
    CHECK_INT(mln_framework_init(&attr), 0);
    CHECK_INT(getpid(), master);
    CHECK_INT(reloads, 1);
    CHECK_INT(raise(SIGUSR2), 0);
    return 0;
}
