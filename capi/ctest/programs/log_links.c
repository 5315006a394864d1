/*
 * What lies in the way of the log and of the pid file was perhaps put there by an account with fewer rights, to which their folder
 * belongs: named pipes, links and further names of files are neither waited for nor written through.
 */
#include "check.h"

#include "mln_log.h"
#include "processes.h"
#include "scratch.h"

enum { ACCOUNT = 65534 }; /* any but root's */

static char *err;

/* Whether the log can be opened with that file; in a process of its own, because the log is. */
static int opens(const char *file)
{
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        char conf[1024];

        snprintf(conf, sizeof conf, "log_path \"%s\";\n", file);
        CHECK_INT(scratch_conf(conf), 0);
        if (mln_log_init(NULL) != 0)
            _exit(1);
        mln_log(none, "a line of root's\n");
        _exit(0);
    }
    return await_status(child) == 0;
}

static char *in_way_of(const char *folder, const char *name)
{
    char path[600];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return scratch_path(path);
}

static void make_folder(const char *name)
{
    CHECK_INT(mkdir(scratch_path(name), 0755), 0);
}

static void pid_file_is_no_trap(void)
{
    char *text;

    make_folder("pipe");
    CHECK_INT(mkfifo(in_way_of("pipe", "melon.pid"), 0644), 0);
    CHECK(!opens(in_way_of("pipe", "app.log"))); /* and it does not hang */
    scratch_expect_part(err, "cannot write the process id into");

    make_folder("names");
    scratch_write(scratch_path("precious"), "precious");
    CHECK_INT(link(scratch_path("precious"), in_way_of("names", "melon.pid")), 0);
    CHECK(!opens(in_way_of("names", "app.log")));
    scratch_expect(scratch_path("precious"), "precious");
    scratch_expect_part(err, "melon.pid: it is not a regular file with a single name");

    make_folder("old");
    scratch_write(in_way_of("old", "melon.pid"), "1234567890 and more");
    CHECK(opens(in_way_of("old", "app.log")));
    text = scratch_read(in_way_of("old", "melon.pid"));
    CHECK(strlen(text) < 10 && strtol(text, NULL, 10) > 1);
    free(text);
}

static void own_links_are_followed(void)
{
    make_folder("own");
    make_folder("elsewhere");
    CHECK_INT(symlink("../elsewhere/app.log", in_way_of("own", "relative.log")), 0);
    CHECK_INT(symlink(in_way_of("elsewhere", "app.log"), in_way_of("own", "absolute.log")), 0);
    CHECK(opens(in_way_of("own", "relative.log")));
    CHECK(opens(in_way_of("own", "absolute.log")));
    scratch_expect(in_way_of("elsewhere", "app.log"), "a line of root's\na line of root's\n");
}

static void links_of_others_are_not(void)
{
    make_folder("account");
    CHECK_INT(chown(scratch_path("account"), ACCOUNT, ACCOUNT), 0);
    scratch_write(scratch_path("victim"), "victim");
    CHECK_INT(symlink(scratch_path("victim"), in_way_of("account", "app.log")), 0);
    CHECK_INT(lchown(in_way_of("account", "app.log"), ACCOUNT, ACCOUNT), 0);
    CHECK(!opens(in_way_of("account", "app.log")));
    scratch_expect_part(err, "app.log for append: a symbolic link is in the way that is not followed: another account has made it");
    CHECK_INT(unlink(in_way_of("account", "app.log")), 0);

    /* Nor does it come into being. */
    CHECK_INT(symlink(scratch_path("new"), in_way_of("account", "app.log")), 0);
    CHECK_INT(lchown(in_way_of("account", "app.log"), ACCOUNT, ACCOUNT), 0);
    CHECK(!opens(in_way_of("account", "app.log")));
    CHECK(access(scratch_path("new"), F_OK) != 0);
    CHECK_INT(unlink(in_way_of("account", "app.log")), 0);

    CHECK_INT(link(scratch_path("victim"), in_way_of("account", "app.log")), 0);
    CHECK(!opens(in_way_of("account", "app.log")));
    scratch_expect(scratch_path("victim"), "victim");
    CHECK_INT(unlink(in_way_of("account", "app.log")), 0);
    CHECK(opens(in_way_of("account", "app.log")));
}

static void link_of_account(const char *to, const char *name)
{
    CHECK_INT(symlink(to, in_way_of("account", name)), 0);
    CHECK_INT(lchown(in_way_of("account", name), ACCOUNT, ACCOUNT), 0);
}

/* Nor on the way to the folder, or when what root's own link leads to is behind another. */
static void folders_behind_links_of_others_are_not(void)
{
    make_folder("roots");
    link_of_account(scratch_path("roots"), "log");
    CHECK(!opens(in_way_of("account", "log/app.log")));
    scratch_expect_part(err, "account/log: a symbolic link is in the way that is not followed");
    CHECK(!opens(in_way_of("account", "log/deeper/app.log")));
    CHECK(!opens(in_way_of("account", "../account/./log//app.log")));
    CHECK_INT(symlink(in_way_of("account", "log"), scratch_path("over")), 0);
    CHECK(!opens(scratch_path("over/app.log")));
    CHECK_INT(symlink("account/log/app.log", scratch_path("over.log")), 0);
    CHECK(!opens(scratch_path("over.log")));
    CHECK_INT(rmdir(scratch_path("roots")), 0); /* nothing has come into being in it */
    CHECK(!opens(in_way_of("account", "log/app.log")));
    CHECK(access(scratch_path("roots"), F_OK) != 0);
}

static void folders_behind_own_links_are(void)
{
    char name[600], text[64];
    int fd;

    make_folder("real");
    make_folder("real/inner");
    CHECK_INT(symlink("real", scratch_path("relative")), 0);
    CHECK_INT(symlink(scratch_path("real/inner/../inner/"), scratch_path("absolute")), 0);
    CHECK_INT(symlink("../absolute", scratch_path("real/second")), 0);
    CHECK(opens(scratch_path("relative/app.log")));
    CHECK(opens(scratch_path("absolute/new/app.log")));
    CHECK(opens(scratch_path("relative//second/./new/../new/app.log")));
    scratch_expect(scratch_path("real/app.log"), "a line of root's\n");
    scratch_expect(scratch_path("real/inner/new/app.log"), "a line of root's\na line of root's\n");
    CHECK_INT(access(scratch_path("real/inner/new/melon.pid"), F_OK), 0);

    CHECK_INT(symlink("circle", scratch_path("circle")), 0);
    CHECK(!opens(scratch_path("circle/app.log")));
    scratch_expect_part(err, "or it leads in a circle");

    /* As /dev/stdout does, it leads to the kernel's names of descriptors, which are no paths. */
    CHECK((fd = open(scratch_path("removed"), O_RDWR | O_CREAT | O_APPEND, 0600)) >= 0);
    CHECK_INT(unlink(scratch_path("removed")), 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    CHECK_INT(symlink(name, scratch_path("real/descriptor.log")), 0);
    CHECK(opens(scratch_path("real/descriptor.log")));
    CHECK_INT(pread(fd, text, sizeof text, 0), (int)strlen("a line of root's\n"));
    close(fd);
}

int main(void)
{
    scratch_make();
    err = strdup(scratch_path("stderr"));
    scratch_catch_stderr(err);
    pid_file_is_no_trap();
    own_links_are_followed();
    folders_behind_own_links_are();
    if (getuid() == 0) { /* nobody else can make links of others */
        links_of_others_are_not();
        folders_behind_links_of_others_are_not();
    }
    free(err);
    return 0;
}
