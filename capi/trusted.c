/*
 * trusted.c - paths, followed one component after the other. What is looked at is held by a descriptor, so that nobody can put
 * something else in its place meanwhile.
 */
#include "trusted.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { LINKS_MAX = 40 }; /* as the kernel's */

/* Where a path ends, for openat() and the like. */
struct place {
    int folder; /* AT_FDCWD: the name is the whole path */
    int flags;  /* for openat() */
    char name[PATH_MAX];
};

static bool has_more_rights(void)
{
    return geteuid() == 0 || geteuid() != getuid() || getegid() != getgid();
}

static bool is_trusted(const struct stat *status)
{
    return status->st_uid == 0 || status->st_uid == geteuid();
}

/* Leaves errno as it was: closing must not hide why something failed. */
static void close_quietly(int fd)
{
    int cause = errno;

    if (fd >= 0)
        close(fd);
    errno = cause;
}

/* A file system that a signal interrupts while it opens, as one over the network may be, is asked again. */
static int open_at(int folder, const char *name, int flags, mode_t mode)
{
    int fd;

    do {
        fd = openat(folder, name, flags, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* Puts another folder in the place of the present one; -1 if there is none. */
static int enter(struct place *place, int folder)
{
    close_quietly(place->folder);
    place->folder = folder;
    return folder < 0 ? -1 : 0;
}

/* Takes the first component of `path` into `name`, "." if there is none. What follows it. */
static const char *take_component(const char *path, char *name)
{
    path += strspn(path, "/");
    size_t length = strcspn(path, "/");

    memcpy(name, path, length);
    name[length] = '\0';
    if (length == 0)
        strcpy(name, ".");
    return path + length + strspn(path + length, "/");
}

/* Puts where a link leads before what is left of the path. */
static int expand(int link, const struct stat *status, char path[PATH_MAX], const char *rest)
{
    char target[PATH_MAX], expanded[PATH_MAX];

    if (!is_trusted(status)) {
        errno = ELOOP;
        return -1;
    }
    ssize_t n = readlinkat(link, "", target, sizeof target);
    if (n < 0)
        return -1;
    if (snprintf(expanded, sizeof expanded, "%.*s%s%s", (int)n, target, *rest == '\0' ? "" : "/", rest) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(path, expanded);
    return 0;
}

/* The links of /proc are the kernel's own: where they lead is not always what they say. */
static bool is_kernels(int link)
{
    struct statfs system;

    return fstatfs(link, &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

/* What is at the next component of a path: */
enum step { FAILED, LAST, FOLDER, LINK };

static enum step take_step(struct place *place, char path[PATH_MAX], const char *rest)
{
    struct stat status;
    enum step step = *rest == '\0' ? LAST : FOLDER;
    int found = open_at(place->folder, place->name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);

    if (found < 0)
        return step == LAST && errno == ENOENT ? LAST : FAILED;
    if (fstat(found, &status) < 0) {
        step = FAILED;
    } else if (S_ISLNK(status.st_mode) && is_kernels(found)) {
        place->flags = 0;
        close(found);
        if ((found = open_at(place->folder, place->name, O_PATH | O_CLOEXEC, 0)) < 0)
            return FAILED;
    } else if (S_ISLNK(status.st_mode)) {
        step = expand(found, &status, path, rest) < 0 ? FAILED : LINK;
    }
    if (step == FOLDER)
        enter(place, found);
    else
        close_quietly(found);
    return step;
}

static int start(struct place *place, const char *path)
{
    return enter(place, open_at(AT_FDCWD, *path == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
}

/* Finds where a path ends, what the last component leads to if `follow` is true. 0, or -1 with errno. */
static int find(const char *original, bool follow, struct place *place)
{
    char path[PATH_MAX];
    int links = 0;

    *place = (struct place){.folder = AT_FDCWD};
    if (strlen(original) >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (!has_more_rights()) {
        strcpy(place->name, original);
        return 0;
    }
    strcpy(path, original);
    if (start(place, path) < 0)
        return -1;
    for (const char *rest = path;;) {
        rest = take_component(rest, place->name);
        place->flags = O_NOFOLLOW;
        switch (*rest == '\0' && !follow ? LAST : take_step(place, path, rest)) {
        case LAST:
            return 0;
        case FOLDER:
            continue;
        case LINK:
            rest = path;
            if (++links <= LINKS_MAX && (*path != '/' || start(place, path) == 0))
                continue;
            errno = links > LINKS_MAX ? ELOOP : errno;
            break;
        case FAILED:
            break;
        }
        close_quietly(place->folder);
        return -1;
    }
}

int trusted_open(const char *path, int flags, mode_t mode)
{
    struct place place;
    struct stat file, folder;

    if (find(path, (flags & O_NOFOLLOW) == 0, &place) < 0)
        return -1;
    int fd = open_at(place.folder, place.name, flags | place.flags, mode);
    if (fd >= 0 && place.folder >= 0 && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && file.st_nlink > 1
        && fstat(place.folder, &folder) == 0 && !is_trusted(&folder)) {
        close(fd);
        fd = -1;
        errno = EMLINK;
    }
    close_quietly(place.folder);
    return fd;
}

int trusted_mkdir(const char *path, mode_t mode)
{
    struct place place;

    if (find(path, false, &place) < 0)
        return -1;
    int result = mkdirat(place.folder, place.name, mode);
    close_quietly(place.folder);
    return result;
}

int trusted_unlink(const char *path)
{
    struct place place;

    if (find(path, false, &place) < 0)
        return -1;
    int result = unlinkat(place.folder, place.name, 0);
    close_quietly(place.folder);
    return result;
}

/* Where the kernel is short of memory it is asked again: what is taken for another's is never closed. */
bool trusted_is_file(int fd, dev_t device, ino_t inode)
{
    struct stat status;
    int result = fstat(fd, &status);

    if (result < 0 && errno != EBADF)
        result = fstat(fd, &status);
    return result == 0 && status.st_dev == device && status.st_ino == inode;
}
