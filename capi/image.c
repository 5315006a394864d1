/*
 * image.c - a process made by fork gets a fresh engine: a second, pristine copy of this library.
 *
 * The loader recognises a library that it has loaded by the string of its path and by its inode. A copy therefore has
 * to be another inode, opened by a path never used before: a sealed memfd with the library's bytes, made by the parent
 * before its first fork and shared by all its children, opened as /proc/PID/fd/N with the child's own pid. A child that
 * forks in turn makes an image of its own, since the inode of its parent's is loaded in it.
 */
#include "engine.h"
#include "process.h"
#include "log.h"
#include "gothread.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

/*
 * Address space that a Go runtime reserves when it starts: the summaries of its page allocator, an arena, and the stacks
 * of its threads. Most of it is never touched.
 */
#define RUNTIME_RESERVES ((size_t)1536 << 20)

extern const struct engine_table _mln_engine;

/* A file with the bytes of this library. */
struct image {
    int fd; /* -1: none */
    dev_t device;
    ino_t inode;
};

static const struct engine_table *table = &_mln_engine;
static uint64_t generation;
static struct engine_settings settings = {
    .backoff_min = 100, .backoff_max = 30000, .backoff_reset = 1000, .failure_window = 60000,
    .drain_timeout = 1000, .kill_timeout = 1000,
};
static __thread const struct engine_table *met; /* whose runtime knows this thread */
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

/*
 * What the engine in `table` is to this process. It lies on a page that the kernel wipes in a child of any kind of fork:
 * that takes no system call to see, and no cooperation of whoever called fork.
 */
enum { FOREIGN = 0, LOADED, IN_USE };
static _Atomic int *standing;

static struct image loaded = {.fd = -1}; /* what this process runs on, if it is a child */
static struct image spare = {.fd = -1};  /* what its children can load: nobody among their ancestors has */

static struct sigaction original[NSIG]; /* dispositions before the Go runtime's own */
static sigset_t program_mask;

/* What is in force before a runtime starts: the program's. */
static void note_dispositions(void)
{
    for (int signo = 1; signo < NSIG; ++signo)
        (void)sigaction(signo, NULL, &original[signo]);
}

/*
 * Runs before the Go runtime's start-up, which is an ordinary constructor. The threads that the runtime makes inherit
 * this thread's signal mask: all blocked, so that no signal meant for the program lands on them.
 */
__attribute__((constructor(101))) static void before_runtime(void)
{
    sigset_t all;

    note_dispositions();
    gothread_prepare();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &program_mask);
}

static int start(void);

/* A copy is opened by a path that nobody else uses; see engine_renew(). */
static int is_copy(void)
{
    Dl_info info;

    return dladdr((const void *)&_mln_engine, &info) != 0 && info.dli_fname != NULL &&
           strncmp(info.dli_fname, "/proc/", 6) == 0;
}

/* Runs after it: objects of cgo stand behind Go's own in the link order. */
__attribute__((constructor)) static void after_runtime(void)
{
    pthread_sigmask(SIG_SETMASK, &program_mask, NULL);
    if (!is_copy())
        (void)start(); /* engine() reports a failure, if there ever is a need for one */
}

uint64_t engine_generation(void)
{
    return generation;
}

/*
 * The first call of Go code in a thread, which returns when the runtime is up. Signals are blocked: the stack that Go code
 * runs on has no room for a handler yet; see room() in engine.go. And a runtime that meets a thread unblocks faults,
 * SIGCHLD, SIGPROF and SIGURG in it and leaves them so: a program that waits for SIGCHLD with sigwait() or by a signalfd,
 * for which it has to be blocked, would wait in vain.
 */
static void meet(void)
{
    sigset_t all, mask;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    table->configure(&settings);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    met = table;
}

const struct engine_table *engine_loaded(void)
{
    if (standing == NULL || atomic_load_explicit(standing, memory_order_relaxed) != IN_USE)
        return NULL;
    if (met != table)
        meet();
    return table;
}

const struct engine_settings *engine_settings(void)
{
    return &settings;
}

void engine_set(const struct engine_settings *all)
{
    settings = *all;
    if (engine_loaded() != NULL)
        table->configure(&settings);
}

uint32_t engine_max_payload(void)
{
    return settings.max_payload != 0 ? settings.max_payload : ENGINE_DEFAULT_MAX_PAYLOAD;
}

