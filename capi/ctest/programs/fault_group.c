/*
 * The whole life of a group, in which every part that the machine may refuse is tried again: start, fork, spawn, restart,
 * traffic, reload, stop. fault_test.go runs it again and again, and has one system call after another fail; without that it
 * passes at the first try.
 *
 * What must hold whatever fails: what was accepted arrives once and in order as long as both ends live, the group is complete
 * in the end, and no process, descriptor or mapping is left. A start that is refused says so by its result, and the status is 3.
 *
 * With the argument "stubborn" the program that is executed does not end when it is asked to, nor upon SIGTERM. With the number of the
 * phase fork, spawn or restart as its argument, what that phase does is done again and again, and the stop follows.
 * deadline: 40s
 */
#include "check.h"
#include "framework.h"
#include "mln_fork.h"
#include "processes.h"
#include "scratch.h"

#include <sys/prctl.h>

enum { HELLO = 3000, NUMBERED, ECHOED, STATE };
enum { WORKERS = 2, MESSAGES = 40, LAST_WORDS = 10, SMALL = 100, LARGE = 150000, LIVES_MAX = 200, REFUSED = 3, REFUSALS_MAX = 20, TIMES = 12 };

/* See testdata/fault.c. */
enum { FAULT_PHASE = 0x6d6c6e00, FAULT_SPARED = 0x80, FAULT_EXPOSED };
enum phase { NONE, START, FORK, SPAWN, RESTART, TRAFFIC, RELOAD, STOP };

/* What a worker tells of itself: at first, and when it has been sent all messages or a configuration. */
struct state {
    int value, program, descriptors;
};

/* A life of a worker, as the master knows it. */
struct life {
    pid_t pid;
    struct state state;
    unsigned sent, echoed;
    int killed;
};

static struct life lives[LIVES_MAX];
static int life_count, step, refused, killed, left, reloads;
static long long next_reload;
static unsigned messages = MESSAGES; /* that each worker is to be sent */
static enum phase current;
static pid_t master;
static mln_event_t *loop;
static char *program;
static int is_program; /* this process is a worker that was executed */
static int stubborn;   /* one that was executed does not end by itself */

/* The phase that is gone through again and again, how often it was, how much memory is mapped, and how often that grew. */
static enum phase repeated;
static int times, rises;
static long size;

static void begin(enum phase phase)
{
    current = phase;
    (void)prctl(FAULT_PHASE + (int)phase, 0, 0, 0, 0);
}

/* How much memory is mapped, whatever it is for. */
static long mapped_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages;

    CHECK(file != NULL);
    CHECK_INT(fscanf(file, "%ld", &pages), 1);
    fclose(file);
    return pages;
}

/* Only what the library does is to fail. */
static void spare(int spared)
{
    (void)prctl(FAULT_PHASE + (spared ? FAULT_SPARED : FAULT_EXPOSED), 0, 0, 0, 0);
}

/* ---- the configuration ---- */

static void write_value(int value)
{
    /* In that time every other worker ends. */
    const char *haste = stubborn ? "worker_drain_timeout 2000; worker_kill_timeout 500;\n" : "";
    const char *folder = value == 1 ? "" : "moved/";
    char text[2000];

    snprintf(text, sizeof text,
             "framework \"multiprocess\"; worker_proc %d; log_level \"report\"; log_path \"./%slog\"; value %d;\n"
             "worker_backoff_min 10; worker_backoff_max %d;\n%s",
             WORKERS, folder, value, repeated == NONE ? 100 : 10, haste);
    snprintf(scratch_conf_path, sizeof scratch_conf_path, "%s/melon.conf", scratch_dir);
    scratch_write(scratch_path("next.conf"), text);
    CHECK_INT(rename(scratch_path("next.conf"), scratch_conf_path), 0);
}

static int value(void)
{
    mln_conf_domain_t *cd = mln_conf()->search(mln_conf(), "main");

    return (int)cd->search(cd, "value")->search(cd->search(cd, "value"), 1)->val.i;
}

/* ---- in a worker ---- */

static unsigned expected;

/*
 * A call whose result is all that there is to say: the library does not log what it refuses to send, or to register. Everything else
 * that fails must have a line in the log.
 */
static void report_result(const char *what)
{
    fprintf(stderr, "told: %s: %s\n", what, strerror(errno));
}

