/*
 * A child does not inherit the memory of its parent's Go runtime, and misses nothing: signal handlers of its own have a stack, a
 * thread can end that has called Go. Where it can be in the middle of something that lies in that memory, it
 * has it: a message that a handler forks with, in whichever thread, and the stack that a handler of a signal runs on which has
 * interrupted Go code.
 * deadline: 60s
 */
#include "ipc.h"
#include "processes.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/time.h>

enum { QUESTION = 2000, ANSWER, SIZE = 100000, FINE = 7 };

/* ---- what is left out ---- */

struct range {
    unsigned long begin, end;
};

/* The areas of this process's memory that its children do not inherit. */
static int areas_left_out(struct range *out, int most)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    struct range now = {0, 0};
    char line[512];
    int n = 0;

    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long begin, end;

        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            now = (struct range){begin, end};
        else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " dc") != NULL && n < most)
            out[n++] = now;
    }
    fclose(file);
    return n;
}

static int is_mapped(unsigned long address)
{
    unsigned char resident;

    return mincore((void *)address, 1, &resident) == 0;
}

static void most_is_left_out(void)
{
    static struct range areas[256];
    int n = areas_left_out(areas, 256);
    unsigned long bytes = 0;
    pid_t pid;

    for (int i = 0; i < n; ++i) {
        CHECK(is_mapped(areas[i].begin));
        bytes += areas[i].end - areas[i].begin;
    }
    CHECK(bytes > 4 << 20); /* the first piece of a Go heap alone is as large */
    CHECK((pid = fork()) >= 0);
    if (pid == 0) {
        for (int i = 0; i < n; ++i)
            CHECK(!is_mapped(areas[i].begin));
        _exit(FINE);
    }
    CHECK_INT(await_status(pid), FINE);
}

/* ---- what a thread has of the runtime ---- */

static void on_signal(int signo)
{
    char room[2048];

    memset(room, signo, sizeof room);
}

static void catch_signal(int signo, int flags)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};

    CHECK_INT(sigaction(signo, &action, NULL), 0);
}

static void signals_have_a_stack(void)
{
    static char memory[64 << 10];
    stack_t own = {.ss_sp = memory, .ss_size = sizeof memory}, now;
    pid_t pid;

    catch_signal(SIGUSR1, SA_ONSTACK);
    CHECK((pid = fork()) >= 0);
    if (pid == 0) {
        raise(SIGUSR1);
        raise(SIGSTKFLT);
        CHECK_INT(sigaltstack(NULL, &now), 0);
        CHECK(now.ss_flags & SS_DISABLE);
        mln_event_free(mln_event_new());
        raise(SIGUSR1);
        _exit(FINE);
    }
    CHECK_INT(await_status(pid), FINE);
    /* One of the program's own stays. */
    CHECK_INT(sigaltstack(&own, NULL), 0);
    CHECK((pid = fork()) >= 0);
    if (pid == 0) {
        CHECK_INT(sigaltstack(NULL, &now), 0);
        CHECK_PTR(now.ss_sp, memory);
        raise(SIGUSR1);
        _exit(FINE);
    }
    CHECK_INT(await_status(pid), FINE);
}

/* The last thread of the child ends, by way of what the library has registered for threads that end. */
static void *fork_and_end(void *data)
{
    pid_t pid;

    (void)data;
    mln_event_free(mln_event_new());
    CHECK((pid = fork()) >= 0);
    if (pid == 0)
        pthread_exit(NULL);
    CHECK_INT(await_status(pid), 0);
    return NULL;
}

static void a_thread_can_end(void)
{
    pthread_t thread;

    CHECK_INT(pthread_create(&thread, NULL, fork_and_end, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

/* ---- messages ---- */

static unsigned char question[SIZE];
static const unsigned char *shown; /* a message that another thread is to fork with */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int answers;

static int is_question(const unsigned char *message)
{
    return memcmp(message, question, SIZE) == 0;
}

static void fork_with(const unsigned char *message)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(is_question(message));
        CHECK((pid = fork()) >= 0);
        if (pid == 0)
            _exit(is_question(message) ? FINE : 1);
        _exit(await_status(pid));
    }
    CHECK_INT(await_status(pid), FINE);
    CHECK(is_question(message));
}

static void *fork_beside(void *data)
{
    (void)data;
    pthread_mutex_lock(&lock);
    while (shown == NULL)
        pthread_cond_wait(&changed, &lock);
    fork_with(shown);
    shown = NULL;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void on_answer(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(len, SIZE);
    fork_with(buf);
    pthread_mutex_lock(&lock);
    shown = buf;
    pthread_cond_signal(&changed);
    while (shown != NULL)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    ++answers;
    mln_event_break_set(ev);
}

static void on_question(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    fork_with(buf);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, ANSWER, buf, len), 0);
}

static int ask(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    return mln_ipc_master_send_prepare(ev, QUESTION, question, SIZE, f);
}

static void messages_are_there(void)
{
    mln_event_t *ev = become_master();
    pthread_t thread;

    CHECK_INT(pthread_create(&thread, NULL, fork_beside, NULL), 0);
    start_worker(ev, NULL);
    CHECK_INT(mln_fork_iterate(ev, ask, NULL), 0);
    dispatch(ev, NULL);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(answers, 1);
    mln_event_free(ev);
}

/* ---- signals that interrupt Go code ---- */

enum { ALARMS = 200 };

static volatile sig_atomic_t alarms, failures;

/* The next one, in so many microseconds: not before this one is through. */
static void set_alarm(int delay)
{
    const struct itimerval once = {{0, 0}, {0, delay}};

    CHECK_INT(setitimer(ITIMER_REAL, &once, NULL), 0);
}

static void fork_in_signal(int signo)
{
    int saved = errno, status;
    pid_t pid;

    (void)signo;
    /* The C library's fork() is for what is interrupted outside of it and of its allocator. */
    if ((pid = fork()) == 0)
        _exit(FINE);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    failures += pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != FINE;
    if (++alarms < ALARMS)
        set_alarm(200 + alarms);
    errno = saved;
}

static void never(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
}

static void stacks_are_there(int flags)
{
    struct sigaction action = {.sa_handler = fork_in_signal, .sa_flags = flags | SA_RESTART};
    mln_event_t *ev = mln_event_new();
    mln_event_timer_t *timers[64];

    CHECK(ev != NULL);
    CHECK_INT(sigaction(SIGALRM, &action, NULL), 0);
    alarms = 0;
    set_alarm(200);
    /* Calls of Go, one after another. */
    while (alarms < ALARMS) {
        for (int i = 0; i < 64; ++i)
            CHECK((timers[i] = mln_event_timer_set(ev, 1000000, NULL, never)) != NULL);
        for (int i = 0; i < 64; ++i)
            mln_event_timer_cancel(ev, timers[i]);
    }
    CHECK_INT(failures, 0);
    mln_event_free(ev);
}

int main(void)
{
    for (int i = 0; i < SIZE; ++i)
        question[i] = (unsigned char)(i * 7 + i / 256);
    CHECK(mln_ipc_handler_register(QUESTION, NULL, on_question, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(ANSWER, on_answer, NULL, NULL, NULL) != NULL);
    mln_event_free(mln_event_new());
    signals_have_a_stack();
    most_is_left_out();
    a_thread_can_end();
    messages_are_there();
    stacks_are_there(0);
    stacks_are_there(SA_ONSTACK);
    most_is_left_out(); /* again */
    return 0;
}
