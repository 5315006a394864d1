/*
 * Words on the command line stop and reload the running program, and nothing but it.
 *
 * The program runs itself: with a known word as a user would, and with "serve" as the running program.
 */
#include "processes.h"
#include "refuse.h"

#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "mln_log.h"
#include "mln_tools.h"
#include "scratch.h"

static char *out; /* what the last run printed */
static const char *program = "/proc/self/exe", *called = "tools_boot"; /* what is run, and its first argument */
static char *pid_file;
static void (*before_exec)(void); /* what makes the kernel refuse something to what is run, or NULL */

static char *conf_from_environment(void)
{
    return getenv("BOOT_CONF");
}

static void say_ready(int signo)
{
    (void)signo;
    if (write(STDOUT_FILENO, "R", 1) != 1)
        _exit(1);
}

/* The running program: says R when it is ready and at each reload; ends by SIGTERM. */
__attribute__((noreturn)) static void serve(void)
{
    struct sigaction action;

    CHECK_INT(mln_conf_load(), 0);
    CHECK_INT(getenv("BOOT_LOG_ONLY") != NULL ? mln_log_init(1) : mln_log_init(NULL), 0);
    memset(&action, 0, sizeof action);
    action.sa_handler = say_ready;
    action.sa_flags = SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    CHECK_INT(sigaction(SIGUSR2, &action, NULL), 0);
    if (getenv("BOOT_HIDDEN") != NULL)
        CHECK_INT(prctl(PR_SET_DUMPABLE, 0), 0);
    say_ready(0);
    for (;;)
        pause();
}

/* Starts the program with one word; standard output and error go to `fd`. */
static pid_t start(const char *word, int fd)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        if (before_exec != NULL)
            before_exec();
        execl(program, called, word, (char *)NULL);
        _exit(99);
    }
    return pid;
}

/* Runs the program with one word; its exit status. What it printed is in `out`. */
static int run(const char *word)
{
    int status, fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    pid_t pid;

    CHECK(fd >= 0);
    pid = start(word, fd);
    close(fd);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void words_are_told_from_others(void)
{
    char *none_known[] = {(char *)"--help", (char *)"--helpful", (char *)"help", (char *)"", (char *)"-", NULL};

    /* The first is the name of the program. */
    CHECK_INT(mln_boot_params(5, none_known), 0);
    CHECK_INT(mln_boot_params(0, NULL), 0);
    CHECK_INT(run("other"), 42);
    CHECK_INT(run("--help"), 0);
    scratch_expect_part(out, "--reload");
    CHECK_INT(run("-h"), 0);
    called = "name\x1b[2J\x9b";
    CHECK_INT(run("--help"), 0);
    scratch_expect_part(out, "Usage: name\\x1b[2J\\x9b [option]\n");
    called = "tools_boot";
    CHECK_INT(run("--version"), 0);
    scratch_expect_part(out, "libmln ");
    CHECK_INT(run("-v"), 0);
}

static void damaged_pid_files_are_refused(void)
{
    static const char *const damaged[] = {"", "0", "1", "-1", "-5", " 77", "12x", "12 13", "abc",
                                          "99999999999", "99999999999999999999999999", "\n",
                                          "077", "+77", "77\n\n", "77\r\n", "77 ", "0000000000000000000000000000077",
                                          "0000000000000000000000000000077\nrubbish", "77\n                             x"};

    CHECK_INT(run("--stop"), 1);
    scratch_expect_part(out, pid_file);
    CHECK_INT(run("--reload"), 1);
    scratch_expect_part(out, pid_file);

    CHECK(mkdir(scratch_path("logs"), 0755) == 0);
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        scratch_write(pid_file, damaged[i]);
        CHECK_INT(run("-s"), 1);
        scratch_expect_part(out, "does not hold a process id");
        CHECK_INT(run("-r"), 1);
    }
    CHECK_INT(truncate(pid_file, 0), 0);
    int fd = open(pid_file, O_WRONLY | O_CLOEXEC);
    CHECK_INT(write(fd, "77\0rubbish", 10), 10);
    close(fd);
    CHECK_INT(run("-s"), 1);
    scratch_expect_part(out, "does not hold a process id");
}

