/*
 * gothread.c - the Go runtime's threads: their signal masks, and the rest of the one that watches over the others.
 *
 * Masks
 *
 * They inherit a mask that blocks everything (see image.c), but when the runtime takes a thread over it unblocks some
 * signals in it for good: faults, which it needs, but also SIGCHLD, SIGPROF and the first real-time signal, which
 * are none of its business. A program that waits for SIGCHLD by sigwait() or a signalfd, and blocks it in its own threads,
 * would lose it to one of these; a handler of the program could run on a goroutine's small stack.
 *
 * A mask can be changed by its thread alone, or by a signal handler that runs in it, as the mask to return to. Hence every
 * thread starts with one signal pending which the runtime unblocks as well, nobody sends and nobody uses: SIGSTKFLT. It is
 * delivered at the very moment at which the runtime unblocks it, and its handler puts the mask right.
 *
 * The monitor
 *
 * The runtime's second thread takes processors (in the runtime's sense) from threads that are away from Go for more than some
 * microseconds, gives them to others, and interrupts who has one for too long. Where a single thread calls Go, and mostly waits in C,
 * there is nobody to give them to. But the thread has to get one back whenever it returns, is interrupted because it seems to have
 * had it since before it left, and the monitor runs along for a while each time: to a process that was idle for a second all that
 * takes ten times as long as its work. So the monitor rests, inside of a signal handler that interrupts its sleep, where it holds no
 * lock; the thread keeps its processor while it waits. It is resumed for good when a second thread calls Go.
 *
 * What else the monitor would do is not missed: it forces a garbage collection every two minutes, and wakes what gives memory back. A
 * collection itself does not need it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "copy.h"
#include "gothread.h"

/* Which of the threads that a runtime makes is the monitor. The handler sees to it that no other one is ever made to rest. */
enum { MONITOR = 2 };

/*
 * How much longer than it wants to the monitor may sleep, in nanoseconds: it sleeps most of the time then, and is found asleep.
 * It goes up to so long by itself.
 */
enum { MONITOR_SLACK = 10000000 };

enum monitor_rest { AWAKE, TO_REST, RESTING };

static gothread_creator *create;
static int threads; /* that were made; atomic */
static int64_t patient_until; /* by milliseconds(), while none can be made; 0: they can; atomic */

/* ---- the monitor ---- */

/*
 * Whether a thread was interrupted in the system call by which the monitor sleeps: a nanosleep of 20 microseconds to 10 milliseconds.
 * That call is made with no lock held.
 */
static int asleep(const ucontext_t *at)
{
#if defined __x86_64__
    static const unsigned char instruction[] = {0x0f, 0x05}; /* syscall */
    const greg_t *r = at->uc_mcontext.gregs;
    const struct timespec *time;

    if (r[REG_RAX] != -EINTR || memcmp((const char *)r[REG_RIP] - sizeof instruction, instruction, sizeof instruction) != 0)
        return 0;
    time = (const struct timespec *)r[REG_RDI]; /* the number of the call is gone */
    return time != NULL && time->tv_sec == 0 && time->tv_nsec >= 20000 && time->tv_nsec <= 10000000;
#elif defined __aarch64__
    static const uint32_t instruction = 0xd4000001; /* svc 0 */

    return at->uc_mcontext.regs[8] == SYS_nanosleep && at->uc_mcontext.regs[0] == (unsigned long long)-EINTR &&
           memcmp((const char *)at->uc_mcontext.pc - sizeof instruction, &instruction, sizeof instruction) == 0;
#else
    (void)at;
    return 0;
#endif
}

static int is_monitor(const struct monitor *m)
{
    return __atomic_load_n(&m->thread, __ATOMIC_ACQUIRE) == (int)syscall(SYS_gettid);
}

