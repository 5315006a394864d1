/*
 * copy.c - second copies of this library, loaded but not started.
 *
 * The loader recognises a library that it has loaded by the string of its path and by its inode. A copy therefore has to
 * be another inode, opened by a path never used before: a sealed memfd with the library's bytes, by a name below /proc.
 *
 * And it has to be inert: loaded before a fork, by a process that never uses it, for children that start it. So its file
 * says that there are no constructors and destructors. The loader maps and relocates it and calls nothing; who starts the
 * copy calls its constructors. They are where this library's own are: the file is of the same build.
 */
#include "copy.h"

#include "engine.h"
#include "gothread.h"
#include "log.h"
#include "standard.h"
#include "trusted.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* The loader looks at it in programs only: takes the place of an entry that it is not to see. */
#define IGNORED_TAG DT_DEBUG

/* How many copies can be told apart by their names. The loader has room for the thread-local variables of some 30. */
enum { COPIES_MAX = 256 };

/* What is put before the Go variables of the environment that a copy sees, each unless it is there. */
static char *const own_variables[] = {
    "GOMAXPROCS=1",             /* see meet() in image.c */
    "GODEBUG=memprofilerate=0", /* nobody could read the profile */
};
enum { OWN_VARIABLES = sizeof own_variables / sizeof own_variables[0] };

typedef void constructor(int, char **, char **);

extern const struct engine_table _mln_engine;

/* Put there by the linker: the ELF header of this library, as it was loaded. Likewise _DYNAMIC, its dynamic section. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

/* A file with the bytes of this library. */
struct image {
    int fd; /* -1: none */
    dev_t device;
    ino_t inode;
};

/* Of the copy that this process, or the ancestor that it was forked from, has loaded last. The next is made from it. */
static struct image latest = {.fd = -1};

static unsigned copies; /* loaded by this process and its ancestors: as many names the loader has seen */

static int argument_count;
static char **arguments; /* with the environment and the auxiliary vector behind them, as the kernel lays them out */
static char seed[16];
static int one_processor;

/* ---- what a runtime is told by the kernel ---- */

static int is_set(char *const *variables, const char *assignment)
{
    size_t name = (size_t)(strchr(assignment, '=') - assignment) + 1;

    for (; *variables != NULL; ++variables)
        if (strncmp(*variables, assignment, name) == 0)
            return 1;
    return 0;
}

/*
 * The runtime of a copy finds the environment and the auxiliary vector behind the arguments. It needs the variables that are
 * for runtimes, not those of the program. And its random numbers shall not be its siblings', as they would be with the seed that
 * the kernel gave to the first process.
 */
void copy_note_arguments(int argc, char **argv)
{
    char **variables = argv + argc + 1, **end = variables, **to;
    size_t auxiliary;

    argument_count = argc;
    arguments = argv;
    while (*end != NULL)
        ++end;
    for (auxiliary = 0; ((const ElfW(auxv_t) *)(end + 1))[auxiliary].a_type != AT_NULL;)
        ++auxiliary;
    auxiliary = (auxiliary + 1) * sizeof(ElfW(auxv_t));
    if ((to = malloc((size_t)(end + 1 - argv + OWN_VARIABLES) * sizeof *to + auxiliary)) == NULL)
        return;
    arguments = memcpy(to, argv, (size_t)(argc + 1) * sizeof *to);
    to += argc + 1;
    one_processor = !is_set(variables, own_variables[0]);
    for (int i = 0; i < OWN_VARIABLES; ++i)
        if (!is_set(variables, own_variables[i]))
            *to++ = own_variables[i];
    for (char **variable = variables; variable < end; ++variable)
        if (strncmp(*variable, "GO", 2) == 0)
            *to++ = *variable;
    *to++ = NULL;
    memcpy(to, end + 1, auxiliary);
    for (ElfW(auxv_t) *entry = (ElfW(auxv_t) *)to; entry->a_type != AT_NULL; ++entry)
        if (entry->a_type == AT_RANDOM)
            entry->a_un.a_val = (uintptr_t)seed;
}

int copy_has_one_processor(void)
{
    return one_processor;
}

/* ---- where things are ---- */