/* What a worker that cannot do its work does: it ends, and another takes its place. */
static void tell(mln_event_t *ev, mln_u32_t type, void *message, mln_size_t size)
{
    if (mln_ipc_worker_send_prepare(ev, type, message, size) != 0) {
        report_result("a worker cannot send");
        exit(4);
    }
}

static void tell_state(mln_u32_t type)
{
    struct state state = {is_program ? 0 : value(), is_program, 0};

    spare(1);
    state.descriptors = fd_count();
    spare(0);
    tell(loop, type, &state, sizeof state);
}

static int reloaded(void *data)
{
    (void)data;
    if (getpid() != master)
        tell_state(STATE);
    return 0;
}

static void on_numbered(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)udata;
    CHECK_INT(*(unsigned *)buf, expected);
    CHECK_INT(len, expected % 10 == 9 ? LARGE : SMALL);
    tell(ev, ECHOED, buf, len);
    if (++expected == MESSAGES)
        tell_state(STATE);
}

static void in_worker(mln_event_t *ev)
{
    loop = ev;
    tell_state(HELLO);
}

static void linger(void)
{
    for (;;)
        pause();
}

static int be_a_program(void)
{
    is_program = 1;
    if (stubborn) {
        signal(SIGTERM, SIG_IGN);
        CHECK_INT(atexit(linger), 0);
    }
    if ((loop = mln_event_new()) == NULL || mln_fork_worker_ipc_handler_set(NUMBERED, on_numbered, NULL) != 0)
        return 4;
    mln_fork_worker_events_set(loop);
    tell_state(HELLO);
    mln_event_dispatch(loop);
    return 5;
}

/* ---- in the master ---- */

static struct life *life_of(pid_t pid)
{
    for (int i = life_count - 1; i >= 0; --i)
        if (lives[i].pid == pid)
            return &lives[i];
    return NULL;
}

static void on_hello(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)udata;
    CHECK_INT(len, sizeof(struct state));
    CHECK(life_of(((mln_fork_t *)f_ptr)->pid) == NULL);
    CHECK(life_count < LIVES_MAX);
    lives[life_count].pid = ((mln_fork_t *)f_ptr)->pid;
    memcpy(&lives[life_count++].state, buf, len);
}

static void on_echoed(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *life = life_of(((mln_fork_t *)f_ptr)->pid);

    (void)ev;
    (void)udata;
    CHECK(life != NULL);
    CHECK_INT(*(unsigned *)buf, life->echoed);
    CHECK_INT(len, life->echoed % 10 == 9 ? LARGE : SMALL);
    CHECK(++life->echoed <= life->sent);
}

static void on_state(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *life = life_of(((mln_fork_t *)f_ptr)->pid);

    (void)ev;
    (void)udata;
    CHECK(life != NULL);
    CHECK_INT(len, sizeof(struct state));
    memcpy(&life->state, buf, len);
}

/* What a walk over the workers finds. */
struct survey {
    int all, greeted, programs, answered, informed;
    int descriptors, program_descriptors; /* the most that a forked worker has, and an executed one */
};

static int survey_one(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct life *life = life_of(f->pid);
    struct survey *found = data;
    int *most;

    (void)ev;
    ++found->all;
    if (life == NULL || life->killed)
        return 0;
    ++found->greeted;
    found->programs += life->state.program;
    found->answered += life->echoed == MESSAGES;
    found->informed += life->state.program || life->state.value == 2;
    most = life->state.program ? &found->program_descriptors : &found->descriptors;
    if (life->state.descriptors > *most)
        *most = life->state.descriptors;
    return 0;
}

static struct survey last; /* before the stop */

static struct survey survey(void)
{
    struct survey found = {0, 0, 0, 0, 0, 0, 0};

    CHECK_INT(mln_fork_iterate(loop, survey_one, &found), 0);
    return found;
}

static int kill_one(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct life *life = life_of(f->pid);

    (void)ev;
    (void)data;
    CHECK(life != NULL);
    life->killed = 1;
    ++killed;
    return kill(f->pid, SIGKILL);
}

/* Kills the executed ones, and so many of the others. */
static int kill_some(mln_event_t *ev, mln_fork_t *f, void *data)
{
    int *others = data;

    return life_of(f->pid)->state.program || (*others)-- > 0 ? kill_one(ev, f, NULL) : 0;
}