/* In the first process only: the page that tells processes apart, and the hooks around fork. */
static int start(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int error_number;

    if (page == MAP_FAILED)
        return -1;
    if (madvise(page, size, MADV_WIPEONFORK) != 0 ||
        (error_number = pthread_atfork(process_before_fork, process_after_fork_parent, process_after_fork_child),
         errno = error_number, error_number != 0)) {
        error_number = errno;
        munmap(page, size);
        errno = error_number;
        return -1;
    }
    standing = page;
    atomic_store(standing, LOADED);
    return 0;
}

static int same_copy(const void *a, const void *b)
{
    Dl_info of_a, of_b;

    return dladdr(a, &of_a) != 0 && dladdr(b, &of_b) != 0 && of_a.dli_fbase == of_b.dli_fbase;
}

/* Puts back what a disposition was before this library changed it, save for one signal if the program does not handle it. */
static void restore_dispositions(int save_for)
{
    struct sigaction now;

    for (int signo = 1; signo < NSIG; ++signo) {
        const void *handler;

        if (signo == SIGSTKFLT) /* see gothread.c */
            continue;
        if (sigaction(signo, NULL, &now) != 0 || now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN)
            continue;
        if (signo == save_for && (original[signo].sa_handler == SIG_DFL || original[signo].sa_handler == SIG_IGN))
            continue;
        handler = (const void *)now.sa_sigaction;
        if (same_copy(handler, table) || same_copy(handler, &_mln_engine))
            (void)sigaction(signo, &original[signo], NULL);
    }
}

/* The counter makes it differ from the parent's, the pid from its siblings'. */
static void new_generation(void)
{
    generation = ((uint64_t)getpid() << 32) | ((generation + 1) & UINT32_MAX);
}

/* Makes the engine in `table` this process's. */
static void adopt(void)
{
    if (generation >> 32 != (uint64_t)getpid())
        new_generation();
    meet();
    /* The runtime takes over faults and SIGPIPE, to make panics of them: a program that crashes would not end by the signal
       and leave a core, but with a trace of goroutines and status 2. It needs SIGURG only, with which it interrupts
       itself. */
    restore_dispositions(SIGURG);
    atomic_store(standing, IN_USE);
}

const struct engine_table *engine(void)
{
    const struct engine_table *current = engine_loaded();

    if (current != NULL)
        return current;
    pthread_mutex_lock(&loading);
    if ((current = engine_loaded()) == NULL) {
        if (standing == NULL && start() != 0)
            log_line(error, "cannot start the event engine: %s", strerror(errno));
        else if (atomic_load(standing) == LOADED)
            adopt();
        else
            (void)engine_renew();
        current = engine_loaded();
    }
    pthread_mutex_unlock(&loading);
    return current;
}

void engine_after_fork_child(void)
{
    loading = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    new_generation(); /* now, not when an engine is needed: a loop of the parent may be on the stack */
}

/* Whether the descriptor still is the image: programs that become daemons close what they do not know. */
static int intact(const struct image *image)
{
    struct stat status;

    return image->fd >= 0 && fstat(image->fd, &status) == 0 && status.st_dev == image->device &&
           status.st_ino == image->inode;
}

static void discard(struct image *image)
{
    if (intact(image))
        close(image->fd);
    image->fd = -1;
}

/* The bytes of this library: those that this process runs on, whatever has happened to the file on disk since. */
static int open_source(void)
{
    Dl_info info;
    char path[64];

    for (const struct image *at = &loaded; at != NULL; at = at == &loaded ? &spare : NULL) {
        if (!intact(at))
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", at->fd);
        return open(path, O_RDONLY | O_CLOEXEC);
    }
    if (dladdr((const void *)&_mln_engine, &info) == 0 || info.dli_fname == NULL) {
        errno = ENOENT;
        return -1;
    }
    return open(info.dli_fname, O_RDONLY | O_CLOEXEC);
}

static int copy_file(int from, int to)
{
    struct stat status;
    off_t offset = 0;

    if (fstat(from, &status) != 0)
        return -1;
    while (offset < status.st_size) {
        ssize_t n = sendfile(to, from, &offset, (size_t)(status.st_size - offset));
        if (n > 0 || (n < 0 && errno == EINTR))
            continue;
        if (n == 0)
            errno = EIO;
        return -1;
    }
    return 0;
}

