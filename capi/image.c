/*
 * image.c - a process made by fork gets a fresh engine: a second, pristine copy of this library.
 *
 * The parent loads the copy before its first fork and does not start it (copy.c); each of its children starts what it has
 * inherited. A child that forks in turn loads another. One that was forked without notice, by a program's own fork(), may
 * have inherited none and has to load it by itself.
 */
#include "engine.h"
#include "copy.h"
#include "gothread.h"
#include "loader.h"
#include "log.h"
#include "loop.h"
#include "poller.h"
#include "process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Address space that a Go runtime reserves when it starts: the summaries of its page allocator, an arena, and the stacks
 * of its threads. Most of it is never touched.
 */
#define RUNTIME_RESERVES ((size_t)1536 << 20)

extern const struct engine_table _mln_engine;

static const struct engine_table *table = &_mln_engine;
static uint64_t generation;
static struct engine_settings settings = {
    .backoff_min = 100, .backoff_max = 30000, .backoff_reset = 1000, .failure_window = 60000,
    .drain_timeout = 1000, .kill_timeout = 1000,
};
static __thread const struct engine_table *met; /* whose runtime knows this thread */
static atomic_uint users;                       /* how many threads that is */
static atomic_int rest_asked;                   /* how often the runtime's monitor was asked to rest */
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

/*
 * What the engine in `table` is to this process. It lies on a page that the kernel wipes in a child of any kind of fork:
 * that takes no system call to see, and no cooperation of whoever called fork.
 */
enum { FOREIGN = 0, LOADED, IN_USE };
static _Atomic int *standing;

static struct copy current;        /* whose table is in `table` */
static struct copy loaded;         /* where `spare` points */
static struct copy *_Atomic spare; /* what a child can start, if not NULL */

static atomic_int threads_doubted; /* a worker may have ended for want of one */

static int forked; /* this process was made by fork, and has an engine of its own or tries to get one */

/* Of Go's package runtime/cgo. They are not there yet when cgo links this package to look at it. */
extern cross_to_go *x_crosscall2_ptr __attribute__((weak));
extern uintptr_t _cgo_wait_runtime_init_done(void) __attribute__((weak));

struct copy_orders engine_orders = {.memory.end_thread = &x_crosscall2_ptr};

static struct sigaction original[NSIG]; /* dispositions before the Go runtime's own */
static sigset_t program_mask;

/* What is in force before a runtime starts: the program's. */
static void note_dispositions(void)
{
    for (int signo = 1; signo < NSIG; ++signo)
        (void)sigaction(signo, NULL, &original[signo]);
}

/*
 * Once a runtime has begun to start. It takes over faults, SIGPIPE and SIGURG, and has handlers that it finds run on the alternate
 * stack. It would make panics of the faults: a program that crashes, or a child of it, would not end by the signal and leave a core,
 * but with a trace of goroutines and status 2. SIGURG, with which it interrupts itself, it does not need: see the Makefile.
 */
static void restore_dispositions(void)
{
    struct sigaction now;

    for (int signo = 1; signo < NSIG; ++signo) {
        const struct sigaction *then = &original[signo];

        if (signo == SIGSTKFLT || sigaction(signo, NULL, &now) != 0) /* see gothread.c */
            continue;
        if (copy_holds(&current, (const void *)now.sa_sigaction) ||
            (now.sa_sigaction == then->sa_sigaction && now.sa_flags != then->sa_flags))
            (void)sigaction(signo, then, NULL);
    }
}

/*
 * In the log, where somebody looks: what the runtime says of it goes to standard error. A master waits longer than its workers,
 * which need as many threads each: those that get none end, and it lives.
 */
static int no_thread(int error_number)
{
    int is_master = atomic_load(&spare) != NULL;

    log_line(error, "no thread can be started: %s (see ulimit -u and -v, and the limits of the control group); this process tries it "
             "again for %s, and aborts then", strerror(error_number), is_master ? "ten seconds" : "a moment");
    return is_master ? 10000 : 0;
}

/*
 * Runs before the Go runtime's start-up, which is an ordinary constructor. The threads that the runtime makes inherit
 * this thread's signal mask: all blocked, so that no signal meant for the program lands on them.
 */
__attribute__((constructor(101))) static void before_runtime(int argc, char **argv)
{
    sigset_t all;

    if (!engine_orders.second) {
        note_dispositions();
        copy_note_arguments(argc, argv);
        engine_orders.no_thread = no_thread;
        current = copy_first();
    }
    gothread_prepare(engine_orders.create_thread);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &program_mask);
}

static int start(void);

/*
 * Runs after it: objects of cgo stand behind Go's own in the link order. The runtime starts in a thread of its own and reads files
 * of the system meanwhile. The program gets to run when it has closed them: it may count on the lowest free number, as in putting
 * the null device in the place of a standard descriptor, and may fork.
 */