/* The rest of what one worker is to be sent; what is refused is tried again later. */
static int feed(mln_event_t *ev, mln_fork_t *f, void *data)
{
    static unsigned message[LARGE / sizeof(unsigned) + 1];
    struct life *life = life_of(f->pid);

    (void)data;
    while (life != NULL && life->sent < messages) {
        message[0] = life->sent;
        if (mln_ipc_master_send_prepare(ev, NUMBERED, message, life->sent % 10 == 9 ? LARGE : SMALL, f) != 0) {
            report_result("a message is not accepted");
            ++refused;
            return 0;
        }
        ++life->sent;
    }
    return 0;
}

static void spawn(void)
{
    static char role[] = "worker", manner[] = "stubborn";
    mln_s8ptr_t *args = calloc(3, sizeof *args);

    CHECK(args != NULL);
    args[0] = program;
    args[1] = role;
    args[2] = manner;
    if (mln_fork_spawn(repeated == SPAWN ? M_PST_DFL : M_PST_SUP, args, stubborn ? 3 : 2, loop) == 0)
        return;
    CHECK(errno != 0);
    ++refused;
    free(args);
}

/* 0 in the child. Where every fork is refused, there is no group. */
static int fork_one(void)
{
    int result = mln_fork_restart(loop);

    if (result < 0) {
        CHECK(errno != 0);
        if (++refused == REFUSALS_MAX)
            mln_event_break_set(loop);
    }
    return result;
}

/* What was accepted in the end and not answered. */
static int unanswered(void)
{
    int n = 0;

    for (const struct life *life = lives; life < lives + life_count; ++life)
        n += life->sent > MESSAGES ? (int)(life->sent - life->echoed) : 0;
    return n;
}

/* Whether so many workers are there, and every one has said so. */
static int complete(int all, int programs)
{
    struct survey found = survey();

    return found.all == all && found.greeted == all && found.programs == programs;
}

/* Ends those that the library has left to themselves, since it could not kill them. */
static void end_left(void)
{
    for (const struct life *life = lives; life < lives + life_count; ++life) {
        if (waitpid(life->pid, NULL, WNOHANG) != 0)
            continue; /* no child any more */
        ++left;
        CHECK_INT(kill(life->pid, SIGKILL), 0);
        CHECK_INT(waitpid(life->pid, NULL, 0), life->pid);
    }
}

static void next_phase(enum phase phase)
{
    begin(phase);
    step = 0;
}

static int stop(struct survey found)
{
    last = found;
    next_phase(STOP);
    messages += LAST_WORDS; /* which are under way when the workers are asked to end */
    CHECK_INT(mln_fork_iterate(loop, feed, NULL), 0);
    CHECK_INT(raise(SIGTERM), 0);
    return 1;
}

/* Goes through the phase once more when nobody is about to come or to go. */
static int repeat(struct survey found)
{
    int plain = current == RESTART, executed = 0;
    long before = size;

    if (found.all > found.greeted || found.all < WORKERS + (current != FORK) + plain)
        return 1;
    if (current == SPAWN && found.programs > 0) {
        CHECK_INT(mln_fork_iterate(loop, kill_some, &executed), 0);
        return 1;
    }
    spare(1);
    size = mapped_pages();
    spare(0);
    rises += times > 0 && size > before;
    if (times++ == TIMES)
        return stop(found);
    next_phase(current);
    if (current == FORK)
        return fork_one();
    if (current == SPAWN)
        spawn();
    else
        CHECK_INT(mln_fork_iterate(loop, kill_some, &plain), 0);
    return 1;
}