static void write_pid(pid_t pid)
{
    char text[32];

    snprintf(text, sizeof text, "%ld\n", (long)pid);
    scratch_write(pid_file, text);
}

/* Takes the lock of the pid file, and keeps it also beyond an exec. */
static void hold_pid_file(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(pid_file, O_RDWR | O_CREAT, 0644);

    CHECK(fd >= 0);
    CHECK_INT(fcntl(fd, F_SETLK, &lock), 0);
}

/* Starts another program, which is named by the pid file. */
static pid_t start_other(int holds)
{
    char path[64], name[32] = "";
    pid_t other = fork();

    CHECK(other >= 0);
    if (other == 0) {
        if (holds)
            hold_pid_file();
        execlp("sleep", "sleep", "30", (char *)NULL);
        _exit(99);
    }
    /* Until the exec it still is this program. */
    snprintf(path, sizeof path, "/proc/%ld/comm", (long)other);
    while (strcmp(name, "sleep\n") != 0) {
        char *text = scratch_read(path);
        snprintf(name, sizeof name, "%.31s", text);
        free(text);
        usleep(1000);
    }
    write_pid(other);
    return other;
}

static void expect_refusals(const char *part)
{
    CHECK_INT(run("--stop"), 1);
    scratch_expect_part(out, part);
    CHECK_INT(run("--reload"), 1);
    scratch_expect_part(out, part);
}

static void other_programs_are_spared(void)
{
    int status;
    pid_t other = start_other(1);

    expect_refusals("is another program");
    CHECK_INT(waitpid(other, &status, WNOHANG), 0);
    CHECK_INT(kill(other, SIGKILL), 0);

    /* Ended, but not waited for yet; then gone. */
    siginfo_t info;
    CHECK_INT(waitid(P_PID, (id_t)other, &info, WEXITED | WNOWAIT), 0);
    CHECK_INT(run("--stop"), 1);
    scratch_expect_part(out, "is not running");
    CHECK(waitpid(other, &status, 0) == other);
    CHECK_INT(run("--stop"), 1);
    scratch_expect_part(out, "is not running");

    /* It has got the number of a process that ended without anybody's noticing. */
    other = start_other(0);
    expect_refusals("is not running; the file is out of date");
    before_exec = refuse_locks; /* the program has to do then */
    expect_refusals("is another program");
    before_exec = NULL;
    CHECK_INT(waitpid(other, &status, WNOHANG), 0);
    CHECK_INT(kill(other, SIGKILL), 0);
    CHECK(waitpid(other, &status, 0) == other);
}

static void expect_ready(int fd)
{
    char byte = 0;

    CHECK_INT(read(fd, &byte, 1), 1);
    CHECK_INT(byte, 'R');
}

/* Starts the running program, and writes its id into the file. */
static pid_t start_server(int *ready)
{
    int ends[2];
    pid_t server;

    CHECK_INT(pipe(ends), 0);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    server = start("serve", ends[1]);
    close(ends[1]);
    *ready = ends[0];
    expect_ready(*ready);
    return server;
}

/* The running program has not been signalled, and ends. */
static void end_server(pid_t server, int ready)
{
    char byte;
    int status;

    CHECK_INT(kill(server, SIGKILL), 0);
    CHECK(waitpid(server, &status, 0) == server);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_INT(read(ready, &byte, 1), 0);
    close(ready);
}

