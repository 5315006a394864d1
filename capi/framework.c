/*
 * framework.c - the flow from main() to the loops of master and workers.
 */
#include "channel.h"
#include "conf.h"
#include "engine.h"
#include "handlers.h"
#include "log.h"
#include "loop.h"
#include "setting.h"
#include "tools.h"
#include "worker.h"

#include "mln_core.h"
#include "mln_framework.h"
#include "mln_tools.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the two eras have in common. */
struct framework {
    int argc;
    char **argv;
    int (*global_init)(void);
    void (*master_process)(mln_event_t *);
    void (*worker_process)(mln_event_t *);
    int seed; /* the seed era's rules */
};

/* ---- what the configuration asks for ---- */

/* A value that cannot be obeyed: the process must not start, and scripts look for this status. */
__attribute__((noreturn)) static void refuse(const char *key, const char *expected)
{
    log_line(error, "configuration: %s must be %s", key, expected);
    exit(1);
}

static mln_conf_cmd_t *command(const char *domain, const char *name)
{
    mln_conf_t *cf = mln_conf();
    mln_conf_domain_t *cd = cf == NULL ? NULL : cf->search(cf, domain);

    return cd == NULL ? NULL : cd->search(cd, name);
}

/* Whether the framework is to run. */
static int switched_on(int seed)
{
    static const char *const expected = "on, off, \"multiprocess\"";
    mln_conf_cmd_t *cc = command("main", "framework");
    mln_conf_item_t *item;

    if (cc == NULL)
        return 0;
    item = mln_conf_arg_num(cc) == 1 ? cc->search(cc, 1) : NULL;
    if (item != NULL && item->type == CONF_BOOL && (seed || !item->val.b))
        return item->val.b;
    if (item != NULL && item->type == CONF_STR) {
        if (strcmp((char *)item->val.s->data, "multiprocess") == 0)
            return 1;
        if (strcmp((char *)item->val.s->data, "multithread") == 0)
            refuse("framework", "\"multiprocess\" or off: this library has no thread mode");
    }
    if (item != NULL && item->type != CONF_BOOL && item->type != CONF_STR && !seed)
        return 0;
    refuse("framework", seed ? expected : "\"multiprocess\" or off");
}

/* The seed era's other way to ask for threads. */
static void refuse_threads(void)
{
    bool threads = false;

    if (setting_switch(mln_conf(), "thread_mode", &threads) == 0 && threads)
        refuse("thread_mode", "off: this library has no thread mode");
}

/* An integer setting from `least` on; `otherwise` when the key is absent. */
static mln_sauto_t number(const char *key, mln_sauto_t least, mln_sauto_t most, mln_sauto_t otherwise, const char *expected)
{
    mln_conf_cmd_t *cc = command("main", key);
    mln_conf_item_t *item;

    if (cc == NULL)
        return otherwise;
    item = mln_conf_arg_num(cc) == 1 ? cc->search(cc, 1) : NULL;
    if (item == NULL || item->type != CONF_INT || item->val.i < least || item->val.i > most)
        refuse(key, expected);
    return item->val.i;
}

static void start_programs(const char *domain)
{
    mln_conf_t *cf = mln_conf();
    mln_u32_t n = cf == NULL ? 0 : mln_conf_cmd_num(cf, domain);
    mln_conf_cmd_t **commands;

    if (n == 0)
        return;
    if ((commands = calloc(n, sizeof *commands)) == NULL) {
        log_line(error, "cannot start the programs of %s: out of memory", domain);
        return;
    }
    mln_conf_cmds(cf, domain, commands);
    for (mln_u32_t i = 0; i < n; ++i) {
        mln_conf_cmd_t *cc = commands[i];
        const char *name = (const char *)cc->cmd_name->data;
        enum proc_state_type stype = strcmp(name, "keepalive") == 0 ? M_PST_SUP : M_PST_DFL;
        mln_u32_t n_args = mln_conf_arg_num(cc);
        mln_s8ptr_t *args;

        if (stype == M_PST_DFL && strcmp(name, "default") != 0)
            refuse(domain, "made of `keepalive` and `default` commands");
        /* Copies: the configuration may be reloaded, and the program started again afterwards. */
        if (n_args == 0 || (args = calloc((size_t)n_args + 2, sizeof *args)) == NULL)
            refuse(domain, "made of commands with the path of a program and its arguments");
        for (mln_u32_t k = 0; k < n_args; ++k) {
            mln_conf_item_t *item = cc->search(cc, k + 1);

            if (item->type != CONF_STR)
                refuse(domain, "made of commands whose arguments are strings");
            if ((args[k] = strdup((char *)item->val.s->data)) == NULL) {
                log_line(error, "cannot start %s: out of memory", args[0] != NULL ? args[0] : domain);
                exit(1);
            }
        }
        (void)worker_start_program(stype, args, n_args);
    }
    free(commands);
}