/* Goes on with the phase as far as it can be gone. 0 in the child of a fork. */
static int advance(void)
{
    struct survey found = survey();

    if (current != NONE && current == repeated)
        return repeat(found);
    switch (current) {
    case START: /* the framework goes on with fewer workers than it was to have */
        if (found.all < WORKERS && life_count == found.all && ++step > 20) {
            step = 0;
            return fork_one();
        }
        if (complete(WORKERS, 0))
            next_phase(FORK);
        return 1;
    case FORK:
        if (found.all < WORKERS + 1 && found.all == found.greeted && step++ == 0)
            if (fork_one() == 0)
                return 0;
        if (refused > 0 && step > 50)
            step = 0;
        if (complete(WORKERS + 1, 0))
            next_phase(SPAWN);
        return 1;
    case SPAWN:
        if (found.all == WORKERS + 1 && step++ == 0)
            spawn();
        if (refused > 0 && step > 50)
            step = 0;
        if (complete(WORKERS + 2, 1)) {
            next_phase(RESTART);
            if (repeated != RESTART)
                CHECK_INT(mln_fork_iterate(loop, kill_one, NULL), 0);
        }
        return 1;
    case RESTART:
        if (complete(WORKERS + 2, 1))
            next_phase(TRAFFIC);
        return 1;
    case TRAFFIC:
        CHECK_INT(mln_fork_iterate(loop, feed, NULL), 0);
        if (found.all == WORKERS + 2 && found.answered == found.all) {
            spare(1);
            write_value(2);
            spare(0);
            next_phase(RELOAD);
        }
        return 1;
    case RELOAD:
        if (found.all == WORKERS + 2 && found.informed == found.all && value() == 2)
            return stop(found);
        if (now_ms() >= next_reload) {
            reloads += next_reload != 0;
            next_reload = now_ms() + 2000; /* not so soon that a busy host is taken for a refusal */
            CHECK_INT(raise(SIGUSR2), 0);
        }
        return 1;
    default:
        return 1;
    }
}

static void tick(mln_event_t *ev, void *data)
{
    mln_event_timer_t *timer;

    (void)data;
    if (advance() == 0)
        return; /* a worker */
    timer = mln_event_timer_set(ev, 5, NULL, tick);
    CHECK(timer != NULL);
}

static void in_master(mln_event_t *ev)
{
    loop = ev;
    tick(ev, NULL);
}

static int prepare(void)
{
    if (mln_ipc_handler_register(HELLO, on_hello, NULL, NULL, NULL) != NULL &&
        mln_ipc_handler_register(NUMBERED, NULL, on_numbered, NULL, NULL) != NULL &&
        mln_ipc_handler_register(ECHOED, on_echoed, NULL, NULL, NULL) != NULL &&
        mln_ipc_handler_register(STATE, on_state, NULL, NULL, NULL) != NULL && mln_conf_hook_set(reloaded, NULL) != NULL)
        return 0;
    report_result("a handler is not registered");
    return -1;
}

/* What is in a file of the log, which may not be there. */
static void show_log(const char *path)
{
    char *text, *rest, *line;

    if (access(path, F_OK) != 0)
        return;
    rest = text = scratch_read(path);
    while ((line = strsep(&rest, "\n")) != NULL && rest != NULL)
        printf("log: %s\n", line);
    free(text);
}

int main(int argc, char **argv)
{
    struct mln_framework_attr attr = {argc, argv, prepare, NULL, in_master, in_worker};
    int result;

    master = getpid();
    program = argv[0];
    for (int i = 1; i < argc; ++i)
        stubborn |= strcmp(argv[i], "stubborn") == 0;
    if (argc > 1 && strspn(argv[1], "0123456789") > 0)
        repeated = (enum phase)atoi(argv[1]);
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return be_a_program();
    scratch_make();
    CHECK_INT(chdir(scratch_dir), 0); /* in which the path of the log begins, so that no call is made for the folders above it */
    write_value(1);
    mln_path_hook_set(m_p_conf, scratch_conf_file);
    begin(START);
    result = mln_framework_init(&attr);
    if (getpid() != master)
        exit(6);
    if (result != 0)
        begin(NONE);
    show_log(scratch_path("log"));
    show_log(scratch_path("moved/log")); /* since the reload */
    if (life_count == 0 && (result != 0 || refused == REFUSALS_MAX))
        return REFUSED;
    CHECK_INT(result, 0);
    CHECK_INT(current, STOP);
    begin(NONE);
    if (stubborn)
        end_left();
    CHECK_INT(child_count(), 0);
    printf("refused=%d ended=%d reloads=%d unanswered=%d descriptors=%d mappings=%d of-files=%d in-worker=%d in-program=%d rises=%d\n",
           refused, life_count - last.all - killed + left, reloads, unanswered(), fd_count(), mapping_count(""), mapping_count("/"),
           last.descriptors, last.program_descriptors, rises);
    return 0;
}
