/*
 * host.c - runs a program on a machine that lacks something: host LACK... -- PROGRAM [ARGUMENT...]
 *
 * A LACK is memfd (memory files are forbidden), old-memfd (the kernel knows none), seals (they cannot be sealed), network (who
 * connects, or wants a socket for the network, is killed), room (no file may have more than 1 MiB), own-proc (/proc is of another pid
 * namespace than the program), proc (no /proc), true-proc (other files are where those of /proc should be), or exec (nothing on a file
 * system for temporary files may be executed, except in the folders that KEEP names, separated by colons). The last four need
 * namespaces; without the permission for them the status is 77.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

enum { ANY = -1 };

/* A system call, with that value as an argument or with any, is answered so. */
static void answer(int call, int argument, unsigned value, unsigned action)
{
    size_t field = offsetof(struct seccomp_data, args) + sizeof(__u64) * (size_t)(argument == ANY ? 0 : argument);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, argument == ANY ? 2 : 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)field), /* its lower half: these machines are little-endian */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};

    insist(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    insist(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), "seccomp");
}

static void kill_for_network(void)
{
    static const unsigned families[] = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET};

    for (size_t i = 0; i < sizeof families / sizeof families[0]; ++i)
        answer(SYS_socket, 0, families[i], SECCOMP_RET_KILL_PROCESS);
    answer(SYS_connect, ANY, 0, SECCOMP_RET_KILL_PROCESS);
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

/* Goes on as the first process of a pid namespace. */
static void own_pids(void)
{
    pid_t first;
    int status;

    insist(unshare(CLONE_NEWPID), "unshare");
    if ((first = fork()) == 0)
        return;
    insist(first < 0 || waitpid(first, &status, 0) < 0, "fork");
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* Whatever descriptor is looked for, there is a file. */
static void replace_proc(void)
{
    enum { FILES = 300 };
    char path[64];

    insist(mount("none", "/proc", "tmpfs", 0, NULL), "mount /proc");
    insist(mkdir("/proc/self", 0755), "/proc/self");
    insist(mkdir("/proc/self/fd", 0755), "/proc/self/fd");
    for (int i = 0; i < FILES; ++i) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", i);
        insist(close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)), path);
    }
}

int main(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc && strcmp(argv[i], "--") != 0; ++i) {
        if (strcmp(argv[i], "memfd") == 0) {
            answer(SYS_memfd_create, ANY, 0, SECCOMP_RET_ERRNO | EPERM);
        } else if (strcmp(argv[i], "old-memfd") == 0) {
            answer(SYS_memfd_create, ANY, 0, SECCOMP_RET_ERRNO | ENOSYS);
        } else if (strcmp(argv[i], "seals") == 0) {
            answer(SYS_fcntl, 1, F_ADD_SEALS, SECCOMP_RET_ERRNO | EPERM);
        } else if (strcmp(argv[i], "network") == 0) {
            kill_for_network();
        } else if (strcmp(argv[i], "room") == 0) {
            insist(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1 << 20, 1 << 20}), "RLIMIT_FSIZE");
        } else if (strcmp(argv[i], "own-proc") == 0) {
            own_pids();
        } else if (strcmp(argv[i], "true-proc") == 0) {
            own_mounts();
            replace_proc();
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
