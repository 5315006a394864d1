/*
 * log_pid.c - the pid file, and the lock by which it is known to be true.
 *
 * A number in a file proves nothing: it may be left over from an earlier run and name another process by now, or somebody may have
 * written it. So the process that the file names holds a lock on the file for as long as it lives, and whoever reads the number asks
 * the kernel who that is. Such a lock belongs to a process: its children do not have it, nobody can take it for another, and it is lost
 * when the process closes any descriptor of the file. Hence the descriptor by which it was taken stays open, and is the only one.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trusted.h"

/* How long a process that is just ending may keep a pid file that another one is to have. A group that was told to stop takes up to two
   seconds, unless it is configured otherwise, and is often started again at once. */
enum { PATIENCE_MS = 3000, STEP_MS = 10 };

/* What is opened may be anything that another account has put there. */
enum { CAREFULLY = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC };

static struct {
    int fd;    /* -1: none */
    pid_t pid; /* whose: a child that was made without the library's noticing has a copy */
    dev_t device;
    ino_t inode; /* a program that closes whatever it finds may have another file under that number by now */
} held = {.fd = -1};

/* Why the file that was taken could not be locked, 0 if it was. */
static int unlocked;

static bool is_held(const struct stat *status)
{
    return status->st_dev == held.device && status->st_ino == held.inode;
}

bool log_pid_file_is_ours(void)
{
    return held.fd >= 0 && held.pid == getpid();
}

void log_pid_file_drop(void)
{
    if (held.fd >= 0 && trusted_is_file(held.fd, held.device, held.inode))
        close(held.fd);
    held.fd = -1;
}

enum pid_lock log_pid_lock(int fd, pid_t *holder)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_GETLK, &lock) < 0)
        return PID_LOCK_UNKNOWN;
    if (lock.l_type != F_WRLCK) /* none, or one for reading, which every account can have that may read the file */
        return PID_LOCK_FREE;
    *holder = lock.l_pid > 0 ? lock.l_pid : 0;
    return PID_LOCK_HELD;
}

/* Whether another process holds the file, which this one does not. A twin that is just ending is waited for. */
static bool has_holder(const char *path, pid_twin *twin, pid_t *holder)
{
    int fd = trusted_open(path, O_RDONLY | CAREFULLY, 0);
    bool is_free = true;

    for (int waited = 0; fd >= 0 && !(is_free = log_pid_lock(fd, holder) != PID_LOCK_HELD); waited += STEP_MS) {
        if (twin == NULL || !twin(*holder) || waited >= PATIENCE_MS)
            break;
        poll(NULL, 0, STEP_MS);
    }
    if (fd >= 0)
        close(fd);
    return !is_free;
}

/* The descriptor only points, and closing it costs no lock. */
bool log_pid_file_is_at(const char *path)
{
    struct stat status;
    int fd = log_pid_file_is_ours() ? trusted_open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0) : -1;
    bool result = fd >= 0 && fstat(fd, &status) == 0 && is_held(&status);

    if (fd >= 0)
        close(fd);
    return result;
}

/*
 * Opens the file and locks it, where files can be locked; the descriptor, or -1 with errno: EAGAIN if it is locked by another process,
 * ESTALE if it was removed meanwhile.
 *
 * The folder may belong to an account with fewer rights than this process has, and what is there under this name be a symbolic link,
 * another name of some file, or a named pipe that would be waited for. Hence nothing is cut before it was looked at.
 */
static int open_locked(const char *path, struct stat *status)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = trusted_open(path, O_WRONLY | O_CREAT | CAREFULLY, 0644);

    if (fd < 0)
        return -1;
    int refused = fcntl(fd, F_SETLK, &lock) < 0 ? errno : 0;
    int cause = refused == EAGAIN || refused == EACCES ? EAGAIN : 0;
    if (cause == 0 && fstat(fd, status) < 0)
        cause = errno;
    else if (cause == 0 && status->st_nlink == 0)
        cause = ESTALE;
    else if (cause == 0 && (!S_ISREG(status->st_mode) || status->st_nlink != 1))
        cause = EMLINK;
    if (cause == 0) {
        unlocked = refused;
        return fd;
    }
    close(fd);
    errno = cause;
    return -1;
}

/* As open_locked(), but with EBUSY if another process holds the file: then *holder is that, or 0. */
static int claim(const char *path, struct stat *status, pid_t *holder)
{
    enum { TRIES = 3 };
    int fd = -1;

    for (int i = 0; i < TRIES && (fd = open_locked(path, status)) < 0; i++) {
        if (errno == ESTALE)
            continue;
        if (errno != EAGAIN && errno != EACCES)
            break;
        int cause = errno;
        bool is_busy = has_holder(path, NULL, holder);
        /* Else it is an old one of another account's, or somebody locks it for reading so that nobody can have it: a new one, then. */
        bool is_gone = !is_busy && (trusted_unlink(path) == 0 || errno == ENOENT);
        errno = is_busy ? EBUSY : cause;
        if (!is_gone)
            break;
    }
    return fd;
}

/* The text is all that is in the file then. What a signal interrupts, as it may on a file system over the network, is done again. */
static int write_anew(int fd, const char *text, size_t n)
{
    ssize_t written;

    while (ftruncate(fd, 0) < 0)
        if (errno != EINTR)
            return -1;
    do {
        written = write(fd, text, n);
    } while (written < 0 && errno == EINTR);
    return written == (ssize_t)n ? 0 : -1;
}

int log_pid_file_take(const char *path, const char *instead_of, pid_t *holder)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%ld", (long)getpid());
    struct stat status;

    if (log_pid_file_is_at(path))
        return 0;
    int fd = claim(path, &status, holder);
    if (fd < 0 && errno == EBUSY)
        return 1;
    if (fd < 0 || write_anew(fd, text, (size_t)n) < 0) {
        log_line(error, "log: cannot write the process id into %s: %s", path,
                 errno == EMLINK ? "it is not a regular file with a single name" : log_why(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if (instead_of != NULL && log_pid_file_is_at(instead_of)) /* as long as nobody else can take it */
        trusted_unlink(instead_of);
    log_pid_file_drop();
    held.fd = fd;
    held.pid = getpid();
    held.device = status.st_dev;
    held.inode = status.st_ino;
    return 0;
}

void log_pid_file_tell(const char *path)
{
    if (unlocked != 0)
        log_line(warn, "log: %s cannot be locked: %s; --stop and --reload know this process by its program alone", path, strerror(unlocked));
    unlocked = 0;
}

void log_pid_file_name_holder(char text[PID_HOLDER_MAX], pid_t holder)
{
    if (holder > 0)
        snprintf(text, PID_HOLDER_MAX, "process %ld", (long)holder);
    else
        snprintf(text, PID_HOLDER_MAX, "a process of another pid namespace or machine");
}

void log_pid_file_yield(const char *path, pid_t holder)
{
    char name[PID_HOLDER_MAX];

    log_pid_file_name_holder(name, holder);
    log_line(warn, "log: %s stays with %s, which holds it: --stop and --reload do not reach this process", path, name);
}

int log_pid_file_refuse(const char *path, pid_t holder)
{
    char name[PID_HOLDER_MAX];

    log_pid_file_name_holder(name, holder);
    log_line(error, "log: %s is held by %s, which is running already; stop that one, or give this one another folder for its log "
             "(key log_path)", path, name);
    return -1;
}

bool log_pid_file_is_taken(const char *path, pid_twin *twin, pid_t *holder)
{
    return !log_pid_file_is_at(path) && has_holder(path, twin, holder);
}
