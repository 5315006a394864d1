/*
 * Whole lives of programs that the framework runs, each made of random features of its configuration and random steps in its processes,
 * while a model watches: what cannot be obeyed is refused with a clear line; the callbacks run where and as often as they should; every
 * message that was accepted arrives once and in order; who ends has one successor; a reload reaches everybody; the log says nothing that
 * is not expected; and in the end no process, no descriptor, no lock and no file is left.
 *
 * For the arguments see random.h. This program plays the user at the terminal: it starts each life as a program of its own, which may be
 * a daemon, starts that again while it runs, and waits for all of its processes. What is to be done in them it writes down first, in
 * shared memory, and whoever may do the next step does it when a handler of its runs. So a seed repeats what is tried, not when.
 *
 * deadline: 120s
 */
#include "check.h"
#include "framework.h"
#include "ipc.h"
#include "mln_core.h"
#include "mln_log.h"
#include "mln_thread.h"
#include "processes.h"
#include "random.h"
#include "scratch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>

enum { MESSAGE = 2000, HELLO };

enum {
    USUAL_STEPS = 60,
    ACTIONS = 16,  /* of a life */
    CHILDREN = 96, /* more than a life can have */
    DEATHS = 4,
    BIRTHS = 3, /* that the program brings about itself */
    LARGEST = 100000,
    PULSE_MS = 2,
    SILENCE_MS = 15000,
    BROKEN_LOOP = 40, /* how main ends in a worker whose loop was broken */
    BRIEF = 41,       /* how a program ends that does not stay */
    EXIT = 42         /* how a master ends that calls exit() */
};

/* ---- what is written down before a life ---- */

/* What becomes of the call of init. */
enum outcome { RUNS, RETURNS, REFUSED, WORD };

/* Where a value is looked at that cannot be obeyed. */
enum stage { AT_ONCE, BY_LOG, BEFORE_FORK };

struct wrong {
    enum stage stage;
    const char *keys, *message;
};

static const struct wrong wrongs[] = {
    {AT_ONCE, "framework \"something\";", "framework must be"},
    {AT_ONCE, "framework \"multithread\";", "no thread mode"},
    {AT_ONCE, "framework;", "framework must be"},
    {AT_ONCE, "framework \"multiprocess\" \"twice\";", "framework must be"},
    {AT_ONCE, "thread_mode on;", "thread_mode must be off"},
    {BY_LOG, "log_level \"loud\";", "log_level \"loud\" is unknown"},
    {BY_LOG, "log_level 5;", "the argument of log_level has to be"},
    {BY_LOG, "log_path 5;", "the argument of log_path has to be"},
    {BY_LOG, "log_path \"./no/such/app.log\";", "cannot create the folder ./no/such"},
    {BY_LOG, "daemon 1;", "the argument of daemon has to be"},
    {BY_LOG, "daemon on off;", "daemon has 2 arguments"},
    {BEFORE_FORK, "user 5;", "the argument of user has to be"},
    {BEFORE_FORK, "user \"no-such-account\";", "there is no account \"no-such-account\""},
    {BEFORE_FORK, "max_nofile \"many\";", "the argument of max_nofile has to be"},
    {BEFORE_FORK, "core_file_size on;", "the argument of core_file_size has to be"},
    {BEFORE_FORK, "worker_proc -1;", "worker_proc must be"},
    {BEFORE_FORK, "worker_proc \"4\";", "worker_proc must be"},
    {BEFORE_FORK, "worker_proc 1 2;", "worker_proc must be"},
    {BEFORE_FORK, "worker_proc;", "worker_proc must be"},
    {BEFORE_FORK, "ipc_queue_limit -1;", "ipc_queue_limit must be"},
    {BEFORE_FORK, "ipc_message_max 0;", "ipc_message_max must be"},
    {BEFORE_FORK, "worker_backoff_min 0;", "worker_backoff_min must be"},
    {BEFORE_FORK, "worker_backoff_jitter 101;", "worker_backoff_jitter must be"},
    {BEFORE_FORK, "worker_failure_limit -1;", "worker_failure_limit must be"},
    {BEFORE_FORK, "worker_start_timeout \"1\";", "worker_start_timeout must be"},
    {BEFORE_FORK, "worker_drain_timeout 0.5;", "worker_drain_timeout must be"},
    {BEFORE_FORK, "proc_exec { always \"/bin/true\"; }", "proc_exec must be made of"},
    {BEFORE_FORK, "proc_exec { default; }", "proc_exec must be made of"},
    {BEFORE_FORK, "exec_proc { keepalive \"/bin/true\" 5; }", "exec_proc must be made of"},
};

enum { WRONGS = sizeof wrongs / sizeof *wrongs };

/* A word on the command line: in which eras it ends the process at once, and with which status where no other one runs. */
static const struct word {
    const char *text;
    enum { NEVER, IN_SEED_ERA, ALWAYS } acts;
    int status;
} words[] = {
    {"--stop", ALWAYS, 1}, {"-s", ALWAYS, 1}, {"--reload", ALWAYS, 1}, {"-r", ALWAYS, 1}, {"--help", ALWAYS, 0}, {"-h", ALWAYS, 0},
    {"--version", IN_SEED_ERA, 0}, {"-v", IN_SEED_ERA, 0}, {"garbage", NEVER, 0}, {"--", NEVER, 0}, {"stop", NEVER, 0}, {"", NEVER, 0},
};

enum { WORDS = sizeof words / sizeof *words };

static const char *const levels[] = {"none", "report", "debug", "warn", "error"};

enum ending { BREAK, TERM, INTERRUPT, STOP_WORD, CALL_EXIT, KILLED, ENDINGS };

struct action {
    unsigned kind;
    uint64_t whims;
};

struct plan {
    int seed_era, switched_off, daemon, workers, staying, brief; /* the last two: programs */
    int by_hook, stale_pid_file, edited, again;
    int global_init, init_fails, master_process, worker_process;
    int log_level, relative;
    long queue_limit, message_max, failure_limit; /* 0: none */
    const struct wrong *wrong; /* this and the next are for the terminal alone, whose addresses they are */
    const struct word *word;
    enum ending ending;
    char keys[4000]; /* what stays in the configuration */
    struct action actions[ACTIONS];
    int n_actions;
    uint64_t whims;
    char planted[16];
};

/* ---- what all processes know, in shared memory ---- */

struct direction {
    atomic_uint sent, received;
};

/* A child of the master. */
struct life {
    atomic_int pid;
    atomic_int dead; /* it is to end before the rest, and what is under way may be lost */
    atomic_int left; /* by exit() */
    atomic_int spoken; /* it has left, and what it had to say was written before */
    atomic_int begun, program, generation, acting;
    struct direction up, down;
};

/* What is begun is not always done: a process may be killed in between. */
struct tally {
    atomic_int begun, done;
};

/* What somebody is to do at the terminal. One thing at a time; BUSY: nothing now. */
enum request { NOTHING, BUSY, RELOAD_WORD, STOP, HELP_WORD, VERSION_WORD, SECOND };

static struct shared {
    struct plan plan;
    struct life lives[CHILDREN];
    atomic_int born, due; /* children that there were, and that there should have been */
    atomic_int deaths, failures, births, forks; /* that were brought about; births are of programs, too */
    atomic_int next; /* action */
    atomic_int terminal, master, groups, masters, inits; /* two processes; how often callbacks were called */
    atomic_int request;
    atomic_int file_generation, asked, moved; /* of the configuration: the file's, what all should have, in which folder the log is */
    atomic_int ending, stops, sudden, failed; /* failed: what init has returned */
    atomic_int broken, seconds, nested, log_reloads, rotations;
    struct tally lines, refusals;
} *shared;

