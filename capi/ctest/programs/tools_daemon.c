/*
 * A daemon continues in another process, which the pid file names and which holds it, and whose privileges are gone.
 *
 * The program that becomes a daemon is a child of this one, and reports through a pipe.
 */
#include "check.h"
#include "refuse.h"

#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "mln_log.h"
#include "mln_tools.h"
#include "scratch.h"

/* What the process that continues says about itself. */
struct report {
    int result;
    pid_t pid, session;
    uid_t uid, euid;
    gid_t gid, egid;
    int threads, threads_of_other_rights;
    char rights[1024]; /* as the kernel tells them */
    int null_descriptors;
    int in_daemon;
    int log_is_writable;
    pid_t holder; /* of the pid file */
};

static char *err;

static int is_null_device(int fd)
{
    struct stat status, null_status;

    return fstat(fd, &status) == 0 && stat("/dev/null", &null_status) == 0 && status.st_rdev == null_status.st_rdev;
}

/* The ids, groups and capabilities of a thread of this process; "" if it has ended. */
static void tell_rights(const char *thread, char *text, size_t size)
{
    static const char *const keys[] = {"Uid:", "Gid:", "Groups:", "CapPrm:", "CapEff:", "CapAmb:"};
    char path[300], line[1024];
    size_t length = 0;
    FILE *file;

    text[0] = '\0';
    snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    if ((file = fopen(path, "r")) == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL)
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (strncmp(line, keys[i], strlen(keys[i])) == 0)
                length += (size_t)snprintf(text + length, size - length, "%s", line);
    fclose(file);
    CHECK(length < size);
}

static void tell_rights_of_threads(struct report *report)
{
    DIR *dir = opendir("/proc/self/task");
    char rights[sizeof report->rights], main_thread[16];

    CHECK(dir != NULL);
    snprintf(main_thread, sizeof main_thread, "%ld", (long)getpid());
    tell_rights(main_thread, report->rights, sizeof report->rights);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        tell_rights(entry->d_name, rights, sizeof rights);
        report->threads++;
        report->threads_of_other_rights += *rights != '\0' && strcmp(rights, report->rights) != 0;
    }
    closedir(dir);
}

/* Who holds a pid file, as others see it: 0 if nobody does, -1 if the account cannot come by it. */
static pid_t holder(const char *path)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    CHECK_INT(fcntl(fd, F_GETLK, &lock), 0);
    close(fd);
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

/* Asked by a child: the question would cost this process the lock. */
static pid_t holder_seen_by_a_child(void)
{
    int ends[2];
    pid_t child, result;

    CHECK_INT(pipe(ends), 0);
    if ((child = fork()) == 0) {
        result = holder(mln_log_pid_path());
        CHECK_INT(write(ends[1], &result, sizeof result), sizeof result);
        _exit(0);
    }
    CHECK(child > 0);
    close(ends[1]);
    CHECK_INT(read(ends[0], &result, sizeof result), sizeof result);
    close(ends[0]);
    CHECK(waitpid(child, NULL, 0) == child);
    return result;
}

static void report_to(int fd)
{
    struct report report;

    memset(&report, 0, sizeof report);
    report.result = mln_daemon();
    report.pid = getpid();
    report.session = getsid(0);
    report.uid = getuid();
    report.euid = geteuid();
    report.gid = getgid();
    report.egid = getegid();
    tell_rights_of_threads(&report);
    for (int i = 0; i < 3; i++)
        report.null_descriptors += is_null_device(i);
    report.in_daemon = mln_log_in_daemon();
    mln_log(none, "from %d\n", (int)getpid());
    report.log_is_writable = mln_log_reload(NULL) == 0;
    report.holder = report.result == 0 ? holder_seen_by_a_child() : -1;
    CHECK_INT(write(fd, &report, sizeof report), sizeof report);
    _exit(0);
}

static int without_setuid;    /* what run() starts cannot change its user */
static int without_setgroups; /* nor its groups, and is not told so */
static int without_dup;       /* nor what its descriptors are */
static int opens_log_first;   /* as programs do that were written before they became daemons */
static pid_t keeps_file;      /* another process, to which the pid file belongs */

