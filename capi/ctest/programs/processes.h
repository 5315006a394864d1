/*
 * processes.h - for test programs that start processes: this program once more, waiting, and what /proc says. Include
 * check.h first.
 */
#ifndef PROCESSES_H
#define PROCESSES_H

#include "check.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

/* Starts this program again with the given words as its arguments: a process without any history. The list ends with NULL. */
CHECK_UNUSED static inline pid_t start_self(const char *const *words)
{
    char *argv[16] = {(char *)"self"};
    pid_t pid;
    int n = 1;

    while (*words != NULL && n < 15)
        argv[n++] = (char *)*words++;
    fflush(NULL);
    if ((pid = fork()) == 0) {
        execv("/proc/self/exe", argv);
        _exit(126);
    }
    CHECK(pid > 0);
    return pid;
}

/* Waits for a child and returns its exit status, or 128 plus the signal that ended it. */
CHECK_UNUSED static inline int await_status(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        CHECK_INT(errno, EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs this program with one argument and insists on status 0. */
CHECK_UNUSED static inline void run_self(const char *mode)
{
    const char *const words[] = {mode, NULL};
    int status = await_status(start_self(words));

    if (status != 0)
        fprintf(stderr, "the part \"%s\" of this test ended with status %d\n", mode, status);
    CHECK_INT(status, 0);
}

/* A part of a test program that has to begin in a process without any history. */
struct part {
    const char *name;
    void (*run)(void);
};

/* For main: runs every part, each in a process of its own, or in such a process the one that is asked for. Returns 0. */
CHECK_UNUSED static inline int run_parts(int argc, char **argv, const struct part *parts, size_t n)
{
    for (size_t i = 0; i < n; ++i) {
        if (argc == 1)
            run_self(parts[i].name);
        else if (strcmp(argv[1], parts[i].name) == 0) {
            parts[i].run();
            return 0;
        }
    }
    CHECK(argc == 1);
    return 0;
}

/* What a descriptor is, as the kernel names it; "" if it is not open. Valid until the next call. */
CHECK_UNUSED static inline const char *descriptor_name(int fd)
{
    static char name[256];
    char path[64];
    ssize_t n;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    n = readlink(path, name, sizeof name - 1);
    name[n > 0 ? n : 0] = '\0';
    return name;
}

/* Sleeps so long, whatever signals arrive. */
CHECK_UNUSED static inline void sleep_ms(long long ms)
{
    long long end = now_ms() + ms;

    for (long long left = ms; left > 0; left = end - now_ms())
        usleep((useconds_t)(left < 900 ? left * 1000 : 900000));
}

/* The number of threads of this process. */
CHECK_UNUSED static inline int thread_count(void)
{
    DIR *dir = opendir("/proc/self/task");
    int count = 0;

    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* The number of mappings of this process that /proc tells with this text: "" for all, "/" for those of files. */
CHECK_UNUSED static inline int mapping_count(const char *text)
{
    FILE *file = fopen("/proc/self/maps", "r");
    char line[4300];
    int count = 0;

    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        count += strstr(line, text) != NULL;
    fclose(file);
    return count;
}

/* A line of /proc/PID/status that holds a number, in the given base; pid 0: this process. */
CHECK_UNUSED static inline unsigned long long status_number(pid_t pid, const char *key, int base)
{
    char path[64], line[256];
    unsigned long long value = 0;
    int found = 0;
    FILE *file;

    if (pid == 0)
        snprintf(path, sizeof path, "/proc/self/status");
    else
        snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    CHECK((file = fopen(path, "r")) != NULL);
    while (!found && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':') {
            value = strtoull(line + strlen(key) + 1, NULL, base);
            found = 1;
        }
    }
    fclose(file);
    CHECK(found);
    return value;
}

/* The state of a process as a letter, as in proc_pid_stat(5): 'T' is a stopped one, 'X' one that does not exist. */
CHECK_UNUSED static inline char process_state(pid_t pid)
{
    char path[64], state = 'X';
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    if ((file = fopen(path, "r")) == NULL)
        return 'X';
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 'X';
    fclose(file);
    return state;
}

/* Whether a process runs: it exists and is no zombie. */
CHECK_UNUSED static inline int is_running(pid_t pid)
{
    char state = process_state(pid);

    return state != 'Z' && state != 'X';
}

/* Waits until the process does not run any more, at most so long; 1 when that came about. */
CHECK_UNUSED static inline int await_gone(pid_t pid, long long ms)
{
    for (long long end = now_ms() + ms; is_running(pid); usleep(1000))
        if (now_ms() >= end)
            return 0;
    return 1;
}

#endif
