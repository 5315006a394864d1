/*
 * fault.c - runs a program and has the kernel refuse one call, in whatever process of its tree and whatever language that
 * process is written in: fault CALL ERRNO PHASE NUMBER PROGRAM [ARGUMENT...]
 *
 * The NUMBERth CALL that any process of the program makes in its phase PHASE fails with ERRNO and is not carried out. A phase
 * begins when a process calls prctl(FAULT_PHASE + PHASE); 0 is none. It may begin more than once, and then the NUMBERth call of each
 * time fails. The calls of a thread between prctl(FAULT_PHASE + FAULT_SPARED) and prctl(FAULT_PHASE + FAULT_EXPOSED) do not count. The
 * exit status is the program's, or 128 and the signal that ended it. The last line on standard output tells how many such calls there
 * were, the most of a time, and how many were refused. A process of the tree that is still there a while after the program has ended
 * is named, and the status is 99.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the registers of system calls are those of x86-64"
#endif

enum { FAULT_PHASE = 0x6d6c6e00, FAULT_SPARED = 0x80, FAULT_EXPOSED, CALLS_MAX = 4, SPARED_MAX = 16 };
enum { GRACE_S = 5, LEFT_BEHIND = 99 };

/* Whether a call that matches by its number is meant. */
typedef int chooser(pid_t tid, const struct user_regs_struct *regs);

static unsigned long long clone_flags(pid_t tid, const struct user_regs_struct *regs)
{
    if (regs->orig_rax == SYS_clone)
        return regs->rdi;
    if (regs->orig_rax == SYS_clone3)
        return (unsigned long long)ptrace(PTRACE_PEEKDATA, tid, regs->rdi, NULL);
    return 0; /* fork, vfork */
}

static int makes_thread(pid_t tid, const struct user_regs_struct *regs)
{
    return (clone_flags(tid, regs) & CLONE_THREAD) != 0;
}

static int makes_process(pid_t tid, const struct user_regs_struct *regs)
{
    return (clone_flags(tid, regs) & CLONE_THREAD) == 0;
}

static const struct call {
    const char *name;
    int numbers[CALLS_MAX]; /* -1: no more */
    chooser *choose;
} calls[] = {
    {"fork", {SYS_clone, SYS_clone3, SYS_fork, SYS_vfork}, makes_process},
    {"thread", {SYS_clone, SYS_clone3, -1}, makes_thread},
    {"execve", {SYS_execve, -1}, NULL},
    {"socketpair", {SYS_socketpair, -1}, NULL},
    {"pipe2", {SYS_pipe2, -1}, NULL},
    {"memfd_create", {SYS_memfd_create, -1}, NULL},
    {"sendfile", {SYS_sendfile, -1}, NULL},
    {"pwrite", {SYS_pwrite64, -1}, NULL},
    {"mmap", {SYS_mmap, -1}, NULL},
    {"mprotect", {SYS_mprotect, -1}, NULL},
    {"brk", {SYS_brk, -1}, NULL},
    {"munmap", {SYS_munmap, -1}, NULL},
    {"madvise", {SYS_madvise, -1}, NULL},
    {"openat", {SYS_openat, SYS_open, -1}, NULL},
    {"mkdir", {SYS_mkdirat, SYS_mkdir, -1}, NULL},
    {"unlink", {SYS_unlinkat, SYS_unlink, -1}, NULL},
    {"ftruncate", {SYS_ftruncate, -1}, NULL},
    {"readlink", {SYS_readlinkat, SYS_readlink, -1}, NULL},
    {"access", {SYS_faccessat2, SYS_faccessat, SYS_access, -1}, NULL},
    {"fstat", {SYS_fstat, SYS_newfstatat, -1}, NULL},
    {"fcntl", {SYS_fcntl, -1}, NULL},
    {"ioctl", {SYS_ioctl, -1}, NULL},
    {"dup", {SYS_dup, SYS_dup2, SYS_dup3, -1}, NULL},
    {"close_range", {SYS_close_range, -1}, NULL},
    {"epoll_create", {SYS_epoll_create1, SYS_epoll_create, -1}, NULL},
    {"epoll_ctl", {SYS_epoll_ctl, -1}, NULL},
    {"epoll_wait", {SYS_epoll_wait, SYS_epoll_pwait, -1}, NULL},
    {"eventfd", {SYS_eventfd2, SYS_eventfd, -1}, NULL},
    {"timerfd_create", {SYS_timerfd_create, -1}, NULL},
    {"timerfd_settime", {SYS_timerfd_settime, -1}, NULL},
    {"poll", {SYS_poll, SYS_ppoll, -1}, NULL},
    {"read", {SYS_read, -1}, NULL},
    {"pread", {SYS_pread64, -1}, NULL},
    {"recv", {SYS_recvfrom, SYS_recvmsg, -1}, NULL},
    {"send", {SYS_sendto, SYS_sendmsg, -1}, NULL},
    {"write", {SYS_write, SYS_writev, SYS_pwritev2, -1}, NULL},
    {"socket", {SYS_socket, -1}, NULL},
    {"bind", {SYS_bind, -1}, NULL},
    {"listen", {SYS_listen, -1}, NULL},
    {"getsockopt", {SYS_getsockopt, -1}, NULL},
    {"setsockopt", {SYS_setsockopt, -1}, NULL},
    {"shutdown", {SYS_shutdown, -1}, NULL},
    {"pidfd_open", {SYS_pidfd_open, -1}, NULL},
    {"pidfd_send_signal", {SYS_pidfd_send_signal, -1}, NULL},
    {"waitid", {SYS_waitid, SYS_wait4, -1}, NULL},
    {"sigtimedwait", {SYS_rt_sigtimedwait, -1}, NULL},
    {"prlimit", {SYS_prlimit64, -1}, NULL},
};