static const struct plan *plan;

/* ---- what one process knows ---- */

static struct life *mine;   /* NULL in a master */
static int level, nests;    /* level 1: in a group below a worker of the life's; nests: this worker is to make one */
static mln_event_t *pulsing; /* the loop that the pulse goes in */
static int heard;           /* from the workers of the group below */
static char payload[LARGEST];

static struct life *find_life(pid_t pid)
{
    for (int i = 0; i < CHILDREN; ++i)
        if (atomic_load(&shared->lives[i].pid) == pid)
            return &shared->lives[i];
    return NULL;
}

/* In a child, or in the master when it comes to know of one. */
static struct life *life_of(pid_t pid)
{
    for (int i = 0; i < CHILDREN; ++i) {
        struct life *l = &shared->lives[i];
        int nobody = 0;

        if (atomic_load(&l->pid) == pid)
            return l;
        if (atomic_compare_exchange_strong(&l->pid, &nobody, pid))
            atomic_fetch_add(&shared->born, 1);
        else if (nobody != pid)
            continue;
        return l;
    }
    CHECK(!"there are too many children");
    return NULL;
}

/* It is to end, and where there is a successor that is due. 0 if it was to end already. */
static int doom(struct life *l, int supervised)
{
    if (atomic_exchange(&l->dead, 1) != 0)
        return 0;
    atomic_fetch_add(&shared->failures, supervised);
    atomic_fetch_add(&shared->due, supervised);
    return 1;
}

static int has_failed_too_often(void)
{
    return plan->failure_limit != 0 && atomic_load(&shared->failures) > plan->failure_limit;
}

/* Whether the end of the group has been brought about. */
static int is_ending(void)
{
    return atomic_load(&shared->ending) || has_failed_too_often();
}

/* ---- the configuration ---- */

static const char *folder(void)
{
    return atomic_load(&shared->moved) ? "moved" : "logs";
}

static char *log_file(void)
{
    char name[32];

    snprintf(name, sizeof name, "%s/app.log", folder());
    return scratch_path(name);
}

/* In one step, as somebody may read it at this moment. `first` comes before all the rest. */
static void write_configuration(const char *first)
{
    char text[6000], path[700];

    if (plan->relative)
        snprintf(path, sizeof path, "./%s/app.log", folder());
    else
        snprintf(path, sizeof path, "%s", log_file());
    snprintf(text, sizeof text, "%s\n%s\nlog_path \"%s\";\nlog_level \"%s\";\ngeneration %d;\n", first, plan->keys, path,
             levels[plan->log_level], atomic_load(&shared->file_generation));
    scratch_write(scratch_path("next.conf"), text);
    CHECK_INT(rename(scratch_path("next.conf"), scratch_path("melon.conf")), 0);
}

static void write_next_generation(void)
{
    atomic_fetch_add(&shared->file_generation, 1);
    write_configuration("");
}

/* That of the configuration in force. */
static int generation(void)
{
    mln_conf_t *cf = plan->seed_era ? mln_get_conf() : mln_conf();
    mln_conf_domain_t *cd = cf->search(cf, "main");

    return (int)cd->search(cd, "generation")->search(cd->search(cd, "generation"), 1)->val.i;
}

static int on_reload(void *data)
{
    CHECK_PTR(data, &level);
    if (mine != NULL)
        atomic_store(&mine->generation, generation());
    return 0;
}

/* In whatever process: the master is signalled, and is to tell the others. */
static void ask_for_reload(pid_t master)
{
    atomic_store(&shared->asked, atomic_load(&shared->file_generation));
    CHECK(master > 1);
    if (kill(master, SIGUSR2) != 0)
        CHECK(errno == ESRCH && is_ending());
}

/* How many a second group has, of which nobody edits the configuration. */
static int workers_below(void)
{
    return plan->edited ? 0 : plan->workers;
}

/* ---- messages ---- */

static void act(mln_event_t *ev);
static void begin_pulse(mln_event_t *ev);

static uint64_t content(const struct direction *d, unsigned number)
{
    return (uint64_t)number << 20 ^ (uint64_t)((const char *)d - (const char *)shared);
}

static void check_refusal(const struct life *l, size_t size)
{
    if (plan->message_max != 0 && (long)size > plan->message_max)
        CHECK_INT(errno, EMSGSIZE);
    else if (!(plan->queue_limit != 0 && errno == EAGAIN) && !atomic_load(&l->dead) && !is_ending())
        CHECK_INT(errno, 0);
}

/* f is the worker; NULL: from a worker to its master. */
static void send_one(mln_event_t *ev, mln_fork_t *f, unsigned size)
{
    struct life *l = f != NULL ? life_of(f->pid) : mine;
    struct direction *d = f != NULL ? &l->down : &l->up;
    unsigned number = atomic_fetch_add(&d->sent, 1);
    int result;

    memcpy(payload, &number, sizeof number);
    fill(payload + sizeof number, size - sizeof number, content(d, number));
    result = f != NULL ? mln_ipc_master_send_prepare(ev, MESSAGE, payload, size, f)
                       : mln_ipc_worker_send_prepare(ev, MESSAGE, payload, size);
    if (result != 0) {
        atomic_fetch_sub(&d->sent, 1);
        check_refusal(l, size);
    } else if (mine == NULL || !atomic_load(&l->program)) { /* which does not know of the limit */
        CHECK(plan->message_max == 0 || (long)size <= plan->message_max);
    }
}

static unsigned some_size(void)
{
    unsigned kind = pick(20);

    return 4 + pick(kind < 12 ? 100 : kind < 19 ? 5000 : LARGEST - 4);
}

static void on_message(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    struct life *l = mine != NULL ? mine : life_of(f->pid);
    struct direction *d = mine != NULL ? &l->down : &l->up;
    unsigned number, expected = atomic_fetch_add(&d->received, 1);

    (void)udata;
    CHECK(len >= sizeof number);
    memcpy(&number, buf, sizeof number);
    CHECK_INT(number, expected);
    CHECK(filled((char *)buf + sizeof number, len - sizeof number, content(d, number)));
    if (pick(4) == 0)
        send_one(ev, mine != NULL ? NULL : f, some_size());
    if (pick(4) == 0)
        act(ev);
}

static void on_hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)buf;
    (void)udata;
    CHECK_INT(len, 0);
    if (level == 0) {
        begin_pulse(ev);
    } else if (++heard == workers_below()) {
        if (pick(2))
            mln_event_break_set(ev);
        else
            raise(SIGTERM);
    }
}

/* At the beginning of a worker. */
static void greet(mln_event_t *ev)
{
    if (mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0) != 0)
        CHECK_INT(errno, EPIPE); /* the master may be gone already */
}

static void set_master_handlers(void)
{
    static mln_ipc_handler_t handlers[] = {{on_message, NULL, MESSAGE}, {on_hello, NULL, HELLO}};

    mln_set_master_ipc_handler(&handlers[0]);
    mln_set_master_ipc_handler(&handlers[1]);
}

static void set_handlers(void)
{
    static mln_ipc_handler_t in_worker = {on_message, NULL, MESSAGE};

    if (plan->seed_era) {
        set_master_handlers();
        mln_set_worker_ipc_handler(&in_worker);
    } else {
        handle(MESSAGE, on_message, on_message);
        handle(HELLO, on_hello, NULL);
    }
}

/* ---- actions ---- */

