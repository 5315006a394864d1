/*
 * The file that second copies of the library are loaded from cannot be changed by anybody who has its descriptor, and every
 * worker has: sealed in memory; where memory files are denied, read-only on disk, without a name and for its owner alone. Nor can a
 * worker keep its siblings from using it.
 */
#include "ipc.h"
#include "processes.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { DONE = 2000, FORK, LIBRARY_SIZE_AT_LEAST = 512 << 10 };

static int in_memory;
static int nested; /* in a worker that has forked */

static void deny_memory_files(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};

    CHECK_INT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_INT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    CHECK_INT(memfd_create("denied", 0), -1);
}

/* The descriptor of the image, found as an attacker would find it. */
static int find_image(void)
{
    for (int fd = 3; fd < 1024; ++fd) {
        struct stat status;

        if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 0 && status.st_size >= LIBRARY_SIZE_AT_LEAST)
            return fd;
    }
    return -1;
}

static void cannot_be_changed(int fd)
{
    struct stat status;
    char path[64];
    int again;

    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK_INT(pwrite(fd, "x", 1, 0), -1);
    CHECK_INT(ftruncate(fd, 0), -1);
    CHECK_PTR(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    CHECK_INT(fstat(fd, &status), 0);
    if (!in_memory) {
        CHECK_INT(status.st_mode & 0777, 0600);
        CHECK_INT(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
        return;
    }
    CHECK_INT(fcntl(fd, F_GET_SEALS) & (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
              F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    /* Its owner may open it once more for writing; the seals hold all the same. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if ((again = open(path, O_RDWR | O_CLOEXEC)) >= 0) {
        CHECK_INT(pwrite(again, "x", 1, 0), -1);
        CHECK_INT(errno, EPERM);
        close(again);
    }
}

static void attack(mln_event_t *ev)
{
    int fd = find_image();

    CHECK(fd >= 0);
    cannot_be_changed(fd);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, DONE, NULL, 0), 0);
}

/* Root may open what nobody may, but for this. */
static void lose_rights_of_root(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];

    CHECK_INT(syscall(SYS_capget, &header, sets), 0);
    sets[0].effective &= ~(1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH);
    CHECK_INT(syscall(SYS_capset, &header, sets), 0);
}

static void forbid(mln_event_t *ev)
{
    CHECK_INT(fchmod(find_image(), 0), 0);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, DONE, NULL, 0), 0);
}

/* In the sibling, which has the descriptor only: its own worker gets an image as good as its own. */
static void on_fork(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    char path[64];

    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    lose_rights_of_root();
    snprintf(path, sizeof path, "/proc/self/fd/%d", find_image());
    CHECK_INT(open(path, O_RDONLY | O_CLOEXEC), -1);
    nested = 1;
    CHECK_INT(mln_fork_prepare(), 0);
    start_worker(ev, attack);
}

static void on_done(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)udata;
    if (nested)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, DONE, NULL, len), 0);
    else
        mln_event_break_set(ev);
}

static void nobody_is_kept_from_forking(mln_event_t *ev)
{
    start_worker(ev, NULL);
    mln_fork_t *sibling = last_worker(ev);
    start_worker(ev, forbid);
    dispatch(ev, forbid);
    mln_event_break_reset(ev);
    CHECK_INT(mln_ipc_master_send_prepare(ev, FORK, NULL, 0, sibling), 0);
    dispatch(ev, NULL);
}

static void part(void)
{
    mln_event_t *ev;

    handle(DONE, on_done, NULL);
    handle(FORK, NULL, on_fork);
    ev = become_master();
    CHECK(find_image() >= 0);
    cannot_be_changed(find_image());
    start_worker(ev, attack);
    dispatch(ev, attack);
    mln_event_break_reset(ev);
    nobody_is_kept_from_forking(ev);
    mln_event_free(ev);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        run_self("in memory");
        run_self("on disk");
        return 0;
    }
    in_memory = strcmp(argv[1], "in memory") == 0;
    if (!in_memory)
        deny_memory_files();
    part();
    return 0;
}
