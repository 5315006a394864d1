/*
 * The log's files: where they are, what is in them, how they are reopened.
 */
#include "check.h"

#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "mln_log.h"
#include "scratch.h"

static char *err; /* standard error goes into this file */

static int configure(const char *path, const char *level, const char *more)
{
    char text[4096];

    snprintf(text, sizeof text, "log_path \"%s\";\nlog_level \"%s\";\n%s\n", path, level, more);
    return scratch_conf(text);
}

static void expect_pid_file(const char *path, pid_t pid)
{
    char text[32];

    snprintf(text, sizeof text, "%ld", (long)pid);
    scratch_expect(path, text);
}

static void without_configuration_it_stays_on_stderr(void)
{
    CHECK(mln_conf() == NULL);
    CHECK_INT(mln_log_init(NULL), 0);
    CHECK_INT(mln_log_init(1), 0);
    scratch_expect(err, "");
    CHECK_INT(mln_log_fd(), 2);
    CHECK_STR(mln_log_dir_path(), "");
    CHECK_STR(mln_log_logfile_path(), "");
    CHECK_STR(mln_log_pid_path(), "");
    mln_log(none, "once\n");
    scratch_expect(err, "once\n");
    CHECK_INT(mln_log_writen((void *)"raw\n", 4), 4);
    scratch_expect(err, "once\nraw\n");

    /* A reload finds the configuration that was missing. */
    CHECK_INT(configure(scratch_path("late/late.log"), "none", ""), 0);
    CHECK_INT(mln_log_reload(NULL), 0);
    mln_log(none, "late\n");
    scratch_expect(scratch_path("late/late.log"), "late\n");
    expect_pid_file(scratch_path("late/melon.pid"), getpid());
    mln_log_destroy();

    /* Nobody wants a log now. */
    CHECK_INT(mln_log_reload(NULL), 0);
    CHECK_INT(mln_log_fd(), 2);
    CHECK(truncate(err, 0) == 0);
}

