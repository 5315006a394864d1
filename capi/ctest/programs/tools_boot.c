/*
 * Words on the command line stop and reload the running program, and nothing but it.
 *
 * The program runs itself: with a known word as a user would, and with "serve" as the running program.
 */
#include "check.h"

#include <signal.h>
#include <sys/wait.h>

#include "mln_log.h"
#include "mln_tools.h"
#include "scratch.h"

static char *out; /* what the last run printed */
static char *pid_file;

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
    CHECK_INT(mln_log_init(NULL), 0);
    memset(&action, 0, sizeof action);
    action.sa_handler = say_ready;
    action.sa_flags = SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    CHECK_INT(sigaction(SIGUSR2, &action, NULL), 0);
    say_ready(0);
    for (;;)
        pause();
}

/* Starts this program with one word; standard output and error go to `fd`. */
static pid_t start(const char *word, int fd)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execl("/proc/self/exe", "tools_boot", word, (char *)NULL);
        _exit(99);
    }
    return pid;
}

/* Runs this program with one word; its exit status. What it printed is in `out`. */
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
    CHECK_INT(run("--version"), 0);
    scratch_expect_part(out, "libmln ");
    CHECK_INT(run("-v"), 0);
}

static void damaged_pid_files_are_refused(void)
{
    static const char *const damaged[] = {"", "0", "1", "-1", "-5", " 77", "12x", "12 13", "abc",
                                          "99999999999", "99999999999999999999999999", "\n"};

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
}

static void write_pid(pid_t pid)
{
    char text[32];

    snprintf(text, sizeof text, "%ld\n", (long)pid);
    scratch_write(pid_file, text);
}

static void other_programs_are_spared(void)
{
    int status;
    pid_t other = fork();

    CHECK(other >= 0);
    if (other == 0) {
        execlp("sleep", "sleep", "30", (char *)NULL);
        _exit(99);
    }
    /* Until the exec it still is this program. */
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%ld/comm", (long)other);
    while (strcmp(name, "sleep\n") != 0) {
        char *text = scratch_read(path);
        snprintf(name, sizeof name, "%.31s", text);
        free(text);
        usleep(1000);
    }
    write_pid(other);
    CHECK_INT(run("--stop"), 1);
    scratch_expect_part(out, "is another program");
    CHECK_INT(run("--reload"), 1);
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
}

static void expect_ready(int fd)
{
    char byte = 0;

    CHECK_INT(read(fd, &byte, 1), 1);
    CHECK_INT(byte, 'R');
}

static void the_running_program_gets_the_signals(void)
{
    int ends[2], status;
    pid_t server;

    CHECK_INT(pipe(ends), 0);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    server = start("serve", ends[1]);
    close(ends[1]);
    expect_ready(ends[0]);

    CHECK_INT(run("--reload"), 0);
    expect_ready(ends[0]);
    CHECK_INT(run("-r"), 0);
    expect_ready(ends[0]);
    CHECK_INT(waitpid(server, &status, WNOHANG), 0);
    CHECK_INT(run("--stop"), 0);
    CHECK(waitpid(server, &status, 0) == server);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    close(ends[0]);

    CHECK_INT(run("--stop"), 1);
    scratch_expect_part(out, "is not running");
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
    broken_configuration_is_an_error();
    free(out);
    free(pid_file);
    return 0;
}
