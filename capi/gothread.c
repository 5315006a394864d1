/*
 * gothread.c - the signal masks of the Go runtime's threads.
 *
 * They inherit a mask that blocks everything (see image.c), but when the runtime takes a thread over it unblocks some
 * signals in it for good: faults and SIGURG, which it needs, but also SIGCHLD, SIGPROF and the first real-time signal, which
 * are none of its business. A program that waits for SIGCHLD by sigwait() or a signalfd, and blocks it in its own threads,
 * would lose it to one of these; a handler of the program could run on a goroutine's small stack.
 *
 * A mask can be changed by its thread alone, or by a signal handler that runs in it, as the mask to return to. Hence every
 * thread starts with one signal pending which the runtime unblocks as well, nobody sends and nobody uses: SIGSTKFLT. It is
 * delivered at the very moment at which the runtime unblocks it, and its handler puts the mask right.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "gothread.h"

static gothread_creator *create;

static void put_mask_right(int signo, siginfo_t *info, void *context)
{
    static const int needed[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGURG};
    sigset_t *mask = &((ucontext_t *)context)->uc_sigmask;
    int saved_errno = errno; /* sigaddset refuses some */

    (void)signo;
    if (info->si_code != SI_TKILL || info->si_pid != getpid())
        return; /* not from here: ignored, in whatever thread */
    /* Only the bits that the kernel knows lie in the context; the C library's own signals stay out. */
    for (int i = 1; i <= SIGRTMIN; ++i)
        (void)sigaddset(mask, i);
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; ++i)
        (void)sigdelset(mask, needed[i]);
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

struct beginning {
    void *(*function)(void *);
    void *argument;
};

static void *begin(void *data)
{
    struct beginning b = *(struct beginning *)data;
    struct sigaction now;

    free(data);
    /* Unless the program has taken this signal, too: it would see one that was not sent by anybody. */
    if (sigaction(SIGSTKFLT, NULL, &now) == 0 && now.sa_sigaction == put_mask_right)
        (void)syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGSTKFLT);
    return b.function(b.argument);
}

/* What the runtime calls: this library makes no other threads. Not visible outside of it. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *), void *argument)
{
    struct beginning *b;
    int error_number;

    if (create == NULL || (b = malloc(sizeof *b)) == NULL)
        return EAGAIN;
    *b = (struct beginning){function, argument};
    if ((error_number = create(thread, attributes, begin, b)) != 0)
        free(b);
    return error_number;
}