static int choose(mln_event_t *ev, mln_fork_t *f, void *data)
{
    mln_fork_t **chosen = data;
    static int seen;

    (void)ev;
    seen = *chosen == NULL ? 1 : seen + 1;
    if (pick((unsigned)seen) == 0)
        *chosen = f;
    return 0;
}

/* In the master: some worker or NULL. */
static mln_fork_t *some_worker(mln_event_t *ev)
{
    mln_fork_t *f = NULL;

    CHECK_INT(plan->seed_era ? mln_fork_scan_all(ev, choose, &f) : mln_fork_iterate(ev, choose, &f), 0);
    return f;
}

static void send_some(mln_event_t *ev)
{
    mln_fork_t *f = mine == NULL ? some_worker(ev) : NULL;

    if (mine == NULL && f == NULL)
        return;
    for (unsigned n = 1 + pick(10); n > 0; --n)
        send_one(ev, f, some_size());
}

static void write_line(mln_event_t *ev)
{
    mln_log_level_t importance = (mln_log_level_t)pick(5);
    int is_printed = importance >= g_log.level;

    (void)ev;
    atomic_fetch_add(&shared->lines.begun, is_printed);
    mln_log(importance, "this line is from the test, process %d\n", (int)getpid());
    atomic_fetch_add(&shared->lines.done, is_printed);
}

static void reload_log(mln_event_t *ev)
{
    (void)ev;
    atomic_fetch_add(&shared->log_reloads, 1);
    if (mine == NULL && pick(2)) { /* a rotation */
        char name[64];

        snprintf(name, sizeof name, "%s/app.log.%d", folder(), atomic_fetch_add(&shared->rotations, 1));
        CHECK_INT(rename(log_file(), scratch_path(name)), 0);
    }
    CHECK(mln_log_reload(NULL) == 0 || atomic_load(&shared->broken));
}

/* Nobody starts at the terminal meanwhile; 1 if so. */
static int keep_terminal(void)
{
    int nothing = NOTHING;

    return atomic_compare_exchange_strong(&shared->request, &nothing, BUSY);
}

/* A slip in the file changes nothing, and a value that the log refuses nothing about the log. */
static void reload_broken(void)
{
    int before = generation(), is_slip = (int)pick(2);

    if (!keep_terminal())
        return;
    atomic_store(&shared->broken, 1);
    atomic_fetch_add(&shared->file_generation, 1);
    write_configuration(is_slip ? "= broken" : "log_level \"loud\";");
    CHECK_INT(mln_conf_reload(), -1);
    CHECK_INT(generation(), is_slip ? before : atomic_load(&shared->file_generation));
    write_next_generation();
    atomic_store(&shared->request, NOTHING);
    ask_for_reload(getpid());
}

/* Only the master writes the file. A worker may read a broken one meanwhile. */
static void reload(mln_event_t *ev)
{
    (void)ev;
    if (mine != NULL && pick(2)) {
        ask_for_reload(atomic_load(&shared->master));
    } else if (mine != NULL) {
        CHECK(mln_conf_reload() == 0 || atomic_load(&shared->broken));
    } else if (pick(4) == 0) {
        reload_broken();
    } else {
        write_next_generation();
        if (pick(2)) {
            CHECK_INT(mln_conf_reload(), 0);
            CHECK_INT(generation(), atomic_load(&shared->file_generation));
        } else {
            ask_for_reload(getpid());
        }
    }
}

/* The log goes to another folder, and the pid file with it. */
static void move_log(mln_event_t *ev)
{
    (void)ev;
    if (atomic_load(&shared->nested) || !keep_terminal()) /* a group below takes the pid file that was left */
        return;
    atomic_fetch_xor(&shared->moved, 1);
    write_next_generation();
    CHECK_INT(mln_conf_reload(), 0);
    CHECK_STR(strrchr(mln_log_pid_path(), '/'), "/melon.pid");
    CHECK(strstr(mln_log_pid_path(), folder()) != NULL);
    atomic_store(&shared->request, NOTHING);
    ask_for_reload(getpid());
}

static void request(enum request what)
{
    int nothing = NOTHING;

    atomic_compare_exchange_strong(&shared->request, &nothing, what);
}

static void reload_from_terminal(mln_event_t *ev)
{
    (void)ev;
    if (plan->failure_limit == 0) /* or the group may end meanwhile */
        request(RELOAD_WORD);
}

/* A whole second group beside the first. In the seed era only a worker can end one; a daemon is refused, which takes seconds. */
static void start_second(mln_event_t *ev)
{
    int can_end = !plan->seed_era || workers_below() > 0;

    (void)ev;
    if (can_end && (!plan->daemon || pick(10) == 0))
        request(SECOND);
    else
        request(plan->seed_era && pick(2) ? VERSION_WORD : HELP_WORD);
}

/* One that may end now, or NULL. */
static mln_fork_t *victim(mln_event_t *ev)
{
    mln_fork_t *f = some_worker(ev);

    if (f == NULL || atomic_fetch_add(&shared->deaths, 1) >= DEATHS)
        return NULL;
    if (strcmp(plan->planted, "forget") == 0 && atomic_load(&shared->log_reloads) > 0)
        return f;
    return doom(life_of(f->pid), f->stype == M_PST_SUP) ? f : NULL;
}

static void kill_worker(mln_event_t *ev)
{
    mln_fork_t *f = victim(ev);

    if (f != NULL)
        CHECK_INT(kill(f->pid, SIGKILL), 0);
}

static void close_worker(mln_event_t *ev)
{
    mln_fork_t *f = victim(ev);

    if (f != NULL)
        mln_fork_socketpair_close_handler(ev, f, f->conn.sockfd);
}

static int may_leave(void)
{
    return atomic_fetch_add(&shared->deaths, 1) < DEATHS && doom(mine, 1);
}

/* As soon as all is written, which is to arrive then. */
static void exit_when_written(mln_event_t *ev, void *data)
{
    if (bytes_to_send(mln_fork_master_connection_get()) > 0) {
        CHECK_INT(mln_event_set_timer(ev, 1, data, exit_when_written), 0);
        return;
    }
    atomic_store(&mine->spoken, 1);
    if (pick(2))
        exit(0);
    mln_thread_exit(0); /* the main thread's: exit() */
}

static void leave(mln_event_t *ev)
{
    if (!may_leave())
        return;
    if (pick(2)) {
        for (unsigned n = 1 + pick(5); n > 0; --n) /* so much that it is still to be read then */
            send_one(ev, NULL, LARGEST / 2 + pick(LARGEST / 2));
        CHECK_INT(mln_event_set_timer(ev, 0, NULL, exit_when_written), 0);
    } else if (pick(2)) {
        mln_event_set_break(ev);
    } else {
        mln_event_break_set(ev);
    }
}

/* Its main makes a group of its own. Nobody can be a daemon below another one, of which the pid file is. */
static void nest(mln_event_t *ev)
{
    if (plan->daemon || workers_below() == 0 || !may_leave())
        return;
    nests = 1;
    atomic_fetch_add(&shared->nested, 1);
    mln_event_break_set(ev);
}

static void start_another(mln_event_t *ev)
{
    int result;

    if (atomic_fetch_add(&shared->births, 1) >= BIRTHS)
        return;
    atomic_fetch_add(&shared->forks, 1);
    atomic_fetch_add(&shared->due, 1);
    CHECK((result = mln_fork_restart(ev)) >= 0);
    CHECK_INT(result == 0, mine != NULL);
}