static void the_running_program_gets_the_signals(void)
{
    int ready, status;
    pid_t server = start_server(&ready);

    CHECK_INT(run("--reload"), 0);
    expect_ready(ready);
    CHECK_INT(run("-r"), 0);
    expect_ready(ready);
    CHECK_INT(waitpid(server, &status, WNOHANG), 0);
    CHECK_INT(run("--stop"), 0);
    CHECK(waitpid(server, &status, 0) == server);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    close(ready);

    CHECK_INT(run("--stop"), 1);
    scratch_expect_part(out, "is not running");
}

/* There, the numbers of this namespace are other processes'. */
static void also_where_proc_is_of_another_pid_namespace(void)
{
    enum { CANNOT = 77 };
    pid_t maker = fork(), first;
    int status;

    CHECK(maker >= 0);
    if (maker == 0) { /* one thread only, which the kernel asks for */
        if (unshare(CLONE_NEWPID) != 0)
            _exit(CANNOT);
        CHECK((first = fork()) >= 0);
        if (first == 0) {
            the_running_program_gets_the_signals();
            _exit(0);
        }
        _exit(await_status(first));
    }
    if ((status = await_status(maker)) == CANNOT)
        puts("note: this account may not make a pid namespace; that is not tried");
    else
        CHECK_INT(status, 0);
}

/* The same program, but not the one that the file is of: a worker of another group, for instance. */
static void a_number_proves_nothing(void)
{
    int ready, others_ready;
    pid_t server, other = start_server(&others_ready);
    char part[128];

    CHECK_INT(unlink(pid_file), 0);
    write_pid(other);
    expect_refusals("is not running as the holder of that file, which is out of date");

    server = start_server(&ready);
    write_pid(other); /* somebody has changed it */
    snprintf(part, sizeof part, "names process %ld, but is held by process %ld", (long)other, (long)server);
    expect_refusals(part);
    write_pid(INT_MAX); /* as if from another pid namespace: there is no such process here */
    expect_refusals("is held by process");
    write_pid(server);
    CHECK_INT(run("--reload"), 0);
    expect_ready(ready);
    end_server(server, ready);
    end_server(other, others_ready);
}

/* Whoever opens the same log beside the running program has it, and is told that the pid file is not its own. */
static void a_second_one_leaves_the_file_alone(void)
{
    int ready, second_ready, ends[2];
    char text[1024], part[128];
    pid_t server = start_server(&ready), second;
    ssize_t n;

    CHECK_INT(pipe(ends), 0);
    second = start("serve", ends[1]);
    close(ends[1]);
    n = read(second_ready = ends[0], text, sizeof text - 1);
    CHECK(n > 0);
    text[n] = '\0';
    snprintf(part, sizeof part, "stays with process %ld", (long)server);
    CHECK(strstr(text, part) != NULL);
    if (text[n - 1] != 'R')
        expect_ready(second_ready);
    snprintf(part, sizeof part, "%ld", (long)server);
    scratch_expect(pid_file, part);
    CHECK_INT(run("--reload"), 0);
    expect_ready(ready);
    end_server(server, ready);
    end_server(second, second_ready);
}

/* As on some file systems. */
static void without_locks_the_program_has_to_do(void)
{
    int ready;
    pid_t server;

    CHECK_INT(truncate(scratch_path("logs/app.log"), 0), 0);
    before_exec = refuse_locks;
    CHECK_INT(setenv("BOOT_LOG_ONLY", "1", 1), 0);
    server = start_server(&ready);
    CHECK_INT(unsetenv("BOOT_LOG_ONLY"), 0);
    CHECK_INT(scratch_count(scratch_path("logs/app.log"), "melon.pid cannot be locked: No locks available"), 1);
    CHECK_INT(run("--reload"), 0);
    expect_ready(ready);
    before_exec = NULL;
    end_server(server, ready);
}

static void refuse_pidfds(void)
{
    refuse(SYS_pidfd_open, EMFILE);
}

/* The cause is told, and not taken for another. */
static void a_process_that_cannot_be_looked_at_is_not_called_ended(void)
{
    int ready;
    pid_t server = start_server(&ready);

    before_exec = refuse_pidfds;
    expect_refusals("cannot look at process");
    scratch_expect_part(out, "Too many open files");
    before_exec = NULL;
    end_server(server, ready);
}

