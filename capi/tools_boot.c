/*
 * Words on the command line that act on the program that is running already.
 */
#include "tools.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

#ifndef MLN_VERSION
#define MLN_VERSION "(built without make)"
#endif

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* Says why a word cannot be acted on; the exit status. It names paths, and whoever wrote the configuration chose those. */
__attribute__((format(printf, 1, 2))) static int refuse(const char *format, ...)
{
    struct log_text text;
    char *message;
    va_list args;

    va_start(args, format);
    int n = vasprintf(&message, format, args);
    va_end(args);
    log_text_init(&text);
    log_text_append_escaped(&text, program_invocation_short_name, strlen(program_invocation_short_name));
    log_text_append(&text, ": ", 2);
    if (n >= 0) {
        log_text_append_escaped(&text, message, (size_t)n);
        free(message);
    }
    log_text_append(&text, "\n", 1);
    fwrite(text.data, 1, text.length, stderr);
    log_text_release(&text);
    return 1;
}

/*
 * The process that a text of exactly one number names, with or without a newline behind it; -1 if it names none. 0, 1 and negative
 * numbers would reach a process group, init, or everybody.
 */
static pid_t parse_pid(const char *text, size_t n)
{
    long pid = 0;
    size_t digits = 0;

    for (; digits < n && text[digits] >= '0' && text[digits] <= '9' && pid <= INT_MAX; digits++)
        pid = pid * 10 + (text[digits] - '0');
    bool ends = digits == n || (digits + 1 == n && text[digits] == '\n');
    return ends && n > 0 && text[0] != '0' && pid > 1 && pid <= INT_MAX ? (pid_t)pid : -1;
}

/* Opens the pid file, and reads which process it names. The descriptor, or -1 after a message. */
static int open_pid_file(const char *path, pid_t *pid)
{
    char text[32]; /* more than any number takes: what fills it is none */
    size_t length = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    while ((n = fd < 0 ? -1 : read(fd, text + length, sizeof text - length)) > 0)
        length += (size_t)n;
    if (n < 0)
        refuse("cannot read the process id from %s: %s; is the program running?", path, strerror(errno));
    else if ((*pid = parse_pid(text, length)) < 0)
        refuse("%s does not hold a process id; find the process by other means and remove the file", path);
    else
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* What a process says in a file of /proc, terminated: where a link leads, or the beginning of a file. "" if that is not to be had. */
static void read_proc(const char *process, const char *file, bool is_link, char text[PATH_MAX])
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%s/%s", process, file);
    int fd = is_link ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = is_link ? readlink(path, text, PATH_MAX - 1) : fd < 0 ? -1 : read(fd, text, PATH_MAX - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
}

/* The number that /proc has for a process: not the one that it has here, if /proc is of another pid namespace. */
static void name_in_proc(pid_t pid, char name[32])
{
    char file[32], text[PATH_MAX];
    long number = pid; /* where there can be no descriptor that tells */
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (pidfd >= 0) {
        snprintf(file, sizeof file, "fdinfo/%d", pidfd);
        read_proc("self", file, false, text);
        close(pidfd);
        const char *line = strstr(text, "\nPid:");
        if (line != NULL)
            (void)sscanf(line, "\nPid: %ld", &number);
    }
    snprintf(name, 32, "%ld", number);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

/* Takes off what the kernel puts behind the name of a file that was removed; whether it was there. */
static bool take_off_deleted(char *path)
{
    static const char mark[] = " (deleted)";
    size_t length = strlen(path), marked = sizeof mark - 1;

    if (length < marked || strcmp(path + length - marked, mark) != 0)
        return false;
    path[length - marked] = '\0';
    return true;
}

/*
 * Where there is nothing left to compare, because the file was replaced by a newer one, or where the kernel hides it, as it does when a
 * process has changed its account, the whole name decides: that of the file, or that by which it was started. (The name in comm is
 * cut, and is shared by the programs of one maker.)
 */
bool tools_runs_this_program(pid_t pid)
{
    char process[32], path[64], theirs[PATH_MAX], ours[PATH_MAX];
    struct stat their_file, our_file;

    name_in_proc(pid, process);
    snprintf(path, sizeof path, "/proc/%s/exe", process);
    if (stat(path, &their_file) == 0 && stat("/proc/self/exe", &our_file) == 0 && their_file.st_dev == our_file.st_dev
        && their_file.st_ino == our_file.st_ino)
        return true;
    read_proc(process, "exe", true, theirs);
    if (*theirs != '\0') {
        if (!take_off_deleted(theirs))
            return false;
        read_proc("self", "exe", true, ours);
        take_off_deleted(ours);
    } else {
        read_proc(process, "cmdline", false, theirs);
        read_proc("self", "cmdline", false, ours);
    }
    return *theirs != '\0' && strcmp(base_name(theirs), base_name(ours)) == 0;
}

static int refuse_ended(const char *path, pid_t pid)
{
    return refuse("process %ld, named by %s, is not running; the file is out of date", (long)pid, path);
}

/* Whether the pid file, which is open, is held by the process that it names; else after a message. */
static bool is_held_by(int fd, const char *path, pid_t pid)
{
    char name[PID_HOLDER_MAX];
    pid_t holder = 0;

    switch (log_pid_lock(fd, &holder)) {
    case PID_LOCK_UNKNOWN: /* there are no locks here: the program that it runs has to do */
        return true;
    case PID_LOCK_FREE:
        if (!tools_runs_this_program(pid))
            refuse_ended(path, pid);
        else
            refuse("process %ld, named by %s, is not running as the holder of that file, which is out of date; if it is an older version "
                   "of this program, signal it by hand", (long)pid, path);
        return false;
    case PID_LOCK_HELD:
        if (holder == pid)
            return true;
        log_pid_file_name_holder(name, holder);
        refuse("%s names process %ld, but is held by %s: somebody else has written it, or it is seen from elsewhere", path, (long)pid, name);
        return false;
    }
    return false;
}

/* There is no such process, or not in this pid namespace: then somebody else holds the file. */
static int refuse_absent(int fd, const char *path, pid_t pid)
{
    return is_held_by(fd, path, pid) ? refuse_ended(path, pid) : 1;
}

/*
 * Sends a signal to a process through a descriptor for it, so that the process that gets it is the process that was
 * looked at, even if that one ends in between and its number is used again. The exit status.
 */
enum { STOP_WAIT_MS = 3000 };

/* Waits so long for what it is signalled to end. */
static int signal_program(int fd, const char *path, pid_t pid, int signal, int wait_ms)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0 && errno == ESRCH)
        return refuse_absent(fd, path, pid);
    if (pidfd < 0 && errno != ENOSYS && errno != EPERM)
        return refuse("cannot look at process %ld, named by %s: %s", (long)pid, path, strerror(errno));
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};

    int result = 0;
    if ((pidfd >= 0 && poll(&ended, 1, 0) > 0) || (kill(pid, 0) < 0 && errno == ESRCH))
        result = refuse_absent(fd, path, pid);
    else if (pid == getpid())
        result = refuse("process %ld, named by %s, is this one; the file is out of date", (long)pid, path);
    else if (!is_held_by(fd, path, pid))
        result = 1;
    else if (!tools_runs_this_program(pid))
        result = refuse("process %ld, named by %s, is another program; the file is out of date", (long)pid, path);
    else if ((pidfd >= 0 ? (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) : kill(pid, signal)) < 0)
        result = refuse("cannot send signal %d to process %ld: %s", signal, (long)pid, strerror(errno));
    else if (pidfd >= 0)
        (void)poll(&ended, 1, wait_ms);
    if (pidfd >= 0)
        close(pidfd);
    return result;
}