static void spawn(mln_event_t *ev)
{
    static char program[] = "/proc/self/exe", staying[] = "program", brief[] = "brief";
    int is_brief = pick(3) == 0, supervised = !is_brief && pick(2);
    mln_s8ptr_t *args;

    if (atomic_fetch_add(&shared->births, 1) >= BIRTHS)
        return;
    CHECK((args = calloc(3, sizeof *args)) != NULL);
    args[0] = program;
    args[1] = is_brief ? brief : staying;
    args[2] = scratch_dir;
    atomic_fetch_add(&shared->due, 1);
    CHECK_INT(mln_fork_spawn(supervised ? M_PST_SUP : M_PST_DFL, args, 3, ev), 0);
}

/* ---- threads: the framework's, which are refused, and the program's own ---- */

static int cleanups;

static void on_cleanup(void *data)
{
    CHECK_PTR(data, &cleanups);
    ++cleanups;
}

static void *run_thread(void *ev)
{
    mln_thread_cleanup_set(on_cleanup, &cleanups);
    if (mine != NULL)
        send_one(ev, NULL, some_size());
    write_line(ev);
    if (pick(2))
        mln_thread_exit(7);
    return (void *)7;
}

static int never_run(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    CHECK(!"a thread of the framework runs");
    return 0;
}

static void refuse_thread(int result)
{
    CHECK_INT(result, -1);
    CHECK_INT(errno, ENOTSUP);
    atomic_fetch_add(&shared->refusals.done, 1);
}

static void use_threads(mln_event_t *ev)
{
    static char alias[] = "alias";
    mln_string_t name = mln_string("alias");
    mln_thread_module_t module = {alias, never_run};
    mln_thread_msg_t message = {.dest = mln_string_new(alias), .src = mln_string_new(alias)};
    int before = cleanups;
    pthread_t thread;
    void *result;

    mln_thread_module_set(&module, 1);
    atomic_fetch_add(&shared->refusals.begun, 1);
    if (pick(2))
        refuse_thread(mln_load_thread(ev));
    else
        refuse_thread(plan->seed_era ? mln_thread_create((mln_thread_t *)NULL, ev)
                                     : mln_thread_create(ev, alias, THREAD_RESTART, never_run, 0, NULL));
    mln_thread_kill(&name);
    mln_thread_clear_msg(&message);
    CHECK(message.dest == NULL && message.src == NULL);
    CHECK_INT(pthread_create(&thread, NULL, run_thread, ev), 0);
    CHECK_INT(pthread_join(thread, &result), 0);
    CHECK_INT((intptr_t)result, 7);
    CHECK_INT(cleanups, before + 1);
}

/* ---- the end of a group ---- */

static void finish(mln_event_t *ev, enum ending ending)
{
    atomic_store(&shared->ending, 1);
    switch (ending) {
    case BREAK:
        if (plan->seed_era)
            mln_event_set_break(ev);
        else
            mln_event_break_set(ev);
        break;
    case TERM:
    case INTERRUPT:
        atomic_fetch_add(&shared->stops, 1);
        CHECK_INT(kill(getpid(), ending == TERM ? SIGTERM : SIGINT), 0);
        break;
    case STOP_WORD:
        atomic_fetch_add(&shared->stops, 1);
        request(STOP);
        break;
    case CALL_EXIT:
        exit(EXIT);
    default:
        raise(SIGKILL);
    }
}

/* With messages under way, children about to be born, and somebody at the terminal. Where the workers are asked to end, all goes on. */
static void end_suddenly(mln_event_t *ev)
{
    static const enum ending endings[] = {BREAK, TERM, INTERRUPT};

    /* A second group may be there, but no word may reach the master when it is past its loop. */
    if (atomic_load(&shared->sudden) || pick(3) != 0 || (!keep_terminal() && atomic_load(&shared->request) != SECOND))
        return;
    atomic_store(&shared->sudden, 1);
    finish(ev, endings[pick(3)]);
}

static int is_graceful(void)
{
    return atomic_load(&shared->stops) == 1;
}

/* ---- kinds of steps ---- */

static struct plan draft;

__attribute__((format(printf, 1, 2))) static void add_keys(const char *format, ...)
{
    size_t length = strlen(draft.keys);
    va_list args;

    va_start(args, format);
    CHECK(vsnprintf(draft.keys + length, sizeof draft.keys - length, format, args) < (int)(sizeof draft.keys - length));
    va_end(args);
}

static void plan_seed_era(void) { draft.seed_era = 1; }
static void plan_switched_off(void) { draft.switched_off = pick(3) == 0; }
static void plan_daemon(void) { draft.daemon = 1; }
static void plan_workers(void) { draft.workers = (int)pick(5); }
static void plan_level(void) { draft.log_level = (int)pick(5); }
static void plan_wrong(void) { draft.wrong = pick(3) == 0 ? &wrongs[pick(WRONGS)] : NULL; }
static void plan_word(void) { draft.word = pick(2) ? &words[pick(WORDS)] : NULL; }
static void plan_ending(void) { draft.ending = (enum ending)pick(ENDINGS); }
static void plan_again(void) { draft.again = 1; }

static void plan_programs(void)
{
    if (pick(3) == 0)
        ++draft.brief;
    else
        ++draft.staying;
}

static void plan_paths(void)
{
    draft.by_hook = (int)pick(2);
    draft.relative = (int)pick(2);
    draft.stale_pid_file = (int)pick(2);
}

static void plan_queues(void)
{
    draft.queue_limit = pick(2) ? 1000 + 1000 * (long)pick(500) : 0;
    draft.message_max = pick(2) ? 500 + (long)pick(LARGEST) : 0;
}

/* Long enough for any machine, so that nobody is ended for them. */
static void plan_times(void)
{
    static const char *const limits[] = {"start_timeout", "heartbeat", "drain_timeout", "kill_timeout"};

    for (int i = 0; i < 4; ++i)
        if (pick(2))
            add_keys("worker_%s %u;\n", limits[i], 60000 + pick(1000));
    if (pick(2))
        add_keys("worker_backoff_min %u; worker_backoff_max %u; worker_backoff_jitter %u;\n", 1 + pick(30), 1 + pick(60), pick(101));
    if (pick(2))
        add_keys("worker_backoff_reset %u;\n", 1 + pick(2000));
}

static void plan_limit(void)
{
    draft.failure_limit = 1 + (long)pick(3);
}

/* Nobody knows these. */
static void plan_unknown(void)
{
    static const char *const unknown[] = {"worker_porc 5;", "Worker_proc 5;", "frame_work off;", "deamon on;", "log_levels \"loud\";",
                                          "nothing;", "limits { worker_proc 7; rate -2.5; mode 'r' on 10 \"ten\"; }", "worker_ 1;"};

    add_keys("%s\n", unknown[pick(sizeof unknown / sizeof *unknown)]);
}

static void plan_callbacks(void)
{
    draft.global_init = pick(4) != 0;
    draft.init_fails = draft.global_init && pick(8) == 0;
    draft.master_process = pick(4) != 0;
    draft.worker_process = pick(4) != 0;
    draft.edited = draft.global_init && pick(2);
}

enum where { ANYWHERE, IN_MASTER, IN_WORKER };