/* A file of its own with this program in it. */
static const char *copy(const char *name)
{
    char *path = scratch_path(name), buffer[65536];
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    ssize_t n;

    CHECK(from >= 0 && to >= 0);
    while ((n = read(from, buffer, sizeof buffer)) > 0)
        CHECK_INT(write(to, buffer, (size_t)n), n);
    close(from);
    close(to);
    return path;
}

/* Two names with the same first fifteen characters, which are all that the kernel keeps in comm. */
static void programs_of_like_names_are_told_apart(void)
{
    pid_t server;
    int ready;

    CHECK_INT(mkdir(scratch_path("other"), 0755), 0);
    program = copy("other/billing-service-a");
    server = start_server(&ready);
    const char *const others[] = {"billing-service-b", "billing-service-a"};
    for (int i = 0; i < 2; i++) { /* of the same name, even: both files are there, and they differ */
        program = copy(others[i]);
        CHECK_INT(run("--reload"), 1);
        scratch_expect_part(out, "is another program");
    }
    program = scratch_path("billing-service-b");
    CHECK_INT(unlink(scratch_path("other/billing-service-a")), 0);
    CHECK_INT(run("--stop"), 1);
    scratch_expect_part(out, "is another program");

    /* It was replaced: this is the newer one. */
    program = scratch_path("billing-service-a");
    CHECK_INT(run("--reload"), 0);
    expect_ready(ready);
    end_server(server, ready);
    program = "/proc/self/exe";
}

/* As after a change of its account, only those may see which file a process runs who may trace all processes. */
static void a_program_that_hides_its_file_is_known_by_its_name(void)
{
    pid_t server;
    int ready;

    if (getuid() == 0)
        CHECK_INT(prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0), 0);
    CHECK_INT(setenv("BOOT_HIDDEN", "1", 1), 0);
    called = "/somewhere/billing-service-a";
    server = start_server(&ready);
    called = "billing-service-b";
    CHECK_INT(run("--reload"), 1);
    scratch_expect_part(out, "is another program");
    called = "billing-service-a";
    CHECK_INT(run("--reload"), 0);
    expect_ready(ready);
    end_server(server, ready);
    called = "tools_boot";
}

static void broken_configuration_is_an_error(void)
{
    scratch_write(getenv("BOOT_CONF"), "log_path 5;\n");
    CHECK_INT(run("--stop"), 1);
    scratch_expect_part(out, "log_path");
}

int main(int argc, char *argv[])
{
    mln_path_hook_set(m_p_conf, conf_from_environment);
    if (argc > 1) {
        if (strcmp(argv[1], "serve") == 0)
            serve();
        CHECK_INT(mln_boot_params(argc, argv), 0);
        return 42;
    }

    char text[1024];
    scratch_make();
    out = strdup(scratch_path("out"));
    pid_file = strdup(scratch_path("logs/melon.pid"));
    snprintf(text, sizeof text, "log_path \"%s\";\n", scratch_path("logs/app.log"));
    scratch_write(scratch_path("boot.conf"), text);
    CHECK_INT(setenv("BOOT_CONF", scratch_path("boot.conf"), 1), 0);

    words_are_told_from_others();
    damaged_pid_files_are_refused();
    other_programs_are_spared();
    the_running_program_gets_the_signals();
    also_where_proc_is_of_another_pid_namespace();
    a_number_proves_nothing();
    a_second_one_leaves_the_file_alone();
    without_locks_the_program_has_to_do();
    a_process_that_cannot_be_looked_at_is_not_called_ended();
    programs_of_like_names_are_told_apart();
    a_program_that_hides_its_file_is_known_by_its_name();
    broken_configuration_is_an_error();
    free(out);
    free(pid_file);
    return 0;
}