static const ElfW(Phdr) *segments(void)
{
    return (const ElfW(Phdr) *)((uintptr_t)&__ehdr_start + __ehdr_start.e_phoff);
}

static struct copy extent(const struct engine_table *table, uintptr_t base)
{
    struct copy copy = {table, base, base};

    for (int i = 0; i < __ehdr_start.e_phnum; ++i) {
        const ElfW(Phdr) *segment = &segments()[i];

        if (segment->p_type == PT_LOAD && base + segment->p_vaddr + segment->p_memsz > copy.end)
            copy.end = base + segment->p_vaddr + segment->p_memsz;
    }
    return copy;
}

struct copy copy_first(void)
{
    return extent(&_mln_engine, (uintptr_t)&__ehdr_start); /* the header is what is loaded first */
}

int copy_holds(const struct copy *copy, const void *address)
{
    return (uintptr_t)address >= copy->begin && (uintptr_t)address < copy->end;
}

/* An entry of the dynamic section, 0 if there is none. Those asked for are relative to where the library is loaded. */
static size_t dynamic_entry(ElfW(Sxword) tag)
{
    for (const ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; ++entry)
        if (entry->d_tag == tag)
            return entry->d_un.d_val;
    return 0;
}

/* Where in the file the bytes at an address of this library come from. */
static off_t file_offset(const void *address)
{
    size_t at = (uintptr_t)address - (uintptr_t)&__ehdr_start;

    for (int i = 0; i < __ehdr_start.e_phnum; ++i) {
        const ElfW(Phdr) *segment = &segments()[i];

        if (segment->p_type == PT_LOAD && at - segment->p_vaddr < segment->p_filesz)
            return (off_t)(at - segment->p_vaddr + segment->p_offset);
    }
    return -1;
}

/* ---- files ---- */

/* Whether the descriptor still is the image: programs that become daemons close what they do not know. */
static int intact(const struct image *image)
{
    return image->fd >= 0 && trusted_is_file(image->fd, image->device, image->inode);
}

static void discard(struct image *image)
{
    if (intact(image))
        close(image->fd);
    image->fd = -1;
}