/* In the handler. */
static void rest_if_asked(struct monitor *m, const ucontext_t *at)
{
    uint32_t asked = TO_REST;

    if (__atomic_load_n(&m->rest, __ATOMIC_SEQ_CST) != TO_REST || !is_monitor(m) || !asleep(at) ||
        !__atomic_compare_exchange_n(&m->rest, &asked, RESTING, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return;
    while (__atomic_load_n(&m->rest, __ATOMIC_SEQ_CST) == RESTING)
        (void)syscall(SYS_futex, &m->rest, FUTEX_WAIT_PRIVATE, RESTING, NULL, NULL, 0);
}

void monitor_rest(struct monitor *m, int patience)
{
    static const struct timespec pause = {0, 100000};

    for (;; --patience) {
        int thread = __atomic_load_n(&m->thread, __ATOMIC_ACQUIRE);

        if (__atomic_load_n(&m->rest, __ATOMIC_SEQ_CST) == RESTING)
            return;
        if (thread != 0) {
            __atomic_store_n(&m->rest, TO_REST, __ATOMIC_SEQ_CST);
            (void)syscall(SYS_tgkill, getpid(), thread, SIGSTKFLT);
        }
        if (patience <= 0)
            return;
        (void)nanosleep(&pause, NULL);
    }
}

void monitor_resume(struct monitor *m)
{
    __atomic_store_n(&m->rest, AWAKE, __ATOMIC_SEQ_CST);
    (void)syscall(SYS_futex, &m->rest, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* ---- masks ---- */

static __thread int just_begun; /* this thread, whose signal is under way */
static int under_way;           /* in how many threads it is; atomic */

/* Whether it was sent from here. Where the account's room for signals is used up the kernel does not say by whom one was sent. */
static int is_ours(const siginfo_t *info)
{
    if (info->si_code == SI_USER && info->si_pid == 0)
        return just_begun || is_monitor(&engine_orders.monitor);
    return info->si_code == SI_TKILL && info->si_pid == getpid();
}

static void put_mask_right(int signo, siginfo_t *info, void *context)
{
    static const int needed[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV};
    sigset_t *mask = &((ucontext_t *)context)->uc_sigmask;
    int saved_errno = errno; /* sigaddset refuses some */

    (void)signo;
    if (!is_ours(info))
        return; /* ignored, in whatever thread */
    if (just_begun)
        __atomic_sub_fetch(&under_way, 1, __ATOMIC_RELAXED);
    just_begun = 0;
    /* Only the bits that the kernel knows lie in the context; the C library's own signals stay out. */
    for (int i = 1; i <= SIGRTMIN; ++i)
        (void)sigaddset(mask, i);
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; ++i)
        (void)sigdelset(mask, needed[i]);
    if (is_monitor(&engine_orders.monitor))
        (void)sigdelset(mask, SIGSTKFLT);
    rest_if_asked(&engine_orders.monitor, context);
    errno = saved_errno;
}

void gothread_prepare(gothread_creator *known)
{
    struct sigaction action = {.sa_sigaction = put_mask_right, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

    if ((create = known) == NULL)
        create = (gothread_creator *)dlsym(RTLD_DEFAULT, "pthread_create"); /* the C library's, or a sanitizer's around it */
    if (create == pthread_create) /* linked into a program, instead of a library that hides it */
        create = (gothread_creator *)dlsym(RTLD_NEXT, "pthread_create");
    sigfillset(&action.sa_mask);
    (void)sigaction(SIGSTKFLT, &action, NULL);
}

gothread_creator *gothread_create(void)
{
    return create;
}

/*
 * What a thread begins with that has not begun. Not from malloc(): a child that is forked in this moment is without the thread, and would
 * have lost it, and what the runtime has given it as its argument.
 */
struct beginning {
    int taken; /* atomic */
    int number;
    void *(*function)(void *);
    void *argument;
};
static struct beginning beginnings[64];

static void *begin(void *data)
{
    struct beginning *waiting = data, b = *waiting;
    struct sigaction now;

    __atomic_store_n(&waiting->taken, 0, __ATOMIC_RELEASE);
    if (b.number == MONITOR) {
        (void)prctl(PR_SET_TIMERSLACK, (unsigned long)MONITOR_SLACK, 0, 0, 0);
        __atomic_store_n(&engine_orders.monitor.thread, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
    }
    /* Unless the program has taken this signal, too: it would see one that was not sent by anybody. */
    if (sigaction(SIGSTKFLT, NULL, &now) == 0 && now.sa_sigaction == put_mask_right) {
        just_begun = 1;
        __atomic_add_fetch(&under_way, 1, __ATOMIC_RELAXED);
        (void)syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGSTKFLT);
    }
    return b.function(b.argument);
}

static int64_t milliseconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A thread could not be made: whether to try it again, after a while. */
static int is_patient(int error_number)
{
    int64_t until = __atomic_load_n(&patient_until, __ATOMIC_RELAXED);

    if (until == 0) {
        until = milliseconds() + engine_orders.no_thread(error_number);
        __atomic_store_n(&patient_until, until, __ATOMIC_RELAXED);
    }
    return error_number == EAGAIN && milliseconds() < until;
}

/* What the runtime calls. Not visible outside of this library. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *), void *argument)
{
    int number = __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED), error_number;
    struct beginning *b = &beginnings[(unsigned)number % (sizeof beginnings / sizeof beginnings[0])];

    if (create == NULL || __atomic_exchange_n(&b->taken, 1, __ATOMIC_ACQUIRE) != 0)
        return EAGAIN; /* the runtime tries it again */
    b->number = number;
    b->function = function;
    b->argument = argument;
    while ((error_number = create(thread, attributes, begin, b)) != 0 && is_patient(error_number))
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
    if (error_number != 0)
        __atomic_store_n(&b->taken, 0, __ATOMIC_RELEASE);
    else
        __atomic_store_n(&patient_until, 0, __ATOMIC_RELAXED);
    return error_number;
}

void gothread_settle(void)
{
    enum { TRIES = 2000 };
    static const struct timespec pause = {0, 50000};

    for (int i = 0; i < TRIES && __atomic_load_n(&under_way, __ATOMIC_RELAXED) > 0; ++i)
        (void)nanosleep(&pause, NULL);
}

static void *stay(void *as_long_as)
{
    pthread_mutex_lock(as_long_as);
    pthread_mutex_unlock(as_long_as);
    return NULL;
}

int gothread_try(int n)
{
    pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
    pthread_t made[GOTHREAD_TRIED_MAX];
    sigset_t all, mask;
    int count = 0, error_number = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    pthread_mutex_lock(&held);
    while (count < n && (error_number = create(&made[count], NULL, stay, &held)) == 0)
        ++count;
    pthread_mutex_unlock(&held);
    for (int i = 0; i < count; ++i)
        (void)pthread_join(made[i], NULL);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return error_number;
}