/* A feature of the configuration, or something to do. The bit of a kind in the mask is that of its place. */
static const struct kind {
    void (*feature)(void);
    void (*act)(mln_event_t *);
    enum where where;
} kinds[] = {
    {plan_seed_era, NULL, 0}, {plan_switched_off, NULL, 0}, {plan_daemon, NULL, 0}, {plan_workers, NULL, 0}, {plan_programs, NULL, 0},
    {plan_level, NULL, 0}, {plan_paths, NULL, 0}, {plan_queues, NULL, 0}, {plan_times, NULL, 0}, {plan_limit, NULL, 0},
    {plan_unknown, NULL, 0}, {plan_wrong, NULL, 0}, {plan_callbacks, NULL, 0}, {plan_word, NULL, 0}, {plan_ending, NULL, 0},
    {plan_again, NULL, 0},
    {NULL, send_some, ANYWHERE}, {NULL, write_line, ANYWHERE}, {NULL, reload_log, ANYWHERE}, {NULL, reload, ANYWHERE},
    {NULL, reload_from_terminal, ANYWHERE}, {NULL, start_second, ANYWHERE}, {NULL, use_threads, ANYWHERE},
    {NULL, kill_worker, IN_MASTER}, {NULL, close_worker, IN_MASTER}, {NULL, start_another, IN_MASTER}, {NULL, spawn, IN_MASTER},
    {NULL, move_log, IN_MASTER}, {NULL, end_suddenly, IN_MASTER}, {NULL, leave, IN_WORKER}, {NULL, nest, IN_WORKER},
};

enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- the pulse of a process, in which it makes its steps ---- */

/* Nobody may make the steps that are a worker's where none has a pulse. */
static int is_for_nobody(const struct kind *kind)
{
    return kind->where == IN_WORKER && mine == NULL && (!plan->worker_process || plan->workers + atomic_load(&shared->forks) == 0);
}

static int script_is_over(void)
{
    return atomic_load(&shared->next) >= plan->n_actions;
}

/* Makes the next step, if this process may. */
static void act(mln_event_t *ev)
{
    int at = atomic_load(&shared->next);

    if (level > 0 || script_is_over() || (mine != NULL && (atomic_load(&mine->program) || atomic_load(&mine->dead))))
        return;
    const struct kind *kind = &kinds[plan->actions[at].kind];
    if (!is_for_nobody(kind) && kind->where == (mine != NULL ? IN_MASTER : IN_WORKER))
        return;
    if (mine != NULL) /* the master does not take all for done meanwhile */
        atomic_store(&mine->acting, 1);
    if (atomic_compare_exchange_strong(&shared->next, &at, at + 1) && !is_for_nobody(kind)) {
        whims = plan->actions[at].whims;
        kind->act(ev);
    }
    if (mine != NULL)
        atomic_store(&mine->acting, 0);
}

/* Whether all has come about that is to, as it was at the last pulse. */
static int is_calm(void)
{
    static unsigned long long before;
    unsigned long long messages = 1;
    int calm = atomic_load(&shared->born) == atomic_load(&shared->due) && atomic_load(&shared->request) == NOTHING &&
               generation() >= atomic_load(&shared->asked);

    for (int i = 0; i < CHILDREN; ++i) {
        struct life *l = &shared->lives[i];

        if (atomic_load(&l->spoken))
            calm &= atomic_load(&l->up.received) == atomic_load(&l->up.sent);
        if (atomic_load(&l->pid) == 0 || atomic_load(&l->dead))
            continue;
        messages += atomic_load(&l->up.sent) + atomic_load(&l->down.sent);
        calm &= atomic_load(&l->up.received) == atomic_load(&l->up.sent) && atomic_load(&l->down.received) == atomic_load(&l->down.sent);
        calm &= atomic_load(&l->program) || atomic_load(&l->generation) >= atomic_load(&shared->asked);
        calm &= !atomic_load(&l->acting) && (atomic_load(&l->begun) || !plan->worker_process);
    }
    calm &= messages == before;
    before = messages;
    return calm;
}

static void pulse(mln_event_t *ev, void *data)
{
    CHECK_INT(mln_event_set_timer(ev, PULSE_MS, data, pulse), 0);
    if (mine == NULL) {
        CHECK(atomic_load(&shared->born) <= atomic_load(&shared->due));
        if (script_is_over() && !is_ending() && is_calm())
            finish(ev, plan->ending);
    }
    act(ev);
}

static void begin_pulse(mln_event_t *ev)
{
    if (pulsing == ev)
        return;
    pulsing = ev;
    if (mine == NULL)
        atomic_store(&shared->master, getpid());
    pulse(ev, NULL);
}

/* ---- callbacks ---- */

/* In every child, also before it executes a program. */
static void on_born(void *data)
{
    CHECK_PTR(data, &level);
    pulsing = NULL;
    mine = NULL;
    if (level > 0)
        return;
    mine = life_of(getpid());
    atomic_store(&mine->generation, generation());
    if (getppid() != atomic_load(&shared->terminal))
        atomic_store(&shared->master, getppid());
    whims = plan->whims + (uint64_t)(mine - shared->lives) + 1;
}

static int global_init(void)
{
    CHECK(mine == NULL);
    CHECK(mln_conf() != NULL);
    atomic_fetch_add(&shared->inits, 1);
    if (plan->edited)
        configure_number("worker_proc", plan->workers);
    return plan->init_fails ? -1 : (int)pick(3);
}

static void never(mln_event_t *ev)
{
    (void)ev;
    CHECK(!"a callback of the thread mode runs");
}

static void in_master(mln_event_t *ev)
{
    CHECK(mine == NULL);
    atomic_fetch_add(&shared->masters, 1);
    begin_pulse(ev);
}

static void in_worker(mln_event_t *ev)
{
    CHECK(mine != NULL);
    CHECK_INT(atomic_fetch_add(&mine->begun, 1), 0);
    greet(ev);
    begin_pulse(ev);
}

static int init(int argc, char **argv)
{
    if (plan->seed_era) {
        struct mln_core_attr attr = {argc, argv, plan->global_init ? global_init : NULL, plan->worker_process ? in_worker : NULL};

        return mln_core_init(&attr);
    }
    struct mln_framework_attr attr = {argc,  argv, plan->global_init ? global_init : NULL,
                                      never, plan->master_process ? in_master : NULL, plan->worker_process ? in_worker : NULL};
    return mln_framework_init(&attr);
}

/* ---- a group that ends when its workers are there: below a worker, or beside the life's ---- */

static void in_small_master(mln_event_t *ev)
{
    if (workers_below() == 0)
        mln_event_break_set(ev);
}

static int run_small_group(int argc, char **argv)
{
    struct mln_core_attr seed_attr = {argc, argv, NULL, greet};
    struct mln_framework_attr attr = {argc, argv, NULL, never, in_small_master, greet};

    level = 1;
    heard = 0;
    return plan->seed_era ? mln_core_init(&seed_attr) : mln_framework_init(&attr);
}

static void nest_group(int argc, char **argv)
{
    if (plan->seed_era) /* they were dropped when this process was forked */
        set_master_handlers();
    CHECK_INT(run_small_group(argc, argv), 0);
}

/* ---- the processes that this program is ---- */