static int open_library(void)
{
    Dl_info info;

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

/* Whether the bytes at an address of this library are the same in the file. */
static int same_bytes(int fd, const void *address, size_t size, off_t offset)
{
    char buffer[512];

    for (size_t done = 0; done < size;) {
        size_t n = size - done < sizeof buffer ? size - done : sizeof buffer;

        if (pread(fd, buffer, n, offset + (off_t)done) != (ssize_t)n || memcmp(buffer, (const char *)address + done, n) != 0)
            return 0;
        done += n;
    }
    return 1;
}

/* Whether the file is of the same build as what runs here, and is all there. */
static int same_build(int fd)
{
    const ElfW(Ehdr) *header = &__ehdr_start;
    struct stat status;

    if (fstat(fd, &status) != 0)
        return 0;
    for (int i = 0; i < header->e_phnum; ++i)
        if ((uint64_t)status.st_size < segments()[i].p_offset + segments()[i].p_filesz)
            return 0;
    return same_bytes(fd, header, sizeof *header, 0) &&
           same_bytes(fd, segments(), header->e_phnum * sizeof *segments(), (off_t)header->e_phoff) &&
           same_bytes(fd, _mln_engine.build, strlen(_mln_engine.build) + 1, file_offset(_mln_engine.build));
}

/* Takes the constructors and destructors out of the dynamic section: a list is empty, a single function is not there. */
static int make_inert(int fd)
{
    const ElfW(Phdr) *segment = segments();
    ElfW(Dyn) entry;
    off_t at;

    while (segment->p_type != PT_DYNAMIC)
        ++segment;
    for (at = (off_t)segment->p_offset; pread(fd, &entry, sizeof entry, at) == sizeof entry; at += (off_t)sizeof entry) {
        if (entry.d_tag == DT_NULL)
            return 0;
        if (entry.d_tag == DT_INIT_ARRAYSZ || entry.d_tag == DT_FINI_ARRAYSZ)
            entry.d_un.d_val = 0;
        else if (entry.d_tag == DT_INIT || entry.d_tag == DT_FINI)
            entry.d_tag = IGNORED_TAG;
        else
            continue;
        if (pwrite(fd, &entry, sizeof entry, at) != sizeof entry)
            break;
    }
    errno = EIO;
    return -1;
}

/*
 * Opens the image once more, by the only name that it has. A name with the pid would be another process's where /proc belongs to another
 * pid namespace. If another file is found in the end, as in what is no /proc, the loader would run its constructors.
 */
static int open_again(int fd)
{
    struct stat status;
    char path[64];
    int again;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if ((again = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return -1;
    if (fstat(fd, &status) == 0 && trusted_is_file(again, status.st_dev, status.st_ino))
        return again;
    close(again);
    errno = ENOENT;
    return -1;
}

/* Whether the loader will be able to map it (a kernel may refuse executable memfds, a mount may be noexec) and to open it. */
static int usable(int fd)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *probe = mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    int again;

    if (probe == MAP_FAILED)
        return 0;
    munmap(probe, page);
    if ((again = open_again(fd)) < 0)
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
    const char *folders[] = {secure_getenv("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"};
    int fd = -1;

    for (size_t i = 0; i < sizeof folders / sizeof folders[0] && fd < 0; ++i)
        if (folders[i] != NULL)
            fd = open(folders[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd;
}

static int fill(int fd, int from)
{
    if (copy_file(from, fd) != 0 || !usable(fd))
        return -1;
    if (same_build(fd))
        return make_inert(fd);
    errno = ESTALE;
    return -1;
}

/*
 * Makes the image read-only. Every process that is forked has its descriptor, and all run what is in it: a worker that writes
 * to it would change the code of its siblings.
 */
static int freeze_in_memory(int *fd)
{
    return fcntl(*fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

/* A file on disk has no seals, but another descriptor can be one that only reads. */
static int freeze_on_disk(int *fd)
{
    int reader = open_again(*fd);

    if (reader < 0)
        return -1;
    close(*fd);
    *fd = reader;
    return 0;
}

static int make_image_by(int (*create)(void), int (*freeze)(int *), int from, struct image *image)
{
    struct stat status;
    int saved, fd = create();

    if (fd < 0)
        return -1;
    if (fill(fd, from) == 0 && freeze(&fd) == 0 && fstat(fd, &status) == 0) {
        *image = (struct image){fd, status.st_dev, status.st_ino};
        return 0;
    }
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/*
 * From the bytes that this process runs on, whatever has happened to the file on disk since. They are read by the descriptor at
 * hand: to open the image anew takes the permission to, which any process of the same account can take away from all that have it.
 * -1 with errno and a reason.
 */
static int make_image(struct image *image, char *reason)
{
    int result, saved, held = intact(&latest), from = held ? latest.fd : open_library();

    if (from < 0) {
        saved = errno;
        snprintf(reason, COPY_REASON_MAX, "cannot open the file of the library: %s", strerror(saved));
        errno = saved;
        return -1;
    }
    if ((result = make_image_by(create_in_memory, freeze_in_memory, from, image)) != 0 && errno != ESTALE)
        result = make_image_by(create_on_disk, freeze_on_disk, from, image);
    saved = errno;
    if (!held)
        close(from);
    if (result != 0 && saved == ESTALE)
        snprintf(reason, COPY_REASON_MAX, "libmln.so was replaced on disk: start the program again");
    else if (result != 0)
        snprintf(reason, COPY_REASON_MAX,
                 "neither a memory file nor a temporary file can hold one that may be executed and opened through /proc: %s%s",
                 strerror(saved), saved == EFBIG ? " (see ulimit -f)" : "");
    errno = saved;
    return result;
}

/* A file that may not be as large (ulimit -f) is a failure like others: the signal that ends a program by default is taken off again. */
static int make_image_unless_too_large(struct image *image, char *reason)
{
    sigset_t limit, before, pending;
    int result, saved;

    sigemptyset(&limit);
    sigaddset(&limit, SIGXFSZ);
    sigemptyset(&pending);
    (void)sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &limit, &before);
    result = make_image(image, reason);
    saved = errno;
    if (!sigismember(&pending, SIGXFSZ))
        log_forget_limit();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return result;
}

/* ---- loading and starting ---- */

/* Loads the image by a name that the loader has not seen: it compares strings, and to the kernel many slashes are one. */
static void *load_image(const struct image *image)
{
    char slashes[COPIES_MAX], path[COPIES_MAX + 64];

    memset(slashes, '/', sizeof slashes);
    snprintf(path, sizeof path, "/proc/self/fd/%.*s%d", 1 + (int)(copies % COPIES_MAX), slashes, image->fd);
    ++copies;
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

/*
 * Where the loader cannot map all of an image it may leave mapped what it has mapped by then, and forget it: glibc 2.36 does. Each
 * further try would take more of the address space that may be what is short.
 */
static void unmap_remains(const struct image *image)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    Dl_info info;

    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        unsigned long begin, end, inode;
        unsigned device[2];

        if (sscanf(line, "%lx-%lx %*s %*x %x:%x %lu", &begin, &end, &device[0], &device[1], &inode) == 5 && inode == image->inode &&
            makedev(device[0], device[1]) == image->device && dladdr((const void *)begin, &info) == 0)
            (void)munmap((void *)begin, end - begin);
    }
    if (maps != NULL)
        fclose(maps);
}

static int fail(struct image *image, char *reason, int error_number, const char *text)
{
    discard(image);
    snprintf(reason, COPY_REASON_MAX, "%s", text);
    errno = error_number;
    return -1;
}

int copy_load(struct copy *copy, char reason[COPY_REASON_MAX])
{
    struct image image = {.fd = -1};
    const struct engine_table *table;
    struct link_map *map;
    void *handle;

    if (standard_occupy() != 0)
        return fail(&image, reason, errno, "it would get the number of a standard descriptor");
    if (make_image_unless_too_large(&image, reason) != 0)
        return -1;
    if ((handle = load_image(&image)) == NULL) {
        unmap_remains(&image);
        return fail(&image, reason, ENOMEM, dlerror()); /* it is what this process runs, and can be mapped: room is short */
    }
    table = dlsym(handle, "_mln_engine");
    if (table == NULL || table == &_mln_engine || table->orders->second || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
        return fail(&image, reason, EEXIST, "the loader returned one that is in use");
    discard(&latest);
    latest = image;
    *copy = extent(table, map->l_addr);
    return 0;
}

/* Linux before 5.14 cannot, and the pages come one by one. */
static void fill_range(uintptr_t begin, uintptr_t end, int to_write)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    begin &= ~(page - 1);
    (void)madvise((void *)begin, end - begin, to_write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

/*
 * Maps the pages of a copy in one go: most are touched when it starts, and each would be a fault, which costs more than the
 * page does. What only relocations write to stays shared with the parent; what lies behind it is written to.
 */
static void fill_in(const struct copy *copy)
{
    uintptr_t relocated = 0;

    for (int i = 0; i < __ehdr_start.e_phnum; ++i)
        if (segments()[i].p_type == PT_GNU_RELRO)
            relocated = copy->begin + segments()[i].p_vaddr + segments()[i].p_memsz;
    for (int i = 0; i < __ehdr_start.e_phnum; ++i) {
        const ElfW(Phdr) *segment = &segments()[i];
        uintptr_t begin = copy->begin + segment->p_vaddr, end = begin + segment->p_memsz;

        if (segment->p_type != PT_LOAD)
            continue;
        if (begin < relocated && relocated < end) {
            fill_range(begin, relocated, 0);
            begin = relocated;
        }
        fill_range(begin, end, (segment->p_flags & PF_W) != 0);
    }
}

void copy_start(const struct copy *copy)
{
    size_t single = dynamic_entry(DT_INIT);
    constructor *const *list = (constructor *const *)(copy->begin + dynamic_entry(DT_INIT_ARRAY));
    size_t n = dynamic_entry(DT_INIT_ARRAYSZ) / sizeof *list;

    fill_in(copy);
    (void)!getrandom(seed, sizeof seed, GRND_NONBLOCK); /* if it is empty, the runtime finds another */
    copy->table->orders->second = 1;
    copy->table->orders->create_thread = gothread_create();
    copy->table->orders->no_thread = engine_orders.no_thread;
    if (single != 0)
        ((constructor *)(copy->begin + single))(argument_count, arguments, environ);
    for (size_t i = 0; i < n; ++i)
        list[i](argument_count, arguments, environ);
}