/*
 * The pid file is where the log writes it. At this moment the log is not open yet, so the configuration has to tell.
 */
static int signal_running_program(int signal, int wait_ms)
{
    struct log_paths paths;

    if (mln_conf() == NULL && mln_conf_load() < 0)
        return refuse("cannot tell where the pid file is: the configuration cannot be loaded");
    if (log_paths_from_conf(mln_conf(), &paths) < 0)
        return refuse("cannot tell where the pid file is: see the message above");

    pid_t pid;
    int fd = open_pid_file(paths.pid, &pid);
    int status = fd < 0 ? 1 : signal_program(fd, paths.pid, pid, signal, wait_ms);
    if (fd >= 0)
        close(fd);
    log_paths_free(&paths);
    return status;
}

static int print_help(const char *boot_str, const char *alias)
{
    (void)boot_str;
    (void)alias;
    printf("Usage: ");
    log_print_escaped(stdout, program_invocation_short_name, strlen(program_invocation_short_name));
    printf(" [option]\n"
           "  --help, -h     print this text\n"
           "  --version, -v  print the version of the library, where the program supports it\n"
           "  --reload, -r   make the running program reload its configuration\n"
           "  --stop, -s     make the running program stop\n");
    return 0;
}

static int print_version(const char *boot_str, const char *alias)
{
    (void)boot_str;
    (void)alias;
    printf("libmln " MLN_VERSION "\n");
    return 0;
}

static int reload_program(const char *boot_str, const char *alias)
{
    (void)boot_str;
    (void)alias;
    return signal_running_program(SIGUSR2, 0);
}

/* SIGTERM, which a program may act upon in good order; workers end with their master. Mostly it has ended then when this one does, so that it
   can be started again. */
static int stop_program(const char *boot_str, const char *alias)
{
    (void)boot_str;
    (void)alias;
    return signal_running_program(SIGTERM, STOP_WAIT_MS);
}

int tools_boot_params(int argc, char *argv[], bool with_version)
{
    static const mln_boot_t words[] = {
        {(char *)"--help", (char *)"-h", print_help, 1},
        {(char *)"--version", (char *)"-v", print_version, 1},
        {(char *)"--reload", (char *)"-r", reload_program, 1},
        {(char *)"--stop", (char *)"-s", stop_program, 1},
    };

    for (int i = 1; argv != NULL && i < argc && argv[i] != NULL; i++) {
        for (size_t j = 0; j < sizeof words / sizeof *words; j++) {
            const mln_boot_t *word = &words[j];
            if (strcmp(argv[i], word->boot_str) != 0 && strcmp(argv[i], word->alias) != 0)
                continue;
            if (word->handler == print_version && !with_version)
                continue;
            /* All of them end the process: each acts once. */
            exit(word->handler(word->boot_str, word->alias));
        }
    }
    return 0;
}

int mln_boot_params(int argc, char *argv[])
{
    return tools_boot_params(argc, argv, true);
}
