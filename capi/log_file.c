/*
 * The files of the log: their paths, the log file, the pid file, and to whom they belong.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mln_path.h"
#include "setting.h"
#include "standard.h"
#include "trusted.h"

#define PID_FILE_NAME "melon.pid"

/* The folder that this process has created for its log, so that nobody else's files are in it. */
static struct {
    bool is_there;
    dev_t device;
    ino_t inode;
} created;

void log_paths_free(struct log_paths *paths)
{
    free(paths->dir);
    free(paths->file);
    free(paths->pid);
    *paths = (struct log_paths){0};
}

__attribute__((format(printf, 1, 2))) static char *print_new(const char *format, ...)
{
    char *text;
    va_list args;

    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return n < 0 ? NULL : text;
}

/* The log file that the configuration asks for, from malloc; NULL after a message. */
static char *file_from_conf(mln_conf_t *cf)
{
    const char *path = NULL;
    if (setting_string(cf, "log_path", &path) < 0)
        return NULL;

    char *file;
    if (path == NULL) {
        path = mln_path_log();
        file = path == NULL ? NULL : strdup(path);
    } else if (*path == '/' || *path == '.' || *path == '\0') {
        file = strdup(path);
    } else {
        file = print_new("%s/%s", mln_path(), path);
    }
    if (file == NULL) {
        log_line(error, "log: no memory for the path of the log file");
        return NULL;
    }
    size_t length = strlen(file);
    if (length == 0 || file[length - 1] == '/') {
        log_line(error, "log: log_path \"%s\" does not name a file; give it the path of the log file", file);
        free(file);
        return NULL;
    }
    return file;
}

int log_paths_from_conf(mln_conf_t *cf, struct log_paths *paths)
{
    *paths = (struct log_paths){0};
    paths->file = file_from_conf(cf);
    if (paths->file == NULL)
        return -1;

    const char *slash = strrchr(paths->file, '/');
    if (slash == NULL)
        paths->dir = strdup(".");
    else if (slash == paths->file)
        paths->dir = strdup("/");
    else
        paths->dir = strndup(paths->file, (size_t)(slash - paths->file));
    if (paths->dir != NULL)
        paths->pid = print_new("%s/" PID_FILE_NAME, strcmp(paths->dir, "/") == 0 ? "" : paths->dir);
    if (paths->pid == NULL) {
        log_line(error, "log: no memory for the paths of the log");
        log_paths_free(paths);
        return -1;
    }
    return 0;
}

const char *log_why(int cause)
{
    switch (cause) {
        case ELOOP:
            return "a symbolic link is in the way that is not followed: another account has made it or could have, or it leads "
                   "in a circle";
        case EMLINK:
            return "it has another name as well, and another account may have given it this one";
        default:
            return strerror(cause);
    }
}

static int make_folder(const char *dir)
{
    bool is_new = trusted_mkdir(dir, 0755) == 0;
    /* Where nothing can be created, the kernel may say so before it says that the folder is there. */
    int cause = errno;
    int fd = trusted_open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    struct stat status;

    if (fd < 0) {
        if (is_new || cause == EEXIST)
            cause = errno;
        log_line(error, "log: cannot create the folder %s: %s; the folder above it has to exist and to be writable", dir,
                 log_why(cause));
        return -1;
    }
    if (is_new && fstat(fd, &status) == 0) {
        created.is_there = true;
        created.device = status.st_dev;
        created.inode = status.st_ino;
    }
    close(fd);
    return 0;
}

/* Not blocking: opening a named pipe that nobody reads would wait for ever. Writing may block all right. */
enum { APPEND = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK };

/* Whether whoever started this program, which has more rights, chose where the path begins: by the folder that he did it in. */
static bool is_led(const char *path)
{
    return *path != '/' && getauxval(AT_SECURE) != 0 && (geteuid() != getuid() || getegid() != getgid());
}

int log_file_open(const struct log_paths *paths)
{
    if (is_led(paths->file)) {
        log_line(error, "log: %s depends on the folder in which this set-user-ID program was started; give log_path an absolute path",
                 paths->file);
        return -1;
    }
    if (standard_occupy() < 0 || make_folder(paths->dir) < 0)
        return -1;
    int fd = trusted_open(paths->file, APPEND, 0644);
    if (fd < 0) {
        log_line(error, "log: cannot open %s for append: %s; see key log_path of the configuration", paths->file, log_why(errno));
        return -1;
    }
    fcntl(fd, F_SETFL, O_APPEND);
    return fd;
}

/* Hands over a file unless it is special, reached by a symbolic link or known by another name as well. */
static void give_file(const char *path, uid_t uid, gid_t gid)
{
    struct stat status;
    int fd = trusted_open(path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);

    if (fd < 0 || fstat(fd, &status) < 0)
        log_line(warn, "log: cannot hand %s over to user %ld: %s", path, (long)uid, log_why(errno));
    else if (!S_ISREG(status.st_mode) || status.st_nlink != 1)
        log_line(warn, "log: %s stays with its owner: it is not a regular file with a single name", path);
    else if (fchown(fd, uid, gid) < 0)
        log_line(warn, "log: cannot hand %s over to user %ld: %s", path, (long)uid, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* Whether it is the folder that an installation has for logs. */
static bool is_of_installation(const struct stat *folder)
{
    struct stat status;
    char *logs = print_new("%s/logs", mln_path());
    int fd = logs == NULL ? -1 : trusted_open(logs, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    bool result = fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == folder->st_dev && status.st_ino == folder->st_ino;

    if (fd >= 0)
        close(fd);
    free(logs);
    return result;
}

/*
 * Hands over a folder that belongs to this program alone. One such as /var/log in other hands would give those hands every other
 * program's logs. What counts is the folder that was opened: its path says nothing, for there may be links in it.
 */
static void give_folder(const char *dir, uid_t uid, gid_t gid)
{
    struct stat status;
    int fd = trusted_open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    if (fd < 0 || fstat(fd, &status) < 0)
        log_line(warn, "log: cannot hand %s over to user %ld: %s", dir, (long)uid, log_why(errno));
    else if ((created.is_there && status.st_dev == created.device && status.st_ino == created.inode) || is_of_installation(&status)) {
        if (fchown(fd, uid, gid) < 0)
            log_line(warn, "log: cannot hand %s over to user %ld: %s", dir, (long)uid, strerror(errno));
    } else if (status.st_uid != uid)
        log_line(warn, "log: the folder %s keeps its owner, for others may have files there; chown it if user %ld is to create the log "
                 "anew there, after a rotation", dir, (long)uid);
    if (fd >= 0)
        close(fd);
}

void log_give_to(uid_t uid, gid_t gid)
{
    const mln_log_t *log = mln_log_state();
    if (!log->init)
        return;
    /* Not the pid file, which this process has open: whoever may write it could have --stop refused, or the next start. */
    give_file(log->log_path, uid, gid);
    give_folder(log->dir_path, uid, gid);
}