/* ---- the public pieces ---- */

/* What the engine is to know of the configuration. What is absent stays as it is. */
static void read_settings(void)
{
    static const char time[] = "a number of milliseconds from 1 to 2147483647";
    static const char time_or_none[] = "a number of milliseconds up to 2147483647; 0: no limit";
    struct engine_settings s = *engine_settings();

    s.max_payload = (uint32_t)number("ipc_message_max", 1, UINT32_MAX - 4, ENGINE_DEFAULT_MAX_PAYLOAD,
                                     "a number of bytes from 1 to 4294967291");
    s.backoff_min = number("worker_backoff_min", 1, INT32_MAX, s.backoff_min, time);
    s.backoff_max = number("worker_backoff_max", 1, INT32_MAX, s.backoff_max, time);
    s.backoff_reset = number("worker_backoff_reset", 1, INT32_MAX, s.backoff_reset, time);
    s.backoff_jitter = number("worker_backoff_jitter", 0, 100, s.backoff_jitter, "a percentage from 0 to 100");
    s.failure_limit = number("worker_failure_limit", 0, INT32_MAX, s.failure_limit, "a number of failures; 0: no limit");
    s.failure_window = number("worker_failure_window", 1, INT32_MAX, s.failure_window, time);
    s.start_timeout = number("worker_start_timeout", 0, INT32_MAX, s.start_timeout, time_or_none);
    s.heartbeat = number("worker_heartbeat", 0, INT32_MAX, s.heartbeat, time_or_none);
    s.drain_timeout = number("worker_drain_timeout", 1, INT32_MAX, s.drain_timeout, time);
    s.kill_timeout = number("worker_kill_timeout", 1, INT32_MAX, s.kill_timeout, time);
    engine_set(&s);
}

int mln_fork_prepare(void)
{
    if (engine() == NULL)
        return -1;
    engine_expect_forks();
    worker_silence(SIGPIPE); /* a write to a worker that has just gone is no reason to die */
    read_settings();
    channel_set_queue_limit((mln_size_t)number("ipc_queue_limit", 0, INT64_MAX, 0, "a number of bytes; 0: no limit"));
    return handlers_collect();
}

int mln_pre_fork(void)
{
    return mln_fork_prepare();
}

int mln_fork(void)
{
    mln_sauto_t n = number("worker_proc", 0, 65535, 0, "an integer from 0 to 65535");

    for (mln_sauto_t i = 0; i < n; ++i) {
        int result = worker_fork();

        if (result == 0)
            return 0;
        if (result > 0)
            log_line(none, "Start worker process No.%ld", (long)i + 1);
    }
    start_programs("proc_exec");
    start_programs("exec_proc");
    return 1;
}

/* ---- reload ---- */

static char reload_payload[] = "conf_reload"; /* 11 bytes on the wire */

static int send_reload(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    if (mln_ipc_master_send_prepare(ev, M_IPC_TYPE_CONF, reload_payload, sizeof reload_payload - 1, f) != 0 &&
        errno != EPIPE) /* it ends anyway, or has */
        log_line(error, "worker %ld is not told to reload: %s", (long)f->pid, strerror(errno));
    return 0;
}

static int reload_due; /* of this group */
static volatile sig_atomic_t reload_missed;

/*
 * Whoever finds the pid file may ask for a reload, before there is a loop and when it is gone: that must not end the process. What is asked
 * for early is done when there is a loop, for the configuration may have been read before.
 */
static void miss_reload(int signo)
{
    (void)signo;
    reload_missed = 1;
}

/* A broken file changes nothing anywhere: workers are told only of a sound one. */
static void reload(mln_event_t *ev, void *data)
{
    mln_conf_t *old = mln_conf();

    (void)data;
    reload_due = 0;
    if (mln_conf_reload() != 0 && mln_conf() == old) {
        log_line(error, "the configuration is not reloaded: the old one stays in force");
        return;
    }
    (void)mln_fork_scan_all(ev, send_reload, NULL);
}

/* In loop context, in the master. One reload is for all signals that come before it begins. */
static void reload_soon(mln_event_t *ev, int signo, void *data)
{
    (void)signo;
    if (reload_due)
        return;
    reload_due = 1;
    if (mln_event_timer_set(ev, 0, data, reload) == NULL)
        reload(ev, data);
}

