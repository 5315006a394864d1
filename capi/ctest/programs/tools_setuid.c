/*
 * In a set-user-ID program of root's nothing counts that whoever starts it has in hand: not the environment, nor the folder in
 * which it is started, with the links that are there.
 *
 * The program is a copy of this one, which belongs to root, with the bit or without; an account without rights starts it. Root alone
 * can arrange that.
 */
#include "check.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "mln_file.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "mln_tools.h"
#include "processes.h"
#include "scratch.h"

enum { ACCOUNT = 65534, NOT_STARTED = 99 };
enum { IS_WORKER = 1, OBEYS_CONF = 2, OBEYS_TMPDIR = 4, FAILED = 8, MORE_RIGHTS = 16 };

static char *err, *copy;

/* ---- in the copy: its exit status tells what counted ---- */

static int is_in(int fd, const char *folder)
{
    char path[64], target[1024] = "";

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK(readlink(path, target, sizeof target - 1) > 0);
    return strncmp(target, folder, strlen(folder)) == 0;
}

static char *no_folder(void)
{
    static char path[] = "/nonexistent";

    return path;
}

static int environment(const char *folder)
{
    mln_alloc_t *pool = mln_alloc_init(NULL);
    mln_file_t *file;
    int found = 0;

    mln_path_hook_set(m_p_tmpfile, no_folder);
    CHECK((file = mln_file_tmp_open(pool)) != NULL);
    found |= mln_fork_master_connection_get()->sockfd >= 0 ? IS_WORKER : 0;
    found |= strcmp(mln_path_conf(), "theirs.conf") == 0 ? OBEYS_CONF : 0;
    found |= is_in(mln_file_fd(file), folder) ? OBEYS_TMPDIR : 0;
    mln_file_close(file);
    mln_alloc_destroy(pool);
    return found;
}

static char *conf_of_test(void)
{
    static char path[] = "../test.conf"; /* the program's own: not a choice of whoever starts it */

    return path;
}

static int start_of_program(void)
{
    mln_path_hook_set(m_p_conf, conf_of_test);
    CHECK_INT(mln_conf_load(), 0);
    if (mln_daemon() != 0)
        return FAILED;
    return geteuid() == 0 || setuid(0) == 0 ? MORE_RIGHTS : 0;
}

/* ---- in root's process ---- */

static void install(mode_t mode)
{
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to;
    char buffer[65536];
    ssize_t n;

    unlink(copy);
    CHECK((to = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700)) >= 0);
    while ((n = read(from, buffer, sizeof buffer)) > 0)
        CHECK_INT(write(to, buffer, (size_t)n), n);
    CHECK_INT(fchown(to, 0, 0), 0);
    CHECK_INT(fchmod(to, mode), 0);
    close(from);
    close(to);
}

/* Its status when the account starts the copy in the folder "place", with an environment that tells of a channel. */
static int start(const char *mode)
{
    const char *const argv[] = {"copy", mode, scratch_path("place"), NULL};
    struct stat status;
    char variable[128];
    int pair[2];
    pid_t pid;

    CHECK_INT(truncate(err, 0), 0);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_INT(fstat(pair[0], &status), 0);
    snprintf(variable, sizeof variable, "0:%d:%llu:%ld:0:0", pair[0], (unsigned long long)status.st_ino, (long)getpid());
    /* Before the fork: a child of a process with threads must not allocate memory, for its allocator may be locked, as that of ASan. */
    CHECK_INT(setenv("MELON_WORKER", variable, 1), 0);
    CHECK_INT(setenv("MLN_CONF", "theirs.conf", 1), 0);
    CHECK_INT(setenv("TMPDIR", ".", 1), 0);
    CHECK((pid = fork()) >= 0);
    if (pid == 0) {
        int program = open(copy, O_PATH | O_CLOEXEC); /* the account may have no way to the folder */

        CHECK_INT(chdir(scratch_path("place")), 0);
        CHECK_INT(setresgid(ACCOUNT, ACCOUNT, ACCOUNT), 0);
        CHECK_INT(setresuid(ACCOUNT, ACCOUNT, ACCOUNT), 0);
        fexecve(program, (char **)argv, environ);
        _exit(NOT_STARTED);
    }
    close(pair[0]);
    close(pair[1]);
    return await_status(pid);
}

static void environment_does_not_count(void)
{
    install(0755);
    int status = start("environment");
    if (status == NOT_STARTED || status == 127) {
        puts("left out: account 65534 has no way to this program or to the library");
        exit(0);
    }
    CHECK_INT(status, IS_WORKER | OBEYS_CONF | OBEYS_TMPDIR);
    install(04755);
    CHECK_INT(start("environment"), 0);
}

static void configure(const char *text)
{
    scratch_write(scratch_path("test.conf"), text);
}

static void files_are_made_with_the_rights_of_who_starts(void)
{
    struct stat status;

    configure("log_path \"./logs/app.log\";");
    CHECK_INT(mkdir(scratch_path("roots"), 0700), 0);
    CHECK_INT(symlink("../roots", scratch_path("place/logs")), 0);
    CHECK_INT(start("start"), FAILED);
    CHECK_INT(rmdir(scratch_path("roots")), 0); /* nothing is in it */
    CHECK_INT(unlink(scratch_path("place/logs")), 0);

    CHECK_INT(start("start"), 0);
    CHECK_INT(stat(scratch_path("place/logs/app.log"), &status), 0);
    CHECK_INT(status.st_uid, ACCOUNT);
    CHECK_INT(stat(scratch_path("place/logs/melon.pid"), &status), 0);
    CHECK_INT(status.st_uid, ACCOUNT);
}

/* With another account to go on as, the files are made before, by root: where, nobody else chooses. */
static void folder_of_who_starts_is_not_roots_choice(void)
{
    char text[1024];

    configure("log_path \"./roots/app.log\"; user \"nobody\";");
    CHECK_INT(start("start"), FAILED);
    scratch_expect_part(err, "./roots/app.log depends on the folder in which this set-user-ID program was started");
    CHECK(access(scratch_path("place/roots"), F_OK) != 0);

    snprintf(text, sizeof text, "log_path \"%s\"; user \"nobody\";", scratch_path("new/app.log"));
    configure(text);
    CHECK_INT(start("start"), 0);
    CHECK_INT(access(scratch_path("new/app.log"), F_OK), 0);
}

int main(int argc, char **argv)
{
    struct statvfs system;

    if (argc > 1)
        return strcmp(argv[1], "environment") == 0 ? environment(argv[2]) : start_of_program();
    if (getuid() != 0) {
        puts("left out: root alone can make set-user-ID programs of root's");
        return 0;
    }
    scratch_make();
    CHECK_INT(statvfs(scratch_dir, &system), 0);
    if ((system.f_flag & ST_NOSUID) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0) {
        printf("left out: there are no set-user-ID programs in %s, or for this process\n", scratch_dir);
        return 0;
    }
    err = strdup(scratch_path("stderr"));
    copy = strdup(scratch_path("copy"));
    scratch_catch_stderr(err);
    CHECK_INT(mkdir(scratch_path("place"), 0755), 0);
    CHECK_INT(chown(scratch_path("place"), ACCOUNT, ACCOUNT), 0);
    environment_does_not_count();
    files_are_made_with_the_rights_of_who_starts();
    folder_of_who_starts_is_not_roots_choice();
    free(err);
    free(copy);
    return 0;
}