static void map_shared(void)
{
    int fd = open(scratch_path("shared"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK_INT(ftruncate(fd, sizeof *shared), 0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(shared != MAP_FAILED);
    close(fd);
    plan = &shared->plan;
}

static void note_exit(void)
{
    if (mine != NULL)
        atomic_store(&mine->left, 1);
}

/* Everybody who lived to the end had all that was sent to him, and has said all. */
static void check_messages(void)
{
    for (int i = 0; i < CHILDREN; ++i) {
        struct life *l = &shared->lives[i];

        if (atomic_load(&l->pid) == 0 || atomic_load(&l->dead))
            continue;
        CHECK_INT(atomic_load(&l->down.received), atomic_load(&l->down.sent));
        CHECK_INT(atomic_load(&l->up.received), atomic_load(&l->up.sent));
    }
}

static void check_group(int result, int descriptors)
{
    if (!atomic_load(&shared->sudden))
        CHECK_INT(result, has_failed_too_often() ? -1 : 0);
    else
        CHECK(result == 0 || has_failed_too_often());
    atomic_store(&shared->failed, result != 0);
    CHECK_INT(child_count(), 0);
    CHECK_INT(fd_count(), descriptors + 3); /* the log, the pid file, and the memory file with what workers run on */
    if (!atomic_load(&shared->sudden) || is_graceful())
        check_messages();
}

/* The next group is another one, and makes the same steps. */
static void forget_group(void)
{
    int busy = BUSY;

    pulsing = NULL;
    atomic_compare_exchange_strong(&shared->request, &busy, NOTHING);
    for (int i = 0; i < CHILDREN && atomic_load(&shared->lives[i].pid) != 0; ++i) {
        atomic_store(&shared->lives[i].dead, 1);
        atomic_store(&shared->lives[i].spoken, 0);
    }
    atomic_store(&shared->next, 0);
    atomic_store(&shared->deaths, 0);
    atomic_store(&shared->births, 0);
    atomic_store(&shared->forks, 0);
    atomic_store(&shared->due, atomic_load(&shared->born)); /* who ended while all were asked to has no successor */
    atomic_store(&shared->failures, 0);
    atomic_store(&shared->stops, 0);
    atomic_store(&shared->sudden, 0);
}

/* Main in a life: in the master, in a daemon, and in workers whose loop was broken. */
static int live(int argc, char **argv)
{
    int descriptors = 0, result = 0;

    CHECK_INT(atexit(note_exit), 0);
    whims = plan->whims;
    CHECK_INT(chdir(scratch_dir), 0);
    scratch_catch_stderr(scratch_path("stderr"));
    if (plan->by_hook)
        mln_path_hook_set(m_p_conf, scratch_conf_file);
    else
        CHECK_INT(setenv("MLN_CONF", scratch_conf_path, 1), 0);
    set_handlers();
    CHECK((plan->seed_era ? mln_conf_set_hook : mln_conf_hook_set)(on_reload, &level) != NULL);
    (plan->seed_era ? mln_set_resource_clear_handler : mln_fork_resource_clear_handler_set)(on_born, &level);
    for (int fd = 0; fd < 256; ++fd)
        descriptors += *descriptor_name(fd) != '\0' && strncmp(descriptor_name(fd), "anon_inode:", 11) != 0; /* which the runtime may open at any time */
    for (int groups = 1 + plan->again; groups > 0; --groups) {
        atomic_fetch_add(&shared->groups, 1);
        atomic_fetch_add(&shared->due, plan->workers + plan->staying + plan->brief);
        atomic_store(&shared->ending, 0);
        result = init(argc, argv);
        if (mine != NULL && nests)
            nest_group(argc, argv);
        if (mine != NULL)
            return BROKEN_LOOP;
        atomic_store(&shared->master, getpid());
        if (result != 0 && !has_failed_too_often())
            return 1;
        if (!plan->switched_off)
            check_group(result, descriptors);
        if (groups > 1)
            forget_group();
    }
    return result == 0 ? 0 : 1;
}

/* At the terminal: a word for the life, or a second group. */
static int be_second(int argc, char **argv)
{
    CHECK_INT(chdir(scratch_dir), 0);
    scratch_catch_stderr(scratch_path("terminal"));
    CHECK(dup2(STDERR_FILENO, STDOUT_FILENO) >= 0);
    mln_path_hook_set(m_p_conf, scratch_conf_file);
    set_handlers();
    return run_small_group(argc, argv) == 0 ? 0 : 1;
}

/* Executed by a master; one of a second group has no life that counts. */
static int be_program(int stays)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK_INT(atexit(note_exit), 0);
    if ((mine = find_life(getpid())) != NULL) {
        CHECK_INT(atomic_fetch_add(&mine->begun, 1), 0);
        atomic_store(&mine->program, 1);
    }
    if (!stays) {
        if (mine != NULL)
            doom(mine, 0);
        return BRIEF;
    }
    CHECK_INT(mln_fork_worker_ipc_handler_set(MESSAGE, on_message, NULL), 0);
    mln_fork_worker_events_set(ev);
    if (mine != NULL)
        greet(ev);
    mln_event_dispatch(ev); /* until the master has no more work for it */
    return 1;
}

/* ---- the terminal: one life after the other ---- */

/* How a process ended, as await_status() tells it. */
struct end {
    pid_t pid;
    int status;
};

static pid_t launched, second; /* the life, as it was started, and who was started beside it */
static int launched_status;
static struct {
    enum request what;
    int generation, moved;
} asking; /* of `second` */
static struct end others[4 * CHILDREN]; /* daemons, and who was left by a parent that ended */
static int n_others;

/* Ends everybody, and this program, after a look at what there is. */
__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    static const char *const files[] = {"melon.conf", "stderr", "terminal"};
    char name[32], path[64];
    long pid;
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nera %s, word \"%s\", ending %d, %d of %d steps made, %d of %d children born, %d sudden, %d graceful stops\n",
            plan->seed_era ? "seed" : "today", plan->word != NULL ? plan->word->text : "", plan->ending, shared->next, plan->n_actions,
            shared->born, shared->due, shared->sudden, shared->stops);
    for (int i = 0; i < plan->n_actions; ++i)
        fprintf(stderr, "%u ", plan->actions[i].kind);
    for (int i = 0; i < CHILDREN && shared->lives[i].pid != 0; ++i) {
        const struct life *l = &shared->lives[i];

        fprintf(stderr, "\nprocess %d%s%s%s%s, generation %d: has got %u of %u, and its master %u of %u", l->pid,
                l->program ? ", a program" : "", l->begun ? ", has begun" : "", l->dead ? ", was to end" : "", l->left ? ", has left" : "",
                l->generation, l->down.received, l->down.sent, l->up.received, l->up.sent);
    }
    for (int i = 0; i < (int)(sizeof files / sizeof *files); ++i)
        fprintf(stderr, "\n--- %s:\n%s", files[i], scratch_read(scratch_path(files[i])));
    for (int i = -1; i < shared->rotations; ++i)
        for (int moved = 0; moved < 2; ++moved) {
            snprintf(name, sizeof name, i < 0 ? "%s/app.log" : "%s/app.log.%d", moved ? "moved" : "logs", i);
            fprintf(stderr, "\n--- %s:\n%s", name, scratch_read(scratch_path(name)));
        }
    while (waitpid(-1, NULL, WNOHANG) >= 0) {
        snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
        FILE *children = fopen(path, "r");
        while (children != NULL && fscanf(children, "%ld", &pid) == 1)
            kill((pid_t)pid, SIGKILL);
        if (children != NULL)
            fclose(children);
        usleep(1000);
    }
    exit(1);
}

/* ---- what a life is to be like ---- */

static enum outcome foresee(void)
{
    const struct wrong *wrong = draft.wrong;
    int acts = draft.word == NULL ? NEVER : draft.word->acts;

    if (draft.init_fails || (wrong != NULL && wrong->stage == AT_ONCE))
        return REFUSED;
    if (draft.switched_off)
        return wrong != NULL && wrong->stage == BY_LOG ? REFUSED : RETURNS;
    return wrong != NULL ? REFUSED : acts == ALWAYS || (acts == IN_SEED_ERA && draft.seed_era) ? WORD : RUNS;
}

/* Whether nothing of the program ever runs in the master, so that it is ended from here. */
static int is_mute(const struct plan *p)
{
    return (p->seed_era || !p->master_process) && !(p->worker_process && p->workers > 0) && p->staying == 0;
}