__attribute__((constructor)) static void after_runtime(void)
{
    int cancel_state;

    /* A thread that is cancelled in there would keep the loader's lock, and leave half a library. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    if (!engine_orders.second) {
        (void)_cgo_wait_runtime_init_done();
        restore_dispositions();
        gothread_settle(); /* programs that put back all signals do so first of all */
    }
    pthread_setcancelstate(cancel_state, &cancel_state);
    pthread_sigmask(SIG_SETMASK, &program_mask, NULL);
    if (!engine_orders.second)
        (void)start(); /* engine() reports a failure, if there ever is a need for one */
}

uint64_t engine_generation(void)
{
    return generation;
}

/*
 * The first call of Go code in a thread, which returns when the runtime is up. Signals are blocked: the stack that Go code
 * runs on has no room for a handler yet; see room() in engine.go. And a runtime that meets a thread unblocks faults,
 * SIGCHLD and SIGPROF in it and leaves them so: a program that waits for SIGCHLD with sigwait() or by a signalfd,
 * for which it has to be blocked, would wait in vain.
 *
 * It also gives a thread that has no alternate stack for handlers one of its own, of 32 KiB and without a guard page: a handler of the
 * program with SA_ONSTACK, which runs on the thread's stack otherwise, would write over what lies below. Nothing of the
 * runtime's needs it, which handles no signal in such a thread.
 *
 * A runtime with one processor is up sooner, and a worker seldom needs another. When a second thread comes it gets all of
 * them, or one loop that waits in Go would hold up the other.
 */
static void meet(void)
{
    struct engine_settings told = settings;
    unsigned others = atomic_fetch_add(&users, 1);
    sigset_t all, mask;
    stack_t stack;

    if (others > 0)
        monitor_resume(&table->orders->monitor);
    told.all_processors = table->orders->second && copy_has_one_processor() && others == 1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    (void)sigaltstack(NULL, &stack);
    table->configure(&told);
    if (stack.ss_flags & SS_DISABLE)
        (void)sigaltstack(&stack, NULL);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    met = table;
}

/* The thread that calls Go for the first time in this moment either sees that the monitor is to rest, or is seen here. */
void engine_rest(void)
{
    enum { TRIES = 64, PATIENCE = 10 };
    struct sigaction now;

    if (atomic_load(&users) > 1 || rest_asked == TRIES)
        return;
    /* The program may have taken the signal, or put all of them back to what they do by themselves: end it. */
    if (sigaction(SIGSTKFLT, NULL, &now) != 0 || !copy_holds(&current, (const void *)now.sa_sigaction)) {
        rest_asked = TRIES;
        return;
    }
    monitor_rest(&table->orders->monitor, rest_asked++ == 0 ? PATIENCE : 0);
    if (atomic_load(&users) > 1)
        monitor_resume(&table->orders->monitor);
}

const struct engine_table *engine_loaded(void)
{
    if (standing == NULL || atomic_load_explicit(standing, memory_order_relaxed) != IN_USE)
        return NULL;
    if (met != table)
        meet();
    return table;
}

const struct engine_settings *engine_settings(void)
{
    return &settings;
}

void engine_set(const struct engine_settings *all)
{
    settings = *all;
    if (engine_loaded() != NULL)
        table->configure(&settings);
}

uint32_t engine_max_payload(void)
{
    return settings.max_payload != 0 ? settings.max_payload : ENGINE_DEFAULT_MAX_PAYLOAD;
}

/* In the first process only: the page that tells processes apart, and the hooks around fork. */
static int start(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int error_number;

    if (page == MAP_FAILED)
        return -1;
    if (madvise(page, size, MADV_WIPEONFORK) != 0 ||
        (error_number = pthread_atfork(process_before_fork, process_after_fork_parent, process_after_fork_child),
         errno = error_number, error_number != 0)) {
        error_number = errno;
        munmap(page, size);
        errno = error_number;
        return -1;
    }
    standing = page;
    atomic_store(standing, LOADED);
    return 0;
}

/* The counter makes it differ from the parent's, the pid from its siblings'. */
static void new_generation(void)
{
    generation = ((uint64_t)getpid() << 32) | ((generation + 1) & UINT32_MAX);
}

/* Makes the engine in `table` this process's. */
static void adopt(void)
{
    if (generation >> 32 != (uint64_t)getpid())
        new_generation();
    meet();
    atomic_store(standing, IN_USE);
}

/*
 * 0, or -1 after so many seconds; 0: waits for ever. A thread that has the mutex cannot be cancelled, as one that has a lock of lock.h;
 * it goes on with what it could before.
 */
static int begin_loading(int seconds, int *cancel_state)
{
    struct timespec limit;
    int result;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, cancel_state);
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += seconds;
    result = seconds == 0 ? pthread_mutex_lock(&loading) : pthread_mutex_timedlock(&loading, &limit);
    if (result == 0)
        return 0;
    pthread_setcancelstate(*cancel_state, cancel_state);
    return -1;
}

static void end_loading(int cancel_state)
{
    pthread_mutex_unlock(&loading);
    pthread_setcancelstate(cancel_state, &cancel_state);
}

