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

/* The process that the file names, or -1 after a message. */
static pid_t read_pid(const char *path)
{
    char text[32];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int cause = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0) {
        refuse("cannot read the process id from %s: %s; is the program running?", path, strerror(cause));
        return -1;
    }
    text[n] = '\0';

    /* 0, 1 and negative numbers would reach a process group, init, or everybody. */
    char *end;
    errno = 0;
    long pid = strtol(text, &end, 10);
    if (*end == '\n')
        end++;
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || pid <= 1 || pid > INT_MAX) {
        refuse("%s does not hold a process id; find the process by other means and remove the file", path);
        return -1;
    }
    return (pid_t)pid;
}

/* The name of a process as the kernel keeps it, in `name`; false when it cannot be had. */
static bool process_name(const char *path, char name[32])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, name, 31);
    if (fd >= 0)
        close(fd);
    name[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/*
 * Whether a process runs the program that this process runs: the same executable, or, after the file was replaced by a
 * newer one or when another account hides it, the same name.
 */
static bool runs_this_program(pid_t pid)
{
    char path[64];
    struct stat theirs, ours;
    snprintf(path, sizeof path, "/proc/%ld/exe", (long)pid);
    if (stat(path, &theirs) == 0 && stat("/proc/self/exe", &ours) == 0 && theirs.st_dev == ours.st_dev
        && theirs.st_ino == ours.st_ino)
        return true;

    char their_name[32], our_name[32];
    snprintf(path, sizeof path, "/proc/%ld/comm", (long)pid);
    return process_name(path, their_name) && process_name("/proc/self/comm", our_name)
           && strcmp(their_name, our_name) == 0;
}

/*
 * Sends a signal to a process through a descriptor for it, so that the process that gets it is the process that was
 * looked at, even if that one ends in between and its number is used again. The exit status.
 */
static int signal_program(const char *pid_path, pid_t pid, int signal)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0 && errno != ENOSYS && errno != EPERM)
        return refuse("process %ld, named by %s, is not running", (long)pid, pid_path);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    if (pidfd >= 0 && poll(&ended, 1, 0) > 0) {
        close(pidfd);
        return refuse("process %ld, named by %s, is not running", (long)pid, pid_path);
    }

    int result = 0;
    if (kill(pid, 0) < 0 && errno == ESRCH)
        result = refuse("process %ld, named by %s, is not running", (long)pid, pid_path);
    else if (pid == getpid() || !runs_this_program(pid))
        result = refuse("process %ld, named by %s, is another program; the file is out of date", (long)pid, pid_path);
    else if ((pidfd >= 0 ? (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) : kill(pid, signal)) < 0)
        result = refuse("cannot send signal %d to process %ld: %s", signal, (long)pid, strerror(errno));
    if (pidfd >= 0)
        close(pidfd);
    return result;
}

/*
 * The pid file is where the log writes it. At this moment the log is not open yet, so the configuration has to tell.
 */
static int signal_running_program(int signal)
{
    struct log_paths paths;

    if (mln_conf() == NULL && mln_conf_load() < 0)
        return refuse("cannot tell where the pid file is: the configuration cannot be loaded");
    if (log_paths_from_conf(mln_conf(), &paths) < 0)
        return refuse("cannot tell where the pid file is: see the message above");

    pid_t pid = read_pid(paths.pid);
    int status = pid < 0 ? 1 : signal_program(paths.pid, pid, signal);
    log_paths_free(&paths);
    return status;
}

static int print_help(const char *boot_str, const char *alias)
{
    (void)boot_str;
    (void)alias;
    printf("Usage: %s [option]\n"
           "  --help, -h     print this text\n"
           "  --version, -v  print the version of the library, where the program supports it\n"
           "  --reload, -r   make the running program reload its configuration\n"
           "  --stop, -s     make the running program stop\n",
           program_invocation_short_name);
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
    return signal_running_program(SIGUSR2);
}

/* SIGTERM, which a program may act upon in good order; workers end with their master. */
static int stop_program(const char *boot_str, const char *alias)
{
    (void)boot_str;
    (void)alias;
    return signal_running_program(SIGTERM);
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