static const struct {
    const char *name;
    int number;
} errors[] = {
    {"EMFILE", EMFILE}, {"ENFILE", ENFILE}, {"ENOMEM", ENOMEM}, {"EAGAIN", EAGAIN}, {"EINTR", EINTR},
    {"EPIPE", EPIPE}, {"ECONNRESET", ECONNRESET}, {"EPERM", EPERM}, {"ENOBUFS", ENOBUFS}, {"EACCES", EACCES},
    {"ENOSPC", ENOSPC}, {"ENOSYS", ENOSYS}, {"EIO", EIO}, {"EINVAL", EINVAL}, {"EBUSY", EBUSY},
    {"EADDRINUSE", EADDRINUSE}, {"ENOLCK", ENOLCK},
};

static const struct call *call;
static int error_number, wanted_phase, phase;
static long wanted, seen, most_seen, refused; /* the second since the phase began */
static pid_t spared[SPARED_MAX]; /* 0: free */

static __attribute__((noreturn)) void fail(const char *what)
{
    fprintf(stderr, "fault: %s: %s\n", what, strerror(errno));
    exit(98);
}

/* Only the calls in question stop: the program runs nearly as fast as it would alone. */
static void install_filter(void)
{
    struct sock_filter code[2 * CALLS_MAX + 8];
    struct sock_fprog program = {0, code};
    unsigned short n = 0;

    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < CALLS_MAX && call->numbers[i] >= 0; ++i) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call->numbers[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    }
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program.len = n;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0)
        fail("seccomp");
}

/* Puts one thread in the place of another, 0 being nobody; whether that one had a place. */
static int take_place(pid_t old, pid_t new)
{
    for (int i = 0; i < SPARED_MAX; ++i) {
        if (spared[i] != old)
            continue;
        spared[i] = new;
        return 1;
    }
    return 0;
}

/* What a program says by prctl(). */
static void listen(pid_t tid, int said)
{
    if (said == FAULT_SPARED ? !take_place(0, tid) : said == FAULT_EXPOSED && !take_place(tid, 0)) {
        fputs("fault: too many threads are spared, or one that is not is exposed\n", stderr);
        exit(98);
    }
    if (said < FAULT_SPARED) {
        phase = said;
        seen = 0;
    }
}