/* Whether the loader will be able to map it (a kernel may refuse executable memfds, a mount may be noexec) and to open it
   by the only name that it has. */
static int usable(int fd)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *probe = mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    char path[64];
    int again;

    if (probe == MAP_FAILED)
        return 0;
    munmap(probe, page);
    snprintf(path, sizeof path, "/proc/%ld/fd/%d", (long)getpid(), fd);
    if ((again = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return 0;
    close(again);
    return 1;
}

static int create_in_memory(void)
{
    int fd = memfd_create("libmln", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create("libmln", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd;
}

/* Where executable memfds are denied: a file that never had a name. */
static int create_on_disk(void)
{
    const char *folders[] = {getenv("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"};
    int fd = -1;

    for (size_t i = 0; i < sizeof folders / sizeof folders[0] && fd < 0; ++i)
        if (folders[i] != NULL)
            fd = open(folders[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd;
}

static int make_image_by(int (*create)(void), int from, struct image *image)
{
    struct stat status;
    int saved, fd = create();

    if (fd < 0)
        return -1;
    if (copy_file(from, fd) == 0 && usable(fd) && fstat(fd, &status) == 0) {
        (void)fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        *image = (struct image){fd, status.st_dev, status.st_ino};
        return 0;
    }
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Makes sure that `spare` is one. */
static int make_spare(void)
{
    int from, result, saved;

    if (intact(&spare))
        return 0;
    spare.fd = -1;
    if ((from = open_source()) < 0)
        return -1;
    if ((result = make_image_by(create_in_memory, from, &spare)) != 0)
        result = make_image_by(create_on_disk, from, &spare);
    saved = errno;
    close(from);
    errno = saved;
    return result;
}

int engine_prepare_fork(void)
{
    void *space;

    if (engine() == NULL)
        return -1;
    if (make_spare() != 0) {
        int saved = errno;
        log_line(error,
                 "cannot fork: a worker needs a copy of libmln.so of its own, and neither a memory file nor a temporary "
                 "file can hold one that may be executed and opened through /proc: %s",
                 strerror(saved));
        errno = saved;
        return -1;
    }
    space = mmap(NULL, RUNTIME_RESERVES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) {
        int saved = errno;
        log_line(error, "cannot fork: a worker needs %zu MiB of address space beyond this process's (see ulimit -v): %s",
                 RUNTIME_RESERVES >> 20, strerror(saved));
        errno = saved;
        return -1;
    }
    munmap(space, RUNTIME_RESERVES);
    return 0;
}

int engine_renew(void)
{
    const struct engine_table *fresh;
    char path[64];
    void *handle;

    /* The dead runtime's handlers would be called for the program's faults, and the fresh runtime would forward to them; those
       of the parent's loops have no loops any more. */
    restore_dispositions(0);
    note_dispositions(); /* with the handlers that the program has installed since */
    if (make_spare() != 0) { /* only where the fork was not announced */
        int saved = errno;
        log_line(error, "cannot make a copy of libmln.so for this process: %s", strerror(saved));
        errno = saved;
        return -1;
    }
    snprintf(path, sizeof path, "/proc/%ld/fd/%d", (long)getpid(), spare.fd);
    /* An ancestor with the same pid may have used the same name. The loader would return that copy. */
    if (dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) != NULL)
        snprintf(path, sizeof path, "/proc/self/task/%ld/fd/%d", (long)getpid(), spare.fd);
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        log_line(error, "cannot load a fresh copy of libmln.so: %s", dlerror());
        errno = ENOEXEC;
        return -1;
    }
    discard(&loaded);
    loaded = spare;
    spare.fd = -1;
    fresh = dlsym(handle, "_mln_engine");
    if (fresh == NULL || fresh == table) {
        log_line(error, "cannot load a fresh copy of libmln.so: the loader returned one that is in use");
        errno = EEXIST;
        return -1;
    }
    if (strcmp(fresh->build, table->build) != 0) {
        log_line(error, "libmln.so was replaced on disk (build %s; this program runs %s): start the program again",
                 fresh->build, table->build);
        errno = ESTALE;
        return -1;
    }
    table = fresh;
    adopt();
    return 0;
}