static void opens_files_and_writes_to_both_places(void)
{
    struct stat status;

    CHECK_INT(configure(scratch_path("logs/app.log"), "none", ""), 0);
    CHECK_INT(mln_log_init(NULL), 0);
    CHECK(mln_log_fd() > 2 && mln_log_get_fd() == g_log.fd);
    CHECK((fcntl(mln_log_fd(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((fcntl(mln_log_fd(), F_GETFL) & (O_APPEND | O_NONBLOCK)) == O_APPEND);
    CHECK_STR(mln_log_dir_path(), scratch_path("logs"));
    CHECK_STR(mln_log_get_log_path(), scratch_path("logs/app.log"));
    CHECK_STR(mln_log_get_pid_path(), scratch_path("logs/melon.pid"));
    CHECK_STR(g_log.log_path, mln_log_logfile_path());
    CHECK(stat(scratch_path("logs"), &status) == 0);
    CHECK_INT(status.st_mode & 0777, 0755);
    CHECK(stat(scratch_path("logs/app.log"), &status) == 0);
    CHECK_INT(status.st_mode & 0777, 0644);
    expect_pid_file(mln_log_pid_path(), getpid());

    mln_log(none, "both\n");
    CHECK_INT(mln_log_writen((void *)"raw", 3), 3);
    scratch_expect(mln_log_logfile_path(), "both\nraw");
    scratch_expect(err, "both\nraw");
    CHECK_INT(mln_log_writen(NULL, 0), 0);
    CHECK_INT(mln_log_writen(NULL, 1), -1);

    /* Already open: nothing happens. */
    int fd = mln_log_fd();
    CHECK_INT(mln_log_init(mln_conf()), 0);
    CHECK_INT(mln_log_fd(), fd);
    CHECK(truncate(err, 0) == 0);
}

static void rotation_lets_the_old_file_go(void)
{
    int fd = mln_log_fd();

    CHECK(truncate(scratch_path("logs/app.log"), 0) == 0);
    CHECK(rename(scratch_path("logs/app.log"), scratch_path("logs/app.log.1")) == 0);
    mln_log(none, "old\n");
    CHECK_INT(mln_log_reload(NULL), 0);
    mln_log(none, "new\n");
    scratch_expect(scratch_path("logs/app.log.1"), "old\n");
    scratch_expect(scratch_path("logs/app.log"), "new\n");
    CHECK_INT(mln_log_fd(), fd);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);

    /* Also while there is no configuration. */
    mln_conf_free();
    CHECK(rename(scratch_path("logs/app.log"), scratch_path("logs/app.log.2")) == 0);
    CHECK_INT(mln_log_reload(NULL), 0);
    mln_log(none, "newer\n");
    scratch_expect(scratch_path("logs/app.log"), "newer\n");
}

static void levels_filter(void)
{
    static const char *const names[] = {"none", "report", "debug", "warn", "error"};

    for (int configured = none; configured <= error; configured++) {
        CHECK_INT(configure(scratch_path("logs/app.log"), names[configured], ""), 0);
        CHECK_INT(mln_log_reload(NULL), 0);
        CHECK_INT(g_log.level, configured);
        for (int level = none; level <= error; level++) {
            CHECK(truncate(mln_log_logfile_path(), 0) == 0);
            mln_log((mln_log_level_t)level, "x\n");
            char *text = scratch_read(mln_log_logfile_path());
            CHECK_INT(*text != '\0', level >= configured);
            free(text);
        }
    }
}

static void failed_reload_changes_nothing(void)
{
    CHECK_INT(configure(scratch_path("logs/app.log"), "none", ""), 0);
    CHECK_INT(mln_log_reload(NULL), 0);
    CHECK(truncate(scratch_path("logs/app.log"), 0) == 0);

    CHECK_INT(configure(scratch_path("missing/folder/app.log"), "none", ""), 0);
    CHECK_INT(mln_log_reload(NULL), -1);
    scratch_expect_part(scratch_path("logs/app.log"), "missing/folder");
    CHECK_INT(configure(scratch_path("logs"), "none", ""), 0);
    CHECK_INT(mln_log_reload(NULL), -1);
    CHECK_INT(configure(scratch_path("logs/"), "none", ""), 0);
    CHECK_INT(mln_log_reload(NULL), -1);
    CHECK_INT(configure("", "none", ""), 0);
    CHECK_INT(mln_log_reload(NULL), -1);
    CHECK_INT(configure(scratch_path("logs/app.log/app.log"), "none", ""), 0);
    CHECK_INT(mln_log_reload(NULL), -1);
    CHECK_INT(configure(scratch_path("other.log"), "loud", ""), 0);
    CHECK_INT(mln_log_reload(NULL), -1);
    scratch_expect_part(scratch_path("logs/app.log"), "log_level \"loud\" is unknown");
    CHECK_INT(configure(scratch_path("other.log"), "lo\x1b[2Jud", ""), 0);
    CHECK_INT(mln_log_reload(NULL), -1);
    scratch_expect_part(scratch_path("logs/app.log"), "log_level \"lo\\x1b[2Jud\" is unknown");
    CHECK_INT(scratch_conf("log_path 5;\n"), 0);
    CHECK_INT(mln_log_reload(NULL), -1);
    CHECK_INT(scratch_conf("log_path;\n"), 0);
    CHECK_INT(mln_log_reload(NULL), -1);

    CHECK_STR(mln_log_logfile_path(), scratch_path("logs/app.log"));
    CHECK(truncate(scratch_path("logs/app.log"), 0) == 0);
    mln_log(none, "still here\n");
    scratch_expect(scratch_path("logs/app.log"), "still here\n");

    /* A named pipe without a reader is refused, not waited for. */
    CHECK(mkfifo(scratch_path("pipe"), 0644) == 0);
    CHECK_INT(configure(scratch_path("pipe"), "none", ""), 0);
    CHECK_INT(mln_log_reload(NULL), -1);
}

static void pid_file_follows_the_log_but_not_a_worker(void)
{
    CHECK_INT(configure(scratch_path("moved/app.log"), "none", ""), 0);

    pid_t worker = fork();
    CHECK(worker >= 0);
    if (worker == 0)
        _exit(mln_log_reload(NULL) != 0 || strcmp(mln_log_pid_path(), scratch_path("moved/melon.pid")) != 0
              || access(mln_log_pid_path(), F_OK) == 0);
    int status;
    CHECK(waitpid(worker, &status, 0) == worker);
    CHECK_INT(status, 0);
    expect_pid_file(scratch_path("logs/melon.pid"), getpid());

    CHECK_INT(mln_log_reload(NULL), 0);
    expect_pid_file(scratch_path("moved/melon.pid"), getpid());
    CHECK(access(scratch_path("logs/melon.pid"), F_OK) < 0);

    /* By another name of the same folder it is still the same file. */
    CHECK(symlink("moved", scratch_path("same")) == 0);
    CHECK_INT(configure(scratch_path("same/app.log"), "none", ""), 0);
    CHECK_INT(mln_log_reload(NULL), 0);
    expect_pid_file(scratch_path("moved/melon.pid"), getpid());
}

/* What another program holds is not taken from it by a reload either, which changes nothing then. */
static void pid_file_of_another_is_not_taken(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int ends[2], status;
    char byte, part[64];
    pid_t other;

    CHECK(mkdir(scratch_path("others"), 0755) == 0);
    CHECK_INT(pipe(ends), 0);
    if ((other = fork()) == 0) {
        int fd = open(scratch_path("others/melon.pid"), O_RDWR | O_CREAT, 0644);
        CHECK_INT(fcntl(fd, F_SETLK, &lock), 0);
        CHECK_INT(write(ends[1], "x", 1), 1);
        pause();
    }
    CHECK_INT(read(ends[0], &byte, 1), 1);
    CHECK_INT(configure(scratch_path("others/app.log"), "none", ""), 0);
    CHECK_INT(mln_log_reload(NULL), -1);
    CHECK_STR(mln_log_pid_path(), scratch_path("same/melon.pid"));
    snprintf(part, sizeof part, "others/melon.pid is held by process %ld, ", (long)other);
    scratch_expect_part(scratch_path("moved/app.log"), part);
    scratch_expect(scratch_path("others/melon.pid"), "");
    expect_pid_file(scratch_path("moved/melon.pid"), getpid());
    CHECK_INT(kill(other, SIGKILL), 0);
    CHECK(waitpid(other, &status, 0) == other);
    close(ends[0]);
    close(ends[1]);
    CHECK_INT(mln_log_reload(NULL), 0);
    expect_pid_file(scratch_path("others/melon.pid"), getpid());
    CHECK(access(scratch_path("moved/melon.pid"), F_OK) < 0);
}

static void after_destroy_the_descriptor_is_not_used(void)
{
    int fd = mln_log_fd();

    mln_log_destroy();
    CHECK_INT(mln_log_fd(), 2);
    CHECK_INT(fcntl(fd, F_GETFD), -1);
    CHECK_STR(mln_log_dir_path(), "");

    /* The number is somebody else's now. */
    int other = open(scratch_path("other"), O_WRONLY | O_CREAT, 0644);
    CHECK(other >= 0 && dup2(other, fd) == fd);
    CHECK(truncate(err, 0) == 0);
    mln_log(none, "after\n");
    scratch_expect(err, "after\n");
    scratch_expect(scratch_path("other"), "");
    mln_log_destroy();
    CHECK_INT(fcntl(fd, F_GETFD), 0);
    close(other);
    if (other != fd)
        close(fd);
    CHECK(truncate(err, 0) == 0);
}

static void daemon_leaves_stderr_alone(void)
{
    CHECK_INT(configure(scratch_path("d.log"), "none", "daemon on;"), 0);
    CHECK_INT(mln_log_init(NULL), 0);
    CHECK(mln_log_in_daemon());
    mln_log(none, "file only\n");
    scratch_expect(err, "");
    scratch_expect(scratch_path("d.log"), "file only\n");
    mln_log_destroy();

    /* The seed era says it by the argument. */
    CHECK_INT(configure(scratch_path("d1.log"), "none", ""), 0);
    CHECK_INT(mln_log_init(1), 0);
    CHECK(mln_log_in_daemon());
    mln_log(none, "file only\n");
    scratch_expect(err, "");
    mln_log_destroy();

    CHECK_INT(configure(scratch_path("d2.log"), "none", "daemon 1;"), 0);
    CHECK_INT(mln_log_init(NULL), -1);
    scratch_expect_part(err, "daemon");
    CHECK_INT(mln_log_fd(), 2);
    CHECK(truncate(err, 0) == 0);
}

static char *scratch_install(void)
{
    return scratch_dir;
}

static char *default_log(void)
{
    return scratch_path("default/x.log");
}

static void expect_paths(const char *dir, const char *file, const char *pid)
{
    CHECK_INT(mln_log_init(NULL), 0);
    CHECK_STR(mln_log_dir_path(), dir);
    CHECK_STR(mln_log_logfile_path(), file);
    CHECK_STR(mln_log_pid_path(), pid);
    CHECK(access(file, F_OK) == 0 && access(pid, F_OK) == 0);
    mln_log_destroy();
}

static void paths_of_all_kinds(void)
{
    char before[512];

    CHECK(getcwd(before, sizeof before) != NULL);
    CHECK(mkdir(scratch_path("cwd"), 0755) == 0);
    CHECK(chdir(scratch_path("cwd")) == 0);

    CHECK_INT(configure(".app.log", "none", ""), 0);
    expect_paths(".", ".app.log", "./melon.pid");
    CHECK_INT(configure("./sub/app.log", "none", ""), 0);
    expect_paths("./sub", "./sub/app.log", "./sub/melon.pid");

    mln_path_hook_set(m_p_install, scratch_install);
    CHECK_INT(configure("in/app.log", "none", ""), 0);
    expect_paths(scratch_path("in"), scratch_path("in/app.log"), scratch_path("in/melon.pid"));
    mln_path_hook_set(m_p_install, NULL);

    mln_path_hook_set(m_p_log, default_log);
    CHECK_INT(scratch_conf("log_level \"none\";\n"), 0);
    expect_paths(scratch_path("default"), scratch_path("default/x.log"), scratch_path("default/melon.pid"));
    mln_path_hook_set(m_p_log, NULL);

    /* More than 512 bytes. */
    char deep[2048];
    snprintf(deep, sizeof deep, "%s/", scratch_dir);
    for (int i = 0; i < 4; i++) {
        size_t length = strlen(deep);
        memset(deep + length, 'a' + i, 200);
        deep[length + 200] = '\0';
        if (i < 3)
            CHECK(mkdir(deep, 0755) == 0);
        strcat(deep, "/");
    }
    char file[2100], pid[2100];
    snprintf(file, sizeof file, "%sx.log", deep);
    snprintf(pid, sizeof pid, "%smelon.pid", deep);
    deep[strlen(deep) - 1] = '\0';
    CHECK_INT(configure(file, "none", ""), 0);
    expect_paths(deep, file, pid);

    CHECK(chdir(before) == 0);
    CHECK(truncate(err, 0) == 0);
}

/* A log directly below the root: of a process that has the folder for its root, where that can be had. */
static void directly_below_the_root(void)
{
    int status;
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_INT(configure("/mln-test.log", "none", ""), 0);
        if (chroot(scratch_dir) == 0 || (unshare(CLONE_NEWUSER) == 0 && chroot(scratch_dir) == 0)) {
            expect_paths("/", "/mln-test.log", "/melon.pid");
        } else { /* not allowed to this account, and so is writing there */
            CHECK_INT(mln_log_init(NULL), -1);
            scratch_expect_part(err, "cannot open /mln-test.log for append");
        }
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    CHECK(truncate(err, 0) == 0);
}

/* The result is what became of the bytes in the file, whatever became of them on standard error. */
static void the_result_of_raw_bytes_is_the_files(void)
{
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 50), full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    CHECK(saved >= 0 && full >= 0);
    CHECK_INT(configure(scratch_path("raw.log"), "none", ""), 0);
    CHECK_INT(mln_log_init(NULL), 0);
    CHECK(dup2(full, STDERR_FILENO) == STDERR_FILENO);
    CHECK_INT(mln_log_writen((void *)"raw\n", 4), 4);
    CHECK(dup2(saved, STDERR_FILENO) == STDERR_FILENO);
    scratch_expect(scratch_path("raw.log"), "raw\n");
    mln_log_destroy();

    CHECK(symlink("/dev/full", scratch_path("full.log")) == 0);
    CHECK_INT(configure(scratch_path("full.log"), "none", ""), 0);
    CHECK_INT(mln_log_init(NULL), 0);
    errno = 0;
    CHECK_INT(mln_log_writen((void *)"raw\n", 4), -1);
    CHECK_INT(errno, ENOSPC);
    scratch_expect(err, "raw\n");
    mln_log_destroy();
    close(saved);
    close(full);
    CHECK(truncate(err, 0) == 0);
}

static void failed_init_leaves_stderr(void)
{
    CHECK_INT(configure(scratch_path("no/such/app.log"), "none", ""), 0);
    CHECK_INT(mln_log_init(NULL), -1);
    scratch_expect_part(err, "no/such");
    CHECK_INT(mln_log_fd(), 2);
    CHECK(truncate(err, 0) == 0);

    /* A symbolic link in place of the pid file is not followed. */
    CHECK(mkdir(scratch_path("planted"), 0755) == 0);
    scratch_write(scratch_path("victim"), "precious");
    CHECK(symlink(scratch_path("victim"), scratch_path("planted/melon.pid")) == 0);
    CHECK_INT(configure(scratch_path("planted/app.log"), "none", ""), 0);
    CHECK_INT(mln_log_init(NULL), -1);
    scratch_expect(scratch_path("victim"), "precious");
    CHECK_INT(mln_log_fd(), 2);
    CHECK(truncate(err, 0) == 0);
}

static void only_a_terminal_gets_colours(void)
{
    char text[512];
    int terminal = posix_openpt(O_RDWR | O_NOCTTY), side;

    CHECK(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    side = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    CHECK(side >= 0);
    CHECK_INT(configure(scratch_path("colour.log"), "none", ""), 0);
    CHECK_INT(mln_log_init(NULL), 0);

    int saved = dup(STDERR_FILENO);
    CHECK(dup2(side, STDERR_FILENO) == STDERR_FILENO);
    mln_log(error, "red\n");
    CHECK(dup2(saved, STDERR_FILENO) == STDERR_FILENO);
    close(saved);

    ssize_t n = read(terminal, text, sizeof text - 1);
    CHECK(n > 0);
    text[n] = '\0';
    CHECK(strstr(text, " UTC \x1b[31mERROR\x1b[0m: ") != NULL);
    CHECK(strstr(text, " red") != NULL);
    close(side);
    close(terminal);

    char *file = scratch_read(scratch_path("colour.log"));
    CHECK(strstr(file, " UTC ERROR: ") != NULL && strchr(file, 0x1b) == NULL);
    free(file);
    mln_log_destroy();
}

int main(void)
{
    scratch_make();
    umask(022);
    err = strdup(scratch_path("stderr"));
    scratch_catch_stderr(err);
    without_configuration_it_stays_on_stderr();
    opens_files_and_writes_to_both_places();
    rotation_lets_the_old_file_go();
    levels_filter();
    failed_reload_changes_nothing();
    pid_file_follows_the_log_but_not_a_worker();
    pid_file_of_another_is_not_taken();
    after_destroy_the_descriptor_is_not_used();
    daemon_leaves_stderr_alone();
    paths_of_all_kinds();
    directly_below_the_root();
    the_result_of_raw_bytes_is_the_files();
    failed_init_leaves_stderr();
    only_a_terminal_gets_colours();
    mln_conf_free();
    free(err);
    return 0;
}
