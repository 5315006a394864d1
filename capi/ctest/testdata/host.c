/*
 * host.c - runs a program on a machine that lacks something: host LACK... -- PROGRAM [ARGUMENT...]
 *
 * A LACK is memfd (memory files are forbidden), proc (no /proc), or exec (nothing on a file system for temporary files may be
 * executed, except in the folders that KEEP names, separated by colons). The last two need a mount namespace; without the
 * permission for one the status is 77.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOT_PERMITTED = 77 };

static void insist(int result, const char *what)
{
    if (result == 0)
        return;
    fprintf(stderr, "host: %s: %s\n", what, strerror(errno));
    exit(NOT_PERMITTED);
}

static void own_mounts(void)
{
    insist(unshare(CLONE_NEWNS), "unshare");
    insist(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount /");
}

static void forbid_memfd(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};

    insist(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    insist(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), "seccomp");
}

static void forbid_exec(void)
{
    static const char *const folders[] = {"/tmp", "/var/tmp", "/dev/shm"};

    char *keep = getenv("KEEP");

    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; ++i) {
        if (access(folders[i], F_OK) != 0)
            continue;
        insist(mount(folders[i], folders[i], NULL, MS_BIND, NULL), folders[i]);
        insist(mount(NULL, folders[i], NULL, MS_REMOUNT | MS_BIND | MS_NOEXEC, NULL), folders[i]);
    }
    for (char *folder = keep == NULL ? NULL : strtok(keep, ":"); folder != NULL; folder = strtok(NULL, ":")) {
        insist(mount(folder, folder, NULL, MS_BIND, NULL), folder);
        insist(mount(NULL, folder, NULL, MS_REMOUNT | MS_BIND, NULL), folder);
    }
}

int main(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc && strcmp(argv[i], "--") != 0; ++i) {
        if (strcmp(argv[i], "memfd") == 0) {
            forbid_memfd();
        } else if (strcmp(argv[i], "proc") == 0) {
            own_mounts();
            insist(umount2("/proc", MNT_DETACH), "umount /proc");
        } else if (strcmp(argv[i], "exec") == 0) {
            own_mounts();
            forbid_exec();
        } else {
            fprintf(stderr, "host: unknown lack %s\n", argv[i]);
            return 1;
        }
    }
    execv(argv[i + 1], argv + i + 1);
    perror(argv[i + 1]);
    return 1;
}
