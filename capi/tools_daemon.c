/*
 * Daemon and account.
 *
 * Whatever can fail for a reason that the person at the terminal can mend is done or looked up before the process
 * leaves the terminal.
 */
#include "tools.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "log.h"
#include "process.h"
#include "mln_path.h"
#include "setting.h"

/* The account to change to. */
struct account {
    char *name; /* NULL: none; from malloc */
    uid_t uid;
    gid_t gid;
};

static int account_from_conf(mln_conf_t *cf, struct account *account)
{
    const char *name = NULL;
    *account = (struct account){0};
    if (setting_string(cf, "user", &name) < 0)
        return -1;
    if (name == NULL)
        return 0;

    errno = 0;
    struct passwd *entry = getpwnam(name);
    if (entry == NULL) {
        log_line(error, "configuration: there is no account \"%s\" (key user)%s%s", name, errno == 0 ? "" : ": ",
                 errno == 0 ? "" : strerror(errno));
        return -1;
    }
    account->uid = entry->pw_uid;
    account->gid = entry->pw_gid;
    account->name = strdup(name);
    if (account->name == NULL) {
        log_line(error, "no memory for the name of the account \"%s\"", name);
        return -1;
    }
    return 0;
}

/* What the child of leave_terminal() does before it goes on. */
static int settle(int null_fd)
{
    int refused = 0;

    setsid(); /* a new process leads no group: this cannot fail */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (dup2(null_fd, fd) < 0)
            refused = errno;
    /* At once, with signals blocked: the handlers of the engine that stayed behind must not run here. */
    if (engine_renew() < 0)
        return -1;
    if (refused != 0) {
        log_line(error, "cannot become a daemon: it would keep the terminal: %s", strerror(refused));
        return -1;
    }
    return 0;
}

/* Continues in a child process without a terminal. -1 after a message. */
static int leave_terminal(void)
{
    const char *null_device = mln_path_null();
    int null_fd = open(null_device, O_RDWR | O_CLOEXEC);
    if (null_fd < 0) {
        log_line(error, "cannot become a daemon: cannot open %s: %s", null_device, strerror(errno));
        return -1;
    }
    char reason[ENGINE_REASON_MAX];
    if (engine_prepare_fork(reason) < 0) {
        log_line(error, "cannot become a daemon: %s", reason);
        close(null_fd);
        return -1;
    }

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    /* What stdio holds would come out twice, once from each process. */
    process_flush();
    pid_t pid = fork();
    if (pid < 0)
        log_line(error, "cannot become a daemon: fork: %s", strerror(errno));
    /* Without atexit handlers: what they would remove is in use by the process that continues. */
    if (pid > 0)
        _exit(0);
    int result = pid < 0 ? -1 : settle(null_fd);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (null_fd > STDERR_FILENO)
        close(null_fd);
    return result;
}

static int refuse_identity(const char *step, uid_t uid, gid_t gid)
{
    log_line(error, "cannot continue as user %ld, group %ld: %s: %s; start as root or remove the key user", (long)uid,
             (long)gid, step, strerror(errno));
    return -1;
}

/* Makes real, effective and saved ids the same, and sees to it that there is no way back. */
static int fix_ids(uid_t uid, gid_t gid)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;

    /* The group first: without the user's privileges it could not be changed any more. */
    if (setresgid(gid, gid, gid) < 0)
        return refuse_identity("setgid", uid, gid);
    if (setresuid(uid, uid, uid) < 0)
        return refuse_identity("setuid", uid, gid);

    if (getresuid(&ruid, &euid, &suid) < 0 || getresgid(&rgid, &egid, &sgid) < 0 || ruid != uid || euid != uid
        || suid != uid || rgid != gid || egid != gid || sgid != gid)
    {
        errno = EPERM;
        return refuse_identity("the ids did not change", uid, gid);
    }
    if (uid != 0 && setuid(0) == 0) {
        errno = EPERM;
        return refuse_identity("root's privileges can be had back", uid, gid);
    }
    return 0;
}

static int by_number(const void *a, const void *b)
{
    gid_t left = *(const gid_t *)a, right = *(const gid_t *)b;

    return (left > right) - (left < right);
}

/* The groups of the account, sorted, from malloc; NULL with errno. */
static gid_t *groups_of(const struct account *account, int *count)
{
    gid_t *groups = NULL, *more;

    *count = 64;
    for (int room = 0; room < *count;) { /* it becomes what is needed */
        room = *count;
        if ((more = realloc(groups, (size_t)room * sizeof *groups)) == NULL)
            break;
        groups = more;
        if (getgrouplist(account->name, account->gid, groups, count) >= 0) {
            qsort(groups, (size_t)*count, sizeof *groups, by_number);
            return groups;
        }
    }
    free(groups);
    errno = ENOMEM;
    return NULL;
}

/* Whether the supplementary groups are these, and no others. */
static bool has_groups(const gid_t *groups, int count)
{
    gid_t *present = malloc(((size_t)count + 1) * sizeof *present);
    bool result = present != NULL && getgroups(count + 1, present) == count; /* an error if there are even more */

    if (result) {
        qsort(present, (size_t)count, sizeof *present, by_number);
        result = memcmp(present, groups, (size_t)count * sizeof *groups) == 0;
    }
    free(present);
    return result;
}

/* Groups of the old account, root's for instance, would otherwise stay. */
static int fix_groups(const struct account *account)
{
    int count, result = 0;
    gid_t *groups = groups_of(account, &count);

    if (groups == NULL || setgroups((size_t)count, groups) < 0) {
        result = refuse_identity("setgroups", account->uid, account->gid);
    } else if (!has_groups(groups, count)) {
        errno = EPERM;
        result = refuse_identity("the supplementary groups did not change", account->uid, account->gid);
    }
    free(groups);
    return result;
}

static int change_account(const struct account *account)
{
    /* Whoever starts the program under the right account already needs no privilege for it. */
    if (geteuid() != 0 && getuid() == account->uid && geteuid() == account->uid && getgid() == account->gid)
        return fix_ids(account->uid, account->gid);

    log_give_to(account->uid, account->gid);
    return fix_groups(account) < 0 ? -1 : fix_ids(account->uid, account->gid);
}

static int start(mln_conf_t *cf, const struct account *account, bool daemon_mode)
{
    /* First of all: a set-user-ID program would otherwise make files for whoever starts it where that one has no right to. */
    if (account->name == NULL && fix_ids(getuid(), getgid()) < 0)
        return -1;
    if (daemon_mode && log_pid_file_leave(cf, tools_runs_this_program) < 0)
        return -1;
    if (log_start(cf, false, false) < 0)
        return -1;
    if (daemon_mode && leave_terminal() < 0)
        return -1;
    if (log_pid_file_write(daemon_mode ? tools_runs_this_program : NULL) < 0)
        return -1;
    return account->name != NULL ? change_account(account) : 0;
}

int mln_daemon(void)
{
    mln_conf_t *cf = mln_conf();
    struct account account;
    bool daemon_mode = false;

    if (setting_switch(cf, "daemon", &daemon_mode) < 0 || account_from_conf(cf, &account) < 0)
        return -1;
    int result = start(cf, &account, daemon_mode);
    free(account.name);
    return result;
}
