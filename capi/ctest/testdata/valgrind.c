/*
 * valgrind.c - for programs that run under valgrind: what it does not know of the kernel, and of Go. Linked into a program, it wraps
 * functions of the C library there, for all callers, and does nothing elsewhere.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <valgrind/memcheck.h>

#define WRAPPER(function) I_WRAP_SONAME_FNNAME_ZU(libcZdsoZa, function)

long WRAPPER(syscall)(long number, long a, long b, long c, long d, long e, long f);
int WRAPPER(execve)(const char *path, char **argv, char **environment);
void *WRAPPER(mmap)(void *where, size_t size, long protection, long flags, long fd, long offset);
void WRAPPER(_exit)(int status);

/* ---- the kernel ---- */

/* Asks the test, which listens at an abstract address: it sends an error number, and the pidfd if that is 0. */
static int open_pidfd(pid_t pid)
{
    const char *server = getenv("PIDFD_SERVER");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    int error_number, pidfd, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct iovec vector = {&error_number, sizeof error_number};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

    if (server == NULL || strlen(server) >= sizeof address.sun_path)
        abort();
    strcpy(address.sun_path + 1, server);
    if (connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(server))) != 0 ||
        write(fd, &pid, sizeof pid) != sizeof pid || recvmsg(fd, &message, MSG_CMSG_CLOEXEC) != sizeof error_number)
        abort();
    close(fd);
    if (error_number != 0) {
        errno = error_number;
        return -1;
    }
    memcpy(&pidfd, CMSG_DATA(&control.header), sizeof pidfd);
    return pidfd;
}

/* A worker that is to be killed for taking too long is given the time to end, as it takes under valgrind, and to look for what it has lost. */
static int send_by_pidfd(int pidfd, int signo)
{
    enum { PATIENCE_MS = 20000 };
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    char path[64], line[128];
    int pid = -1;
    FILE *file;

    if (signo == SIGKILL && poll(&ended, 1, PATIENCE_MS) > 0)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    if ((file = fopen(path, "re")) == NULL)
        return -1;
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "Pid: %d", &pid) != 1)
        ;
    fclose(file);
    errno = ESRCH;
    return pid > 0 ? kill(pid, signo) : -1;
}

/* Not every valgrind knows pidfds, without which a master has no workers. */
long WRAPPER(syscall)(long number, long a, long b, long c, long d, long e, long f)
{
    OrigFn original;
    long result;

    VALGRIND_GET_ORIG_FN(original);
    if (number == SYS_pidfd_open)
        return open_pidfd((pid_t)a);
    if (number == SYS_pidfd_send_signal)
        return send_by_pidfd((int)a, (int)b);
    CALL_FN_W_7W(result, original, number, a, b, c, d, e, f);
    return result;
}

/* A program that executes itself would execute valgrind. */
int WRAPPER(execve)(const char *path, char **argv, char **environment)
{
    char self[4096] = "";
    OrigFn original;
    int result;

    VALGRIND_GET_ORIG_FN(original);
    if (strcmp(path, "/proc/self/exe") == 0 && readlink(path, self, sizeof self - 1) > 0)
        path = self;
    CALL_FN_W_WWW(result, original, path, argv, environment);
    return result;
}

/* ---- Go ---- */

/*
 * The heap. Stacks of goroutines lie in it, and valgrind takes memory below the top of a stack for memory that nobody may use, also when
 * it has become something else. So it is not to report what it takes for invalid there, but has to look there for pointers when
 * a process ends.
 */
static struct {
    void *begin;
    size_t size;
} arenas[256];
static unsigned arena_count; /* atomic */

/* The runtime is alone in asking for address space at a place of its choice. */
void *WRAPPER(mmap)(void *where, size_t size, long protection, long flags, long fd, long offset)
{
    OrigFn original;
    void *begin;

    VALGRIND_GET_ORIG_FN(original);
    CALL_FN_W_6W(begin, original, where, size, protection, flags, fd, offset);
    if (where != NULL && protection == PROT_NONE && (flags & MAP_FIXED) == 0 && begin != MAP_FAILED) {
        unsigned i = __atomic_fetch_add(&arena_count, 1, __ATOMIC_RELAXED);

        if (i >= sizeof arenas / sizeof arenas[0])
            abort();
        arenas[i].begin = begin;
        arenas[i].size = size;
        (void)VALGRIND_DISABLE_ADDR_ERROR_REPORTING_IN_RANGE(begin, size);
    }
    return begin;
}

void WRAPPER(_exit)(int status)
{
    OrigFn original;

    VALGRIND_GET_ORIG_FN(original);
    for (unsigned i = 0; i < __atomic_load_n(&arena_count, __ATOMIC_RELAXED); ++i) {
        (void)VALGRIND_MAKE_MEM_DEFINED(arenas[i].begin, arenas[i].size);
        (void)VALGRIND_ENABLE_ADDR_ERROR_REPORTING_IN_RANGE(arenas[i].begin, arenas[i].size);
    }
    CALL_FN_v_W(original, status);
}
