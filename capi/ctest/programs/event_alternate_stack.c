/*
 * The stack that a thread's signal handlers run on is the program's affair: none, one of its own, or one that it takes away again. A handler
 * has as much room as there is.
 * deadline: 60s
 */
#include "check.h"
#include "events.h"
#include "mln_fork.h"
#include "processes.h"

#include <pthread.h>
#include <sys/time.h>

enum { FINE = 77, ROOM = 90 << 10, LAPS = 100000, CALLS = 200 };

static volatile sig_atomic_t calls, elsewhere;

static void deep(int signo)
{
    volatile char room[ROOM];
    stack_t now;

    for (size_t i = 0; i < sizeof room; i += 64)
        room[i] = (char)signo;
    if (sigaltstack(NULL, &now) != 0 || (now.ss_flags & SS_DISABLE) == 0)
        ++elsewhere;
    ++calls;
}

/* Sets the stack, and returns the one before: a sanitizer has one in each thread, and wants it back. */
static stack_t set_stack(const stack_t *stack)
{
    stack_t before;

    CHECK_INT(sigaltstack(stack, &before), 0);
    return before;
}

static void use_a_loop(void)
{
    mln_event_t *ev = mln_event_new();
    int left = 1;

    CHECK(ev != NULL);
    CHECK(mln_event_timer_set(ev, 0, &left, stop_after_laps) != NULL);
    mln_event_dispatch(ev);
    mln_event_free(ev);
}

static void use_and_compare(stack_t expected)
{
    for (int i = 0; i < 3; ++i) {
        stack_t now;

        use_a_loop();
        now = set_stack(NULL);
        CHECK_INT(now.ss_flags, expected.ss_flags);
        CHECK_PTR(now.ss_sp, expected.ss_sp);
        CHECK_INT(now.ss_size, expected.ss_size);
    }
}

static void *change_stacks(void *late)
{
    static char memory[64 << 10];
    const stack_t own = {.ss_sp = memory, .ss_size = sizeof memory};
    stack_t before = set_stack(NULL);

    if (late != NULL)
        use_and_compare(before);
    (void)set_stack(&own);
    use_and_compare(own);
    (void)set_stack(&before);
    use_and_compare(before);
    return NULL;
}

static void in_thread(void *(*function)(void *), void *data)
{
    pthread_t thread;

    CHECK_INT(pthread_create(&thread, NULL, function, data), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

static void stays(void)
{
    pid_t pid;

    in_thread(change_stacks, NULL);
    in_thread(change_stacks, "late");
    (void)change_stacks("late");
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((pid = fork()) >= 0);
    if (pid == 0) { /* with a runtime of its own */
        in_thread(change_stacks, NULL);
        (void)change_stacks("late");
        _exit(FINE);
    }
    CHECK_INT(await_status(pid), FINE);
}

static void go_on(mln_event_t *ev, void *data)
{
    if (calls >= CALLS)
        mln_event_break_set(ev);
    else
        CHECK(mln_event_timer_set(ev, 0, data, go_on) != NULL);
}

/* On the thread's own stack, or on that of the library's which they interrupt. */
static void has_room(void)
{
    const struct itimerval often = {{0, 500}, {0, 500}};
    const stack_t none = {.ss_flags = SS_DISABLE}, before = set_stack(&none);
    struct sigaction action = {.sa_handler = deep, .sa_flags = SA_ONSTACK | SA_RESTART};
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    for (int i = 0; i < 1000; ++i)
        CHECK(mln_event_timer_set(ev, 1000000, NULL, NULL) != NULL);
    CHECK_INT(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_INT(setitimer(ITIMER_REAL, &often, NULL), 0);
    go_on(ev, NULL);
    mln_event_dispatch(ev);
    CHECK(signal(SIGALRM, SIG_IGN) != SIG_ERR);
    CHECK_INT(elsewhere, 0);
    mln_event_free(ev);
    (void)set_stack(&before);
}

/* Two of these: what the runtime does where several threads have loops must not need a stack that is the program's. */
static void *without(void *size)
{
    stack_t stack = {.ss_flags = SS_DISABLE}, before;
    mln_event_t *ev = mln_event_new();
    int left = LAPS;

    CHECK(ev != NULL);
    if (size != NULL)
        stack = (stack_t){.ss_sp = malloc(*(size_t *)size), .ss_size = *(size_t *)size};
    CHECK(size == NULL || stack.ss_sp != NULL);
    before = set_stack(&stack);
    CHECK(mln_event_timer_set(ev, 0, &left, stop_after_laps) != NULL);
    mln_event_dispatch(ev);
    mln_event_free(ev);
    (void)set_stack(&before);
    free(stack.ss_sp);
    return NULL;
}

static void in_two_threads(void *data)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; ++i)
        CHECK_INT(pthread_create(&threads[i], NULL, without, data), 0);
    for (int i = 0; i < 2; ++i)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
}

static void none(void)
{
    in_two_threads(NULL);
}

static void small(void)
{
    size_t size = (size_t)sysconf(_SC_MINSIGSTKSZ);

    in_two_threads(&size);
}

static const struct part parts[] = {{"stays", stays}, {"has room", has_room}, {"none", none}, {"small", small}};

int main(int argc, char **argv)
{
    return run_parts(argc, argv, parts, sizeof parts / sizeof *parts);
}
