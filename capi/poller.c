/*
 * poller.c - the descriptors that the Go runtime has for itself: an epoll instance, and an eventfd to wake it.
 *
 * A child made by fork must not keep them: with the epoll instance it could make its parent's runtime believe in events
 * that there are none of, at addresses of the child's choice. The runtime tells nobody their numbers. But the kernel tells
 * of every epoll instance what it watches and with which data, which for the eventfd is the address of a variable of the
 * runtime's.
 */
#include "poller.h"

#include "copy.h"
#include "engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int epoll = -1, wake = -1; /* as found before the last fork */

/* Whether a descriptor is of an epoll instance that watches its first one with an address in the copy as data. */
static int is_runtimes(int fd, const struct copy *copy, int *watched)
{
    char path[64], text[256];
    unsigned long long data;
    const char *line;
    ssize_t n;
    int info;

    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    if ((info = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return 0;
    n = read(info, text, sizeof text - 1);
    close(info);
    text[n > 0 ? n : 0] = '\0';
    return (line = strstr(text, "\ntfd:")) != NULL && sscanf(line, "\ntfd: %d events: %*x data: %llx", watched, &data) == 2 &&
           copy_holds(copy, (const void *)(uintptr_t)data);
}

/* Without /proc they are not found, and the child keeps them. */
static void find(const struct copy *copy)
{
    DIR *dir = opendir("/proc/self/fd");

    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        int fd = atoi(entry->d_name); /* 0 for what is no number */

        if (is_runtimes(fd, copy, &wake)) {
            epoll = fd;
            break;
        }
    }
    closedir(dir);
}

void poller_before_fork(const struct copy *copy)
{
    int saved = errno;

    if (!__atomic_load_n(&copy->table->orders->polls, __ATOMIC_ACQUIRE))
        return;
    if (epoll < 0)
        find(copy);
    else if (!is_runtimes(epoll, copy, &wake)) /* the program has closed what it does not know, and uses the number itself */
        epoll = -1;
    errno = saved;
}

void poller_after_fork_child(void)
{
    if (epoll < 0)
        return;
    close(epoll);
    close(wake);
    epoll = -1;
}
