/*
 * fault_malloc.c - to be preloaded: has one allocation of libmln.so fail, in whatever process of a group that it is, and of
 * the copies that forked workers start. What fault.c does for system calls.
 *
 * FAULT_MALLOC is "PHASE:NUMBER"; the phase is told by prctl(), see fault.c. The process that is started with it tells at its end
 * how many such calls there were. Programs that it executes are left alone.
 *
 * An allocation is whatever the library calls that allocates, by itself or, as fopen() does, inside the C library: that is
 * one call, and fails as a whole. What the dynamic loader allocates for a copy is left alone.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FAULT_PHASE = 0x6d6c6e00, FAULT_SPARED = 0x80, LIBRARIES_MAX = 8 };

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

/* Of all processes that the first forks. */
static struct shared {
    atomic_int phase;
    atomic_long seen; /* since the phase began */
    atomic_long most_seen, refused;
} * shared;

static int wanted_phase;
static long wanted;
static pid_t first;
/* The library, and its copies. */
static struct {
    uintptr_t begin, end;
} libraries[LIBRARIES_MAX];
static int library_count;

static int find_library(struct dl_phdr_info *info, size_t size, void *name)
{
    (void)size;
    if (strstr(info->dlpi_name, name) == NULL || library_count == LIBRARIES_MAX)
        return 0;
    libraries[library_count].begin = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; ++i)
        if (info->dlpi_phdr[i].p_type == PT_LOAD)
            libraries[library_count].end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
    ++library_count;
    return 1;
}

static void *next_function(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (found == NULL)
        abort();
    return found;
}

/* Only copies are loaded so. */
void *dlopen(const char *path, int flags)
{
    void *(*next)(const char *, int), *handle;

    *(void **)&next = next_function("dlopen");
    handle = next(path, flags);
    if (handle != NULL && path != NULL && shared != NULL)
        dl_iterate_phdr(find_library, (void *)path);
    return handle;
}

__attribute__((constructor)) static void prepare(void)
{
    const char *text = getenv("FAULT_MALLOC");

    if (text == NULL || sscanf(text, "%d:%ld", &wanted_phase, &wanted) != 2)
        return;
    unsetenv("FAULT_MALLOC"); /* a program that is executed is on its own */
    dl_iterate_phdr(find_library, (void *)"libmln.so");
    first = getpid();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        abort();
}

__attribute__((destructor)) static void tell(void)
{
    char text[64];

    if (shared == NULL || getpid() != first)
        return;
    fflush(stdout); /* else the line may come into the middle of one */
    (void)!write(STDOUT_FILENO, text, (size_t)snprintf(text, sizeof text, "fault: %ld calls, %ld refused\n",
                                                       atomic_load(&shared->most_seen), atomic_load(&shared->refused)));
}

int prctl(int option, ...)
{
    unsigned long a[4];
    va_list list;

    va_start(list, option);
    for (int i = 0; i < 4; ++i)
        a[i] = va_arg(list, unsigned long);
    va_end(list);
    if ((option & ~0xff) == FAULT_PHASE && (option & 0xff) < FAULT_SPARED && shared != NULL) {
        atomic_store(&shared->phase, option & 0xff);
        atomic_store(&shared->seen, 0);
    }
    return (int)syscall(SYS_prctl, option, a[0], a[1], a[2], a[3]);
}

static int is_library(uintptr_t caller)
{
    for (int i = 0; i < library_count; ++i)
        if (caller >= libraries[i].begin && caller < libraries[i].end)
            return 1;
    return 0;
}

static int refused(const void *caller)
{
    long number, most;

    if (shared == NULL || !is_library((uintptr_t)caller) || atomic_load(&shared->phase) != wanted_phase)
        return 0;
    number = atomic_fetch_add(&shared->seen, 1) + 1;
    for (most = atomic_load(&shared->most_seen); number > most;)
        if (atomic_compare_exchange_weak(&shared->most_seen, &most, number))
            break;
    if (number != wanted)
        return 0;
    atomic_fetch_add(&shared->refused, 1);
    errno = ENOMEM;
    return 1;
}

#define REFUSED refused(__builtin_return_address(0))

void *malloc(size_t size)
{
    return REFUSED ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return REFUSED ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    return REFUSED ? NULL : __libc_realloc(old, size);
}

char *strdup(const char *text)
{
    char *copy = REFUSED ? NULL : __libc_malloc(strlen(text) + 1);

    return copy == NULL ? NULL : strcpy(copy, text);
}

char *strndup(const char *text, size_t most)
{
    size_t length = strnlen(text, most);
    char *copy = REFUSED ? NULL : __libc_malloc(length + 1);

    if (copy == NULL)
        return NULL;
    copy[length] = '\0';
    return memcpy(copy, text, length);
}

int vasprintf(char **text, const char *format, va_list args)
{
    int (*next)(char **, const char *, va_list);

    *(void **)&next = next_function("vasprintf");
    return REFUSED ? -1 : next(text, format, args);
}

/* What a compiler that checks buffers makes of it. */
int __vasprintf_chk(char **text, int flag, const char *format, va_list args)
{
    int (*next)(char **, int, const char *, va_list);

    *(void **)&next = next_function("__vasprintf_chk");
    return REFUSED ? -1 : next(text, flag, format, args);
}

int asprintf(char **text, const char *format, ...)
{
    int (*next)(char **, const char *, va_list), result = -1;
    va_list args;

    *(void **)&next = next_function("vasprintf");
    va_start(args, format);
    if (!REFUSED)
        result = next(text, format, args);
    va_end(args);
    return result;
}

int __asprintf_chk(char **text, int flag, const char *format, ...)
{
    int (*next)(char **, int, const char *, va_list), result = -1;
    va_list args;

    *(void **)&next = next_function("__vasprintf_chk");
    va_start(args, format);
    if (!REFUSED)
        result = next(text, flag, format, args);
    va_end(args);
    return result;
}

FILE *fopen(const char *path, const char *mode)
{
    FILE *(*next)(const char *, const char *);

    *(void **)&next = next_function("fopen");
    return REFUSED ? NULL : next(path, mode);
}

DIR *opendir(const char *path)
{
    DIR *(*next)(const char *);

    *(void **)&next = next_function("opendir");
    return REFUSED ? NULL : next(path);
}
