/*
 * check.h - assertions and measurements for the test programs. C99 to C17 and C++.
 *
 * Include it first: it asks the C library for all its declarations. A check that fails says so on standard error and ends the process
 * that failed, at once and with status 1, without running what the program registered with atexit.
 */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef CLOCK_MONOTONIC
#error "include check.h before any other header, or define _GNU_SOURCE"
#endif

#define CHECK_UNUSED __attribute__((unused))

/* The condition holds. */
#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition " does not hold"))

/* Two integers of any type up to long long are equal. */
#define CHECK_INT(actual, expected) check_int(__FILE__, __LINE__, #actual, (long long)(actual), (long long)(expected))

/* Two strings are equal; NULL is equal to NULL alone. */
#define CHECK_STR(actual, expected) check_str(__FILE__, __LINE__, #actual, (actual), (expected))

/* Two pointers are equal. */
#define CHECK_PTR(actual, expected) check_ptr(__FILE__, __LINE__, #actual, (actual), (expected))

CHECK_UNUSED __attribute__((noreturn)) static inline void check_end(void)
{
    fflush(stdout);
    _exit(1);
}

CHECK_UNUSED __attribute__((noreturn)) static inline void check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: [pid %ld] %s\n", file, line, (long)getpid(), what);
    check_end();
}

CHECK_UNUSED static inline void check_int(const char *file, int line, const char *what, long long actual, long long expected)
{
    if (actual == expected)
        return;
    fprintf(stderr, "%s:%d: [pid %ld] %s is %lld, and %lld is expected\n", file, line, (long)getpid(), what, actual, expected);
    check_end();
}

CHECK_UNUSED static inline void check_str(const char *file, int line, const char *what, const char *actual, const char *expected)
{
    if (actual == expected || (actual != NULL && expected != NULL && strcmp(actual, expected) == 0))
        return;
    fprintf(stderr, "%s:%d: [pid %ld] %s is \"%s\", and \"%s\" is expected\n", file, line, (long)getpid(), what,
            actual != NULL ? actual : "(NULL)", expected != NULL ? expected : "(NULL)");
    check_end();
}

CHECK_UNUSED static inline void check_ptr(const char *file, int line, const char *what, const void *actual, const void *expected)
{
    if (actual == expected)
        return;
    fprintf(stderr, "%s:%d: [pid %ld] %s is %p, and %p is expected\n", file, line, (long)getpid(), what, actual, expected);
    check_end();
}

/*
 * By how much the test lets this program be slower than usual, as it is under valgrind: for times that something must be done in, and
 * that nothing but the speed of the program decides.
 */
CHECK_UNUSED static inline int check_slowness(void)
{
    const char *slowness = getenv("CHECK_SLOWNESS");
    return slowness != NULL ? atoi(slowness) : 1;
}

/*
 * Whether a descriptor is the epoll instance that the Go runtime has for itself, with an eventfd: it opens them when its garbage
 * collector has run, once. It is the one that watches something with an address of the library's as data.
 */
CHECK_UNUSED static inline int check_is_runtimes(const char *descriptor)
{
    char path[300], text[256] = "";
    unsigned long long data;
    const char *line;
    FILE *file;
    Dl_info info;
    snprintf(path, sizeof path, "/proc/self/fd/%s", descriptor);
    if (readlink(path, text, sizeof text - 1) < 0 || strcmp(text, "anon_inode:[eventpoll]") != 0)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%s", descriptor);
    if ((file = fopen(path, "r")) == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return (line = strstr(text, "\ntfd:")) != NULL && sscanf(line, "\ntfd: %*d events: %*x data: %llx", &data) == 1 &&
           dladdr((void *)(size_t)data, &info) != 0;
}

/* Whether a descriptor is a file of a control group: the Go runtime keeps one or two, since it looks now and then how much it may do. */
CHECK_UNUSED static inline int check_is_control_groups(const char *descriptor)
{
    static const char folder[] = "/sys/fs/cgroup/";
    char path[300], text[sizeof folder] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%s", descriptor);
    return readlink(path, text, sizeof text - 1) > 0 && strcmp(text, folder) == 0;
}

/* Without those that the Go runtime has for itself. */
CHECK_UNUSED static inline int check_open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        count += (entry->d_name[0] != '.') - 2 * check_is_runtimes(entry->d_name) - check_is_control_groups(entry->d_name);
    closedir(dir);
    return count - 1; /* without the one that read the folder */
}

/*
 * The number of open descriptors of this process. It has to be the same for some milliseconds: the Go runtime starts in the
 * background, and reads a file or two meanwhile.
 */
CHECK_UNUSED static inline int fd_count(void)
{
    const struct timespec pause = {0, 2000000};
    int count = check_open_descriptors();
    for (int same = 0; same < 5;) {
        int now;
        nanosleep(&pause, NULL);
        now = check_open_descriptors();
        same = now == count ? same + 1 : 0;
        count = now;
    }
    return count;
}

/* The number of children of this process, of all its threads, with those that ended and were not waited for. */
CHECK_UNUSED static inline int child_count(void)
{
    DIR *dir = opendir("/proc/self/task");
    int count = 0;
    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[sizeof "/proc/self/task//children" + sizeof entry->d_name];
        long pid;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/children", entry->d_name);
        FILE *children = fopen(path, "r");
        if (children == NULL)
            continue; /* the thread has ended */
        while (fscanf(children, "%ld", &pid) == 1)
            count++;
        fclose(children);
    }
    closedir(dir);
    return count;
}

/* Milliseconds on the monotonic clock, from an arbitrary start. */
CHECK_UNUSED static inline long long now_ms(void)
{
    struct timespec now;
    CHECK_INT(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