const struct engine_table *engine(void)
{
    const struct engine_table *current = engine_loaded();
    int cancel_state;

    if (current != NULL)
        return current;
    (void)begin_loading(0, &cancel_state);
    if ((current = engine_loaded()) == NULL) {
        if (standing == NULL && start() != 0)
            log_line(error, "cannot start the event engine: %s", strerror(errno));
        else if (atomic_load(standing) == LOADED)
            adopt();
        else
            (void)engine_renew();
        current = engine_loaded();
    }
    end_loading(cancel_state);
    return current;
}

int engine_awaits(void)
{
    return standing != NULL && atomic_load(standing) == FOREIGN && atomic_load(&spare) != NULL &&
           generation >> 32 == (uint64_t)getpid();
}

void engine_before_fork(int memory_used)
{
    poller_before_fork(&current);
    gomemory_before_fork(&current.table->orders->memory, memory_used);
}

void engine_after_fork_parent(void)
{
    gomemory_after_fork_parent(&current.table->orders->memory);
}

void engine_after_fork_child(void)
{
    gomemory_after_fork_child(&current.table->orders->memory);
    poller_after_fork_child();
    loading = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    new_generation(); /* now, not when an engine is needed: a loop of the parent may be on the stack */
}

int engine_withheld(void)
{
    return gomemory_withheld();
}

/* Makes sure that there is a spare copy. */
static int load_spare(char reason[COPY_REASON_MAX])
{
    if (atomic_load(&spare) != NULL)
        return 0;
    if (forked && loader_check(reason, COPY_REASON_MAX) != 0)
        return -1;
    if (copy_load(&loaded, reason) != 0)
        return -1;
    atomic_store(&spare, &loaded); /* last: another thread may fork at any moment */
    return 0;
}

/*
 * A thread that waits here may be in the constructor of a library that the program loads, with the loader's lock, and the one that is
 * loading the copy may wait for that.
 */
static int load_spare_once(char reason[COPY_REASON_MAX])
{
    enum { WAIT_S = 5 };
    int cancel_state, result, saved;

    if (begin_loading(WAIT_S, &cancel_state) != 0) {
        snprintf(reason, COPY_REASON_MAX, "another thread is loading one, and waits for the dynamic loader, which this thread may be inside "
                 "of; call mln_fork_prepare() before there are threads");
        errno = EDEADLK;
        return -1;
    }
    result = load_spare(reason);
    saved = errno;
    end_loading(cancel_state);
    errno = saved;
    return result;
}

void engine_expect_forks(void)
{
    char reason[COPY_REASON_MAX];

    if (engine() != NULL)
        (void)load_spare_once(reason);
}

void engine_doubt_threads(void)
{
    atomic_store(&threads_doubted, 1);
}

/* The threads of a worker, with its first, soon after its engine has started: as many as were seen. */
enum { WORKER_THREADS = 6 };

/*
 * Trying costs as much as a fork: it is done where a worker has aborted, as a runtime does that gets no thread. Its successor would
 * else do the same, and the next one, for as long as there is no room.
 */
static int lacks_threads(void)
{
    int error_number = atomic_load(&threads_doubted) ? gothread_try(WORKER_THREADS) : 0;

    if (error_number == 0)
        atomic_store(&threads_doubted, 0);
    return error_number;
}

int engine_prepare_fork(char reason[ENGINE_REASON_MAX])
{
    char no_copy[COPY_REASON_MAX];
    int saved;

    if (engine() == NULL) {
        saved = errno;
        snprintf(reason, ENGINE_REASON_MAX, "there is no event engine");
    } else if (load_spare_once(no_copy) != 0) {
        saved = errno;
        snprintf(reason, ENGINE_REASON_MAX, "it needs a copy of libmln.so of its own: %s", no_copy);
    } else if ((saved = lacks_threads()) != 0) {
        snprintf(reason, ENGINE_REASON_MAX, "it needs %d threads, for which there is no room (see ulimit -u and -v, and the limits of the "
                 "control group): %s", WORKER_THREADS, strerror(saved));
    } else {
        void *space = mmap(NULL, RUNTIME_RESERVES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (space != MAP_FAILED) {
            munmap(space, RUNTIME_RESERVES);
            return 0;
        }
        saved = errno;
        snprintf(reason, ENGINE_REASON_MAX, "it needs %zu MiB of address space beyond this process's (see ulimit -v): %s",
                 RUNTIME_RESERVES >> 20, strerror(saved));
    }
    errno = saved;
    return -1;
}

int engine_renew(void)
{
    char reason[COPY_REASON_MAX];

    forked = 1;
    if (generation >> 32 != (uint64_t)getpid()) /* by a fork that told nobody, as _Fork() does */
        loop_signals_after_fork_child();
    if (load_spare(reason) != 0) { /* only where the fork was not announced */
        int saved = errno;
        log_line(error, "cannot load a copy of libmln.so for this process: %s", reason);
        errno = saved;
        return -1;
    }
    current = loaded;
    table = current.table;
    atomic_store(&spare, NULL);
    atomic_store(&users, 0);
    rest_asked = 0;
    note_dispositions();
    copy_start(&current);
    restore_dispositions();
    adopt();
    return 0;
}