static void add_programs(void)
{
    if (draft.staying + draft.brief == 0)
        return;
    add_keys("%s {\n", draft.seed_era || pick(2) ? "exec_proc" : "proc_exec");
    for (int i = 0; i < draft.staying; ++i)
        add_keys("  %s \"/proc/self/exe\" \"program\" \"%s\";\n", pick(2) ? "keepalive" : "default", scratch_dir);
    for (int i = 0; i < draft.brief; ++i)
        add_keys("  default \"/proc/self/exe\" \"brief\" \"%s\";\n", scratch_dir);
    add_keys("}\n");
}

static void add_mode(void)
{
    static const char *const off[] = {"framework off;", "", "framework 5;"}; /* in the seed era 5 is refused */

    if (draft.switched_off)
        add_keys("%s\n", off[pick(draft.seed_era ? 2 : 3)]);
    else
        add_keys("framework %s;\n", draft.seed_era && pick(2) ? "on" : "\"multiprocess\"");
    if (!draft.edited)
        add_keys("worker_proc %d;\n", draft.workers);
    if (draft.daemon)
        add_keys("daemon on;\n");
    if (draft.queue_limit != 0)
        add_keys("ipc_queue_limit %ld;\n", draft.queue_limit);
    if (draft.message_max != 0)
        add_keys("ipc_message_max %ld;\n", draft.message_max);
    if (draft.failure_limit != 0)
        add_keys("worker_failure_limit %ld;\n", draft.failure_limit);
    if (strstr(draft.keys, "worker_drain_timeout") == NULL)
        add_keys("worker_drain_timeout 60000;\n");
}

static enum outcome plan_life(void)
{
    draft = (struct plan){.workers = 2, .by_hook = 1, .global_init = 1, .master_process = 1, .worker_process = 1};
    draft.whims = random_number(&whims);
    snprintf(draft.planted, sizeof draft.planted, "%s", planted);
    for (unsigned n = 5 + pick(ACTIONS - 4); n > 0 && steps > 0; --n) {
        unsigned kind = next_kind();

        if (kinds[kind].feature != NULL)
            kinds[kind].feature();
        else
            draft.actions[draft.n_actions++] = (struct action){kind, random_number(&whims)};
    }
    if (draft.init_fails)
        draft.wrong = NULL;
    if (draft.wrong != NULL) {
        draft.edited = 0;
        draft.word = NULL;
    }
    add_mode();
    add_programs();
    if (foresee() != RUNS || is_mute(&draft))
        draft.n_actions = 0;
    return foresee();
}

/* What a pid file may hold that is left over. */
static const char *const left_over[] = {"", "1", "12x", "2147483647\n", "garbage"};

static void start_life(void)
{
    const char *const words[] = {"life", scratch_dir, draft.word != NULL ? draft.word->text : NULL, NULL};

    scratch_remove();
    CHECK_INT(mkdir(scratch_dir, 0755), 0);
    map_shared();
    shared->plan = draft;
    atomic_store(&shared->terminal, getpid());
    write_configuration(draft.wrong != NULL ? draft.wrong->keys : "");
    if (draft.stale_pid_file) {
        CHECK_INT(mkdir(scratch_path("logs"), 0755), 0);
        scratch_write(scratch_path("logs/melon.pid"), left_over[draft.whims % (sizeof left_over / sizeof *left_over)]);
    }
    n_others = 0;
    second = 0;
    launched_status = -1;
    launched = start_self(words);
}

/* ---- who is started beside it ---- */

static void start_beside(enum request what)
{
    static const char *const acting[] = {[RELOAD_WORD] = "--reload", [STOP] = "--stop", [HELP_WORD] = "--help", [VERSION_WORD] = "-v"};
    const char *const words[] = {"second", scratch_dir, what == SECOND ? NULL : acting[what], NULL};

    asking.what = what;
    asking.generation = atomic_load(&shared->file_generation);
    if (what == SECOND)
        atomic_fetch_add(&shared->seconds, 1);
    second = start_self(words);
}

/* A daemon is refused beside another one. In the end of the life anything may be met. */
static void second_ended(int status)
{
    int expected = asking.what == SECOND && plan->daemon;

    if (status != expected && !(is_ending() && asking.what != HELP_WORD && asking.what != VERSION_WORD && status <= 1))
        fail("beside the life, request %d ended with status %d", asking.what, status);
    if (asking.what == RELOAD_WORD && status == 0 && atomic_load(&shared->asked) < asking.generation)
        atomic_store(&shared->asked, asking.generation);
    second = 0;
    atomic_store(&shared->request, NOTHING);
}

/* Who holds the pid file, 0 if nobody does. */
static pid_t pid_file_holder(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char name[32];
    int fd;

    snprintf(name, sizeof name, "%s/melon.pid", folder());
    if ((fd = open(scratch_path(name), O_RDONLY | O_CLOEXEC)) < 0)
        return 0;
    CHECK_INT(fcntl(fd, F_GETLK, &lock), 0);
    close(fd);
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

/* The master of a mute group handles SIGTERM, and its children were born. */
static void stop_mute_group(void)
{
    pid_t master;

    if (!is_mute(plan) || atomic_load(&shared->ending) || atomic_load(&shared->request) != NOTHING ||
        atomic_load(&shared->born) < atomic_load(&shared->due) || (master = pid_file_holder()) <= 0 || !is_running(master) ||
        (status_number(master, "SigCgt", 16) >> (SIGTERM - 1) & 1) == 0)
        return;
    atomic_store(&shared->ending, 1);
    atomic_fetch_add(&shared->stops, 1);
    request(STOP);
}

/* ---- until all its processes have ended ---- */

/* Takes note of everybody who has ended. 0 when nobody is left. */
static int reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (pid == launched) {
            launched_status = status;
        } else if (pid == second) {
            second_ended(status);
        } else {
            CHECK(n_others < (int)(sizeof others / sizeof *others));
            others[n_others++] = (struct end){pid, status};
        }
    }
    return pid == 0;
}

/* Another number whenever something has come about. */
static unsigned progress(void)
{
    unsigned n = (unsigned)(shared->next + shared->born + shared->groups + shared->file_generation + shared->request + shared->ending);

    n += (unsigned)(shared->lines.begun + shared->refusals.begun + n_others + (launched_status >= 0));
    for (int i = 0; i < CHILDREN; ++i)
        n += (unsigned)(shared->lives[i].begun + shared->lives[i].left) + shared->lives[i].up.received + shared->lives[i].down.received;
    return n;
}

static void await_life(enum outcome outcome)
{
    unsigned before = progress();
    long long last = now_ms();

    while (reap()) {
        int what = atomic_load(&shared->request);

        if (progress() != before)
            last = now_ms();
        before = progress();
        if (now_ms() > last + SILENCE_MS * check_slowness())
            fail("a life does not end");
        if (second == 0 && what > BUSY)
            start_beside(what);
        if (outcome == RUNS)
            stop_mute_group();
        usleep(500);
    }
}

/* ---- what was to come of it ---- */

/* No group is told to end twice. */
static int is_remarkable(const char *line)
{
    static const char *const parts[] = {" ERROR: ", " WARN: ", "panic", "the workers are not waited for"};

    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i)
        if (strstr(line, parts[i]) != NULL)
            return 1;
    return 0;
}