/* ---- stop ---- */

static int stop_asked; /* of this group */

/* In loop context, in the master. Whoever asks twice does not want to wait. */
static void stop(mln_event_t *ev, int signo, void *data)
{
    (void)data;
    if (stop_asked++ != 0) {
        log_line(report, "signal %d again: the workers are not waited for", signo);
        mln_event_break_set(ev);
        return;
    }
    log_line(report, "signal %d: the workers are asked to end", signo);
    worker_stop_all(ev);
}

/* SIGTERM and SIGINT stop the group, unless the program handles or ignores them. */
static int stop_by_signals(mln_event_t *ev)
{
    static const int signals[] = {SIGTERM, SIGINT};
    struct sigaction now;

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; ++i)
        if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL &&
            mln_event_set_signal(ev, M_EV_SET, signals[i], NULL, stop) != 0)
            return -1;
    /* A terminal sends SIGINT to the workers, too. They end when the master has no more work for them. */
    worker_ignore_signal(SIGINT);
    return 0;
}

/* ---- the flow ---- */

/* Also of a worker that one of its kind has forked: the child goes on as one, too. */
static int run_worker(mln_event_t *parents, const struct framework *fw)
{
    uint64_t generation = engine_generation();
    mln_event_t *ev;

    mln_event_free(parents);
    if ((ev = mln_event_new()) == NULL) {
        log_line(error, "this worker has no event loop: %s", strerror(errno));
        return -1;
    }
    mln_fork_worker_set_events(ev);
    if (fw->worker_process != NULL)
        fw->worker_process(ev);
    if (generation == engine_generation())
        mln_event_dispatch(ev);
    if (generation != engine_generation())
        return run_worker(ev, fw);
    return ev->failed ? -1 : 0;
}

/* Forks the workers and runs the master's loop. In a worker, of now or of later, it goes on as run_worker. */
static int run_master(const struct framework *fw)
{
    uint64_t generation = engine_generation();
    mln_event_t *ev = mln_event_new();
    int result;

    reload_due = stop_asked = 0; /* of an earlier group */
    /* Before the first fork: from now on the signal ends neither the master nor a worker. */
    worker_ignore_signal(SIGUSR2);
    if (ev == NULL || mln_event_set_signal(ev, M_EV_SET, SIGUSR2, NULL, reload_soon) != 0 || stop_by_signals(ev) != 0) {
        log_line(error, "the master has no event loop: %s", strerror(errno));
        return -1;
    }
    if (reload_missed)
        reload_soon(ev, SIGUSR2, NULL);
    if ((result = mln_fork()) < 0)
        return -1;
    if (result == 0)
        return run_worker(ev, fw);
    mln_fork_master_set_events(ev);
    if (fw->master_process != NULL)
        fw->master_process(ev);
    if (generation == engine_generation())
        mln_event_dispatch(ev);
    if (generation != engine_generation())
        return run_worker(ev, fw);
    worker_end_all();
    result = ev->failed ? -1 : 0;
    mln_event_free(ev);
    return result;
}

static int init(const struct framework *fw)
{
    reload_missed = 0; /* in an earlier group */
    if (mln_conf_load() != 0)
        return -1;
    if (mln_conf_set_hook(mln_log_reload, NULL) == NULL) {
        log_line(error, "cannot start: out of memory");
        return -1;
    }
    if (fw->global_init != NULL && fw->global_init() < 0)
        return -1;
    refuse_threads();
    if (!switched_on(fw->seed))
        return mln_log_init(NULL);
    if (conf_file_missing())
        log_line(warn, "there is no configuration file %s: the built-in defaults are in force", mln_path_conf());
    if (tools_boot_params(fw->argc, fw->argv, fw->seed) < 0)
        return -1;
    loop_signal_rest(SIGUSR2, miss_reload);
    if (mln_sys_limit_modify() != 0 || mln_daemon() != 0 || mln_fork_prepare() != 0)
        return -1;
    return run_master(fw);
}

int mln_core_init(struct mln_core_attr *attr)
{
    const struct framework fw = {.argc = attr->argc,
                                 .argv = attr->argv,
                                 .global_init = attr->global_init,
                                 .worker_process = attr->worker_process,
                                 .seed = 1};

    return init(&fw);
}

int mln_framework_init(struct mln_framework_attr *attr)
{
    const struct framework fw = {.argc = attr->argc,
                                 .argv = attr->argv,
                                 .global_init = attr->global_init,
                                 .master_process = attr->master_process,
                                 .worker_process = attr->worker_process};

    return init(&fw);
}
