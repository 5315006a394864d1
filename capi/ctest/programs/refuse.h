/*
 * refuse.h - for test programs that have the kernel refuse calls of theirs, from now on. What is refused is refused to this thread, and
 * to the threads and processes that it starts. Where there is no seccomp this process ends, with status 0. Include check.h first.
 */
#ifndef REFUSE_H
#define REFUSE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { ANY_ARGUMENT = -1 };

/* What the kernel does (SECCOMP_RET_...) with calls of that number, and with that value of an argument; the first is number 0. */
CHECK_UNUSED static inline void refuse_as(int number, int argument, int value, unsigned action)
{
    /* The lower half of the argument comes first in memory, on the machines that the library is for. */
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + (unsigned)argument * sizeof(__u64)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

    if (value == ANY_ARGUMENT)
        filter[2] = filter[4];
    CHECK_INT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) {
        puts("note: there is no seccomp here; what is refused is not tried");
        exit(0);
    }
}

/* They fail with that error; 0: nothing is done, and they do not fail. */
CHECK_UNUSED static inline void refuse_with(int number, int third, int error_number)
{
    refuse_as(number, 2, third, SECCOMP_RET_ERRNO | (unsigned)error_number);
}

/* Files cannot be locked, as on some file systems. */
CHECK_UNUSED static inline void refuse_locks(void)
{
    refuse_as(SYS_fcntl, 1, F_SETLK, SECCOMP_RET_ERRNO | ENOLCK);
    refuse_as(SYS_fcntl, 1, F_GETLK, SECCOMP_RET_ERRNO | ENOLCK);
}

CHECK_UNUSED static inline void refuse(int number, int error_number)
{
    refuse_with(number, ANY_ARGUMENT, error_number);
}

/* Who makes one is killed by SIGSYS. */
CHECK_UNUSED static inline void forbid(int number)
{
    refuse_as(number, 2, ANY_ARGUMENT, SECCOMP_RET_KILL_PROCESS);
}

#endif