/* Whether the log may say this; what must be there is counted elsewhere. */
static int may_be_said(const char *line)
{
    const struct {
        int when;
        const char *text;
    } expected[] = {
        {plan->wrong != NULL, plan->wrong != NULL ? plan->wrong->message : ""},
        {shared->refusals.begun > 0, "this library has no thread mode"},
        {shared->lines.begun > 0, "this line is from the test"},
        {shared->seconds > 0 || shared->nested > 1, "melon.pid stays with process"},
        {shared->seconds > 0 && plan->daemon, "melon.pid is held by process"},
        {shared->broken, "melon.conf:1:"},
        {shared->broken, "the configuration is not reloaded: the old one stays in force"},
        {shared->broken, "log_level \"loud\" is unknown"},
        {shared->broken, "a hook failed after the configuration was reloaded"},
        {plan->failure_limit != 0, "was one failure too many"},
    };

    for (size_t i = 0; i < sizeof expected / sizeof *expected; ++i)
        if (expected[i].when && strstr(line, expected[i].text) != NULL)
            return 1;
    return 0;
}

struct findings {
    int lines, refusals, wrong;
};

static void read_lines(const char *name, struct findings *found)
{
    char *text = scratch_read(scratch_path(name)), *rest = text, *line;

    while ((line = strsep(&rest, "\n")) != NULL) {
        found->lines += strstr(line, "this line is from the test") != NULL;
        found->refusals += strstr(line, "this library has no thread mode; start") != NULL;
        found->wrong += plan->wrong != NULL && strstr(line, plan->wrong->message) != NULL;
        if (is_remarkable(line) && !may_be_said(line))
            fail("%s has the line: %s", name, line);
    }
    free(text);
}

static int is_between(int n, const struct tally *tally)
{
    return n >= atomic_load(&tally->done) && n <= atomic_load(&tally->begun);
}

static void check_log(enum outcome outcome)
{
    struct findings logged = {0, 0, 0}, said = {0, 0, 0};
    char name[32];

    for (int i = -1; i < shared->rotations; ++i)
        for (int moved = 0; moved < 2; ++moved) {
            snprintf(name, sizeof name, i < 0 ? "%s/app.log" : "%s/app.log.%d", moved ? "moved" : "logs", i);
            read_lines(name, &logged);
        }
    read_lines("stderr", &said);
    if (!is_between(logged.lines, &shared->lines))
        fail("the log has %d lines of the program's own, and should have %d", logged.lines, shared->lines.done);
    if (!is_between(logged.refusals, &shared->refusals))
        fail("the log tells of %d threads that were refused, and should tell of %d", logged.refusals, shared->refusals.done);
    if (outcome == REFUSED && plan->wrong != NULL && logged.wrong + said.wrong == 0)
        fail("it was refused without \"%s\"", plan->wrong->message);
}

static void check_status(const char *what, int status, int expected)
{
    if (status != expected)
        fail("%s has ended with status %d, and should have with %d", what, status, expected);
}

/* Of the group's last master. */
static int foreseen_status(enum outcome outcome)
{
    static const int statuses[] = {[CALL_EXIT] = EXIT, [KILLED] = 128 + SIGKILL, [ENDINGS] = 0};

    switch (outcome) {
    case RUNS:
        return has_failed_too_often() || shared->sudden || is_mute(plan) ? shared->failed : statuses[plan->ending];
    case WORD:
        return plan->word->status;
    default:
        return outcome == REFUSED;
    }
}

/* Whether a process ends so whose parent has ended: a daemon's, or a worker's. */
static int is_left_behind(int status)
{
    return status == 0 || status == 127 || status == BROKEN_LOOP || status == BRIEF || status == 128 + SIGKILL;
}

static void check_statuses(enum outcome outcome)
{
    int expected = foreseen_status(outcome), refusals = launched_status == 1;

    for (int i = 0; i < n_others; ++i) {
        const struct end *end = &others[i];

        refusals += end->status == 1;
        if (end->pid == atomic_load(&shared->master))
            check_status("the master", end->status, expected);
        else if (!is_left_behind(end->status) && !(outcome == REFUSED && end->status == 1))
            fail("process %d was left behind, and has ended with status %d", end->pid, end->status);
    }
    if (outcome == REFUSED)
        check_status("the start", refusals, 1);
    else
        check_status("what was started", launched_status, launched == atomic_load(&shared->master) || outcome != RUNS ? expected : 0);
}

/* Nobody ends otherwise than by exit(), or because he was to. A group whose loop is broken does not wait for long. */
static void check_lives(void)
{
    for (int i = 0; i < CHILDREN; ++i) {
        const struct life *l = &shared->lives[i];

        if (l->pid != 0 && !l->dead && !l->left && (is_graceful() || plan->ending >= CALL_EXIT))
            fail("process %d has ended, and not by exit()", l->pid);
    }
}

static void check_callbacks(enum outcome outcome)
{
    int groups = shared->groups;

    if (outcome == RUNS && plan->ending < CALL_EXIT && groups != 1 + plan->again)
        fail("there were %d groups, and there should have been %d", groups, 1 + plan->again);
    if (shared->inits != plan->global_init * groups)
        fail("global_init was called %d times for %d groups", shared->inits, groups);
    if (shared->masters != (outcome == RUNS && !plan->seed_era && plan->master_process) * groups)
        fail("master_process was called %d times for %d groups", shared->masters, groups);
}

static void check_pid_file(enum outcome outcome)
{
    char name[32], expected[32], *text;

    if (outcome != RUNS && outcome != RETURNS)
        return;
    if (pid_file_holder() != 0)
        fail("the pid file is still locked");
    snprintf(name, sizeof name, "%s/melon.pid", folder());
    snprintf(expected, sizeof expected, "%d", outcome == RUNS ? shared->master : launched);
    text = scratch_read(scratch_path(name));
    if (shared->seconds == 0 && strcmp(text, expected) != 0)
        fail("the pid file holds \"%s\", and should hold \"%s\"", text, expected);
    free(text);
    /* A group below, or beside, that finds the old one free takes it. */
    if (shared->seconds + shared->nested == 0 && access(scratch_path(shared->moved ? "logs/melon.pid" : "moved/melon.pid"), F_OK) == 0)
        fail("the pid file was not moved with the log");
}

static int look_at_file(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    static const char *const known[] = {"shared", "melon.conf", "stderr", "terminal", "app.log", "melon.pid"};
    const char *name = path + ftw->base;

    (void)status;
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i)
        if (type == FTW_D || strncmp(name, known[i], strlen(known[i])) == 0)
            return 0;
    fail("the file %s is left", path);
}

static void check_life(enum outcome outcome)
{
    check_statuses(outcome);
    check_log(outcome);
    check_lives();
    check_callbacks(outcome);
    check_pid_file(outcome);
    CHECK_INT(nftw(scratch_dir, look_at_file, 16, FTW_PHYS), 0);
}

int main(int argc, char **argv)
{
    if (argc > 2 && argv[1][0] >= 'a' && argv[1][0] <= 'z') {
        snprintf(scratch_dir, sizeof scratch_dir, "%s", argv[2]);
        snprintf(scratch_conf_path, sizeof scratch_conf_path, "%s/melon.conf", scratch_dir);
        map_shared();
        return strcmp(argv[1], "life") == 0 ? live(argc, argv) : strcmp(argv[1], "second") == 0 ? be_second(argc, argv)
                                                                                              : be_program(strcmp(argv[1], "program") == 0);
    }
    begin_random(argc, argv, USUAL_STEPS, KINDS);
    CHECK_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    CHECK(signal(SIGINT, SIG_DFL) != SIG_ERR); /* a shell that starts this in the background has it ignored, and so would masters */
    scratch_make();
    do {
        enum outcome outcome = plan_life();

        start_life();
        await_life(outcome);
        check_life(outcome);
        CHECK_INT(munmap(shared, sizeof *shared), 0);
    } while (steps > 0);
    return 0;
}