/* A call that the filter stopped. */
static void examine(pid_t tid)
{
    struct user_regs_struct regs;

    if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) != 0)
        return; /* killed meanwhile */
    if (regs.orig_rax == SYS_prctl) {
        if ((regs.rdi & ~0xffULL) == FAULT_PHASE)
            listen(tid, (int)(regs.rdi & 0xff));
        return;
    }
    if (phase != wanted_phase || take_place(tid, tid) || (call->choose != NULL && !call->choose(tid, &regs)))
        return;
    if (++seen > most_seen)
        most_seen = seen;
    if (seen != wanted)
        return;
    ++refused;
    /* brk() fails with a break below the one that was asked for; upon 0 the C library asks where it is. */
    regs.rax = regs.orig_rax == SYS_brk ? 0 : (unsigned long long)-(long long)error_number;
    regs.orig_rax = (unsigned long long)-1; /* no call */
    (void)ptrace(PTRACE_SETREGS, tid, NULL, &regs);
}

/* A thread of the tree has stopped. */
static void go_on(pid_t tid, int status)
{
    int event = status >> 16, signo = WSTOPSIG(status);

    if (event == PTRACE_EVENT_SECCOMP)
        examine(tid);
    if (event == PTRACE_EVENT_STOP && signo != SIGTRAP)
        (void)ptrace(PTRACE_LISTEN, tid, NULL, NULL); /* it was stopped by a signal, and is to stay so until SIGCONT */
    else
        (void)ptrace(PTRACE_CONT, tid, NULL, event == 0 ? (unsigned long)signo : 0UL);
}

static void on_alarm(int signo)
{
    (void)signo; /* makes waitpid() return */
}

int main(int argc, char **argv)
{
    static const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                                PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP;
    struct sigaction alarm_action;
    int ready[2], result = -1, status;
    pid_t program, tid;
    char byte = 0;

    for (size_t i = 0; argc > 5 && i < sizeof calls / sizeof calls[0]; ++i)
        if (strcmp(argv[1], calls[i].name) == 0)
            call = &calls[i];
    for (size_t i = 0; argc > 5 && i < sizeof errors / sizeof errors[0]; ++i)
        if (strcmp(argv[2], errors[i].name) == 0)
            error_number = errors[i].number;
    if (call == NULL || error_number == 0) {
        fputs("usage: fault CALL ERRNO PHASE NUMBER PROGRAM [ARGUMENT...]\n", stderr);
        return 98;
    }
    wanted_phase = atoi(argv[3]);
    wanted = atol(argv[4]);
    if (pipe(ready) != 0 || (program = fork()) < 0)
        fail("fork");
    if (program == 0) {
        close(ready[1]);
        if (read(ready[0], &byte, 1) != 1)
            _exit(98);
        close(ready[0]);
        install_filter();
        execv(argv[5], argv + 5);
        fail(argv[5]);
    }
    close(ready[0]);
    if (ptrace(PTRACE_SEIZE, program, NULL, options) != 0)
        fail("ptrace");
    (void)!write(ready[1], &byte, 1);
    close(ready[1]);

    memset(&alarm_action, 0, sizeof alarm_action);
    alarm_action.sa_handler = on_alarm;
    sigaction(SIGALRM, &alarm_action, NULL);
    while ((tid = waitpid(-1, &status, __WALL)) > 0) {
        if (WIFSTOPPED(status)) {
            go_on(tid, status);
            continue;
        }
        (void)take_place(tid, 0);
        if (tid == program) {
            result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            alarm(GRACE_S);
        }
    }
    if (errno == EINTR) {
        fputs("fault: the program has left processes behind\n", stderr);
        result = LEFT_BEHIND;
    }
    printf("fault: %ld calls, %ld refused\n", most_seen, refused);
    return result;
}