/* For root; nobody else has that right. */
static void lose_setuid(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];

    CHECK_INT(syscall(SYS_capget, &header, sets), 0);
    sets[0].effective &= ~(1u << CAP_SETUID);
    sets[0].permitted &= ~(1u << CAP_SETUID);
    CHECK_INT(syscall(SYS_capset, &header, sets), 0);
}

static void refuse_dup(void)
{
    refuse_with(SYS_dup3, 0, EMFILE); /* with O_CLOEXEC it is not dup2() */
#ifdef SYS_dup2
    refuse(SYS_dup2, EMFILE);
#endif
}

/* Lets a child become a daemon by this configuration; the status with which the child ends. */
static int run(const char *conf, struct report *report)
{
    int ends[2], status;
    char byte;

    CHECK_INT(pipe(ends), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(ends[0]);
        if (without_setuid) /* before there are other threads: it is a thread's right */
            lose_setuid();
        CHECK_INT(scratch_conf(conf), 0);
        if (without_dup)
            refuse_dup();
        if (without_setgroups) {
            CHECK_INT(setgroups(2, (const gid_t[]){0, 4}), 0);
            refuse(SYS_setgroups, 0);
        }
        if (opens_log_first)
            CHECK_INT(mln_log_init(NULL), 0);
        report_to(ends[1]);
    }
    close(ends[1]);
    CHECK_INT(read(ends[0], report, sizeof *report), sizeof *report);
    CHECK(waitpid(child, &status, 0) == child);
    /* Until the process that continues has ended, too. */
    CHECK_INT(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    CHECK(WIFEXITED(status));
    if (report->holder >= 0)
        CHECK_INT(report->holder, keeps_file != 0 ? keeps_file : report->pid);
    report->pid = report->pid == child ? 0 : report->pid;
    return WEXITSTATUS(status);
}

static void remove_logs(void)
{
    CHECK_INT(nftw(scratch_path("logs"), scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static char *configuration(const char *more)
{
    static char text[2048];

    /* Relative: the account may have no way to the folder from the root directory. */
    snprintf(text, sizeof text, "log_path \"./logs/app.log\";\n%s\n", more);
    return text;
}

static void daemon_is_another_process(void)
{
    struct report report;
    char pid[32], line[64];

    CHECK_INT(run(configuration("daemon on;"), &report), 0);
    CHECK_INT(report.result, 0);
    CHECK(report.pid > 0);
    CHECK_INT(report.session, report.pid);
    CHECK_INT(report.null_descriptors, 3);
    CHECK(report.in_daemon);
    snprintf(pid, sizeof pid, "%ld", (long)report.pid);
    scratch_expect(scratch_path("logs/melon.pid"), pid);
    snprintf(line, sizeof line, "from %ld\n", (long)report.pid);
    scratch_expect(scratch_path("logs/app.log"), line);
}

static void without_daemon_it_stays(void)
{
    struct report report;

    CHECK_INT(run(configuration("daemon off;"), &report), 0);
    CHECK_INT(report.result, 0);
    CHECK_INT(report.pid, 0);
    CHECK(!report.in_daemon);
    CHECK(report.null_descriptors < 3);
    CHECK_INT(report.uid, getuid());
    CHECK_INT(report.euid, geteuid());
}

static int by_number(const void *a, const void *b)
{
    gid_t left = *(const gid_t *)a, right = *(const gid_t *)b;

    return (left > right) - (left < right);
}

/* The account's groups, all of them and no others, and nothing that it would not have by itself. */
static void expect_rights_of(const struct passwd *account, const struct report *report)
{
    unsigned uid = account->pw_uid, gid = account->pw_gid;
    char text[sizeof report->rights];
    gid_t groups[64];
    int count = 64, n;

    CHECK(getgrouplist(account->pw_name, gid, groups, &count) >= 0);
    qsort(groups, (size_t)count, sizeof *groups, by_number);
    n = snprintf(text, sizeof text, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nGroups:\t", uid, uid, uid, uid, gid, gid, gid, gid);
    for (int i = 0; i < count; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%u ", (unsigned)groups[i]);
    snprintf(text + n, sizeof text - (size_t)n, "\nCapPrm:\t%016x\nCapEff:\t%016x\nCapAmb:\t%016x\n", 0, 0, 0);
    CHECK_STR(report->rights, text);
    CHECK(report->threads > 1); /* the runtime's */
    CHECK_INT(report->threads_of_other_rights, 0);
}

/* The account "nobody" for root, one's own for others. */
static void changes_the_account(const char *daemon_mode)
{
    struct report report;
    struct passwd *account = getuid() == 0 ? getpwnam("nobody") : getpwuid(getuid());
    char user[256];

    CHECK(account != NULL);
    snprintf(user, sizeof user, "user \"%s\";\n%s", account->pw_name, daemon_mode);
    CHECK_INT(run(configuration(user), &report), 0);
    CHECK_INT(report.result, 0);
    CHECK_INT(report.uid, account->pw_uid);
    CHECK_INT(report.euid, account->pw_uid);
    CHECK_INT(report.gid, account->pw_gid);
    CHECK_INT(report.egid, account->pw_gid);
    CHECK_INT(report.log_is_writable, 1);
    if (getuid() != 0)
        return;

    expect_rights_of(account, &report);
    static const char *const files[] = {"logs", "logs/app.log", "logs/melon.pid"};
    for (int i = 0; i < 3; i++) {
        struct stat status;
        CHECK_INT(stat(scratch_path(files[i]), &status), 0);
        CHECK_INT(status.st_uid, i < 2 ? account->pw_uid : 0); /* a worker must not write another number into the last */
    }
}

static void expect_owner(const char *name, uid_t uid)
{
    struct stat status;

    CHECK_INT(stat(scratch_path(name), &status), 0);
    CHECK_INT(status.st_uid, uid);
}

static char *installation(void)
{
    return scratch_path("installation");
}

static void log_to(const char *file)
{
    struct report report;
    char conf[2048];

    snprintf(conf, sizeof conf, "log_path \"%s\";\nuser \"nobody\";\n", scratch_path(file));
    CHECK(truncate(err, 0) == 0);
    CHECK_INT(run(conf, &report), 0);
    CHECK_INT(report.result, 0);
}

/* Of folders that were there before, the one for logs in the installation is the program's, wherever its path leads; no other is. */
static void folders_are_told_apart(void)
{
    uid_t nobody = getpwnam("nobody")->pw_uid;

    mln_path_hook_set(m_p_install, installation);
    CHECK_INT(mkdir(scratch_path("installation"), 0755), 0);
    CHECK_INT(mkdir(scratch_path("installation/logs"), 0755), 0);
    CHECK_INT(mkdir(scratch_path("installation/var"), 0755), 0);
    CHECK_INT(mkdir(scratch_path("outside"), 0755), 0);
    CHECK_INT(mkdir(scratch_path("outside/log"), 0755), 0);
    CHECK_INT(symlink(scratch_path("outside"), scratch_path("installation/link")), 0);
    CHECK_INT(symlink("installation/logs", scratch_path("logs-of-installation")), 0);

    log_to("installation/var/app.log");
    expect_owner("installation/var", 0);
    expect_owner("installation/var/app.log", nobody);
    CHECK_INT(scratch_count(err, "installation/var keeps its owner"), 1);
    log_to("installation/link/log/app.log");
    expect_owner("outside/log", 0);
    log_to("installation/new/app.log");
    expect_owner("installation/new", nobody);
    expect_owner("installation", 0);
    log_to("logs-of-installation/app.log");
    expect_owner("installation/logs", nobody);
    CHECK_INT(scratch_count(err, "keeps its owner"), 0);
    mln_path_hook_set(m_p_install, NULL);
}

/* A folder that was there before may be everybody's: it keeps its owner, and a planted link is not followed. */
static void foreign_files_keep_their_owner(void)
{
    struct report report;

    if (getuid() != 0)
        return;
    CHECK_INT(mkdir(scratch_path("shared"), 0755), 0);
    scratch_write(scratch_path("victim"), "");
    CHECK_INT(symlink(scratch_path("victim"), scratch_path("shared/app.log")), 0);
    char conf[2048];
    snprintf(conf, sizeof conf, "log_path \"%s\";\nuser \"nobody\";\n", scratch_path("shared/app.log"));
    CHECK_INT(run(conf, &report), 0);
    CHECK_INT(report.result, 0);
    expect_owner("shared", 0);
    expect_owner("victim", 0);
    scratch_expect_part(scratch_path("victim"), "keeps its owner");
}

static void expect_failure(const char *conf, const char *part)
{
    struct report report;

    CHECK(truncate(err, 0) == 0);
    CHECK_INT(run(conf, &report), 0);
    CHECK_INT(report.result, -1);
    CHECK_INT(report.pid, 0);
    scratch_expect_part(err, part);
}

/* Going on with the old rights would be worse than not to start. */
static void an_account_that_cannot_be_had_ends_the_start(void)
{
    const char *other = getuid() == 0 ? "nobody" : "root";
    char user[256];

    snprintf(user, sizeof user, "user \"%s\";", other);
    without_setuid = 1;
    expect_failure(configuration(user), "cannot continue as user");
    without_setuid = 0;
}

static void groups_that_stay_end_the_start(void)
{
    without_setgroups = 1;
    expect_failure(configuration("user \"nobody\";"), "the supplementary groups did not change");
    without_setgroups = 0;
}

static int has_open(const char *path)
{
    struct stat wanted, status;

    CHECK_INT(stat(path, &wanted), 0);
    for (int fd = 0; fd < 1024; fd++)
        if (fstat(fd, &status) == 0 && status.st_dev == wanted.st_dev && status.st_ino == wanted.st_ino)
            return 1;
    return 0;
}

/* A running program with a child of its own, which says by `word` that all is well, and lives until that is closed. */
static pid_t start_running(int word[2])
{
    pid_t running;
    char byte;

    CHECK_INT(pipe(word), 0);
    if ((running = fork()) == 0) {
        close(word[0]);
        CHECK_INT(scratch_conf(configuration("")), 0);
        CHECK_INT(mln_daemon(), 0);
        CHECK(has_open(scratch_path("logs/melon.pid")));
        CHECK_INT(mln_log_reload(NULL), 0); /* costs no lock */
        CHECK_INT(mln_daemon(), 0);         /* nor does another group in the same process */
        pid_t child = fork();
        if (child == 0) {
            CHECK(!has_open(scratch_path("logs/melon.pid")));
            mln_log_destroy();
            CHECK_INT(mln_log_init(NULL), 0);
            CHECK_INT(holder(mln_log_pid_path()), getppid()); /* the file is the parent's, and this is no reason for a child to fail */
            CHECK_INT(write(word[1], "r", 1), 1);
            poll(&(struct pollfd){.fd = word[1]}, 1, -1);
            _exit(0);
        }
        close(word[1]);
        for (;;)
            pause();
    }
    CHECK(running > 0);
    close(word[1]);
    CHECK_INT(read(word[0], &byte, 1), 1);
    return running;
}

/* The running program is named, and stays the one that the file is of. A second daemon is refused; a first one that ends is waited for,
   and its children are not in the way. */
static void a_second_start_leaves_the_file_alone(void)
{
    struct report report;
    char part[64], text[32];
    int word[2];
    pid_t running = start_running(word);

    snprintf(part, sizeof part, "melon.pid stays with process %ld, which holds it", (long)running);
    snprintf(text, sizeof text, "%ld", (long)running);
    keeps_file = running;
    CHECK_INT(run(configuration("daemon off;"), &report), 0);
    CHECK_INT(report.result, 0);
    keeps_file = 0;
    scratch_expect_part(scratch_path("logs/app.log"), part);
    snprintf(part, sizeof part, "melon.pid is held by process %ld, ", (long)running);
    expect_failure(configuration("daemon on;"), part);
    CHECK_INT(scratch_count(err, "is held by"), 1);
    scratch_expect(scratch_path("logs/melon.pid"), text);
    CHECK_INT(holder(scratch_path("logs/melon.pid")), running);

    pid_t killer = fork();
    if (killer == 0) {
        usleep(300000);
        CHECK_INT(kill(running, SIGKILL), 0);
        _exit(0);
    }
    CHECK_INT(run(configuration("daemon on;"), &report), 0);
    CHECK_INT(report.result, 0);
    CHECK(waitpid(killer, NULL, 0) == killer);
    CHECK(waitpid(running, NULL, 0) == running);
    close(word[0]);
    remove_logs();
}

/* The log, and with it the pid file, may be open already when the process becomes a daemon. */
static void the_file_passes_on_to_the_daemon(void)
{
    struct report report;
    char pid[32];

    opens_log_first = 1;
    CHECK_INT(run(configuration("daemon on;"), &report), 0);
    opens_log_first = 0;
    CHECK_INT(report.result, 0);
    snprintf(pid, sizeof pid, "%ld", (long)report.pid);
    scratch_expect(scratch_path("logs/melon.pid"), pid);
    remove_logs();
}

/* A lock for reading, which any account may take, holds up nobody; nor does root's file the account that goes on without root. */
static void the_file_is_not_held_up(void)
{
    struct report report;
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

    CHECK_INT(mkdir(scratch_path("logs"), 0755), 0);
    scratch_write(scratch_path("logs/melon.pid"), "12345");
    int fd = open(scratch_path("logs/melon.pid"), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_INT(fcntl(fd, F_SETLK, &lock), 0);
    CHECK_INT(run(configuration(""), &report), 0);
    CHECK_INT(report.result, 0);
    close(fd);
    if (getuid() == 0) {
        CHECK_INT(run(configuration("user \"nobody\";"), &report), 0);
        CHECK_INT(chown(scratch_path("logs"), report.uid, report.gid), 0);
        pid_t child = fork();
        if (child == 0) {
            CHECK_INT(scratch_conf(configuration("")), 0);
            CHECK_INT(setresgid(report.gid, report.gid, report.gid), 0);
            CHECK_INT(setresuid(report.uid, report.uid, report.uid), 0);
            CHECK_INT(mln_daemon(), 0);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK_INT(status, 0);
        expect_owner("logs/melon.pid", report.uid);
    }
    remove_logs();
}

static void failures_are_seen_at_the_terminal(void)
{
    char conf[2048];

    expect_failure(configuration("daemon on;\nuser \"no-such-account\";"), "no-such-account");
    expect_failure(configuration("daemon on;\nuser 5;"), "user");
    expect_failure(configuration("daemon 1;"), "daemon");
    snprintf(conf, sizeof conf, "log_path \"%s\";\ndaemon on;\n", scratch_path("no/such/app.log"));
    expect_failure(conf, "no/such");
}

/* A daemon that keeps the terminal would be worse than none. The process that says so is not the one that was started any more. */
static void a_terminal_that_cannot_be_left_ends_the_start(void)
{
    struct report report;

    without_dup = 1;
    CHECK_INT(run(configuration("daemon on;"), &report), 0);
    without_dup = 0;
    CHECK_INT(report.result, -1);
    scratch_expect_part(scratch_path("logs/app.log"), "cannot become a daemon: it would keep the terminal: Too many open files");
    CHECK_INT(access(scratch_path("logs/melon.pid"), F_OK), -1);
    remove_logs();
}

int main(void)
{
    scratch_make();
    CHECK_INT(chdir(scratch_dir), 0);
    umask(022);
    err = strdup(scratch_path("stderr"));
    scratch_catch_stderr(err);
    daemon_is_another_process();
    remove_logs();
    without_daemon_it_stays();
    remove_logs();
    a_terminal_that_cannot_be_left_ends_the_start();
    a_second_start_leaves_the_file_alone();
    the_file_passes_on_to_the_daemon();
    the_file_is_not_held_up();
    changes_the_account("");
    remove_logs();
    changes_the_account("daemon on;");
    foreign_files_keep_their_owner();
    if (getuid() == 0) {
        folders_are_told_apart();
        groups_that_stay_end_the_start();
    }
    failures_are_seen_at_the_terminal();
    an_account_that_cannot_be_had_ends_the_start();
    free(err);
    return 0;
}
