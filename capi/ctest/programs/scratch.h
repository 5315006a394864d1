/*
 * scratch.h - a temporary folder for a test program, files in it, and a configuration. Include check.h first.
 */
#ifndef SCRATCH_H
#define SCRATCH_H

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "mln_conf.h"
#include "mln_path.h"

static char scratch_dir[512];
static pid_t scratch_owner;
static char scratch_conf_path[600];

static inline int scratch_remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void scratch_remove(void)
{
    if (getpid() == scratch_owner)
        nftw(scratch_dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Creates the folder; it is removed, with all that is in it, when this process ends by exit(). */
static inline void scratch_make(void)
{
    const char *parent = getenv("TMPDIR");

    if (parent == NULL)
        parent = "/tmp";
    CHECK(snprintf(scratch_dir, sizeof scratch_dir, "%s/mln-XXXXXX", parent) < (int)sizeof scratch_dir);
    CHECK(mkdtemp(scratch_dir) != NULL);
    CHECK(chmod(scratch_dir, 0755) == 0);
    scratch_owner = getpid();
    atexit(scratch_remove);
}

/* A path in the folder; valid until the eighth call after this one. */
static inline char *scratch_path(const char *name)
{
    static char paths[8][2048];
    static unsigned next;
    char *path = paths[next++ % 8];

    CHECK(snprintf(path, sizeof paths[0], "%s/%s", scratch_dir, name) < (int)sizeof paths[0]);
    return path;
}

static inline void scratch_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK(fclose(file) == 0);
}

/* The whole file, terminated; "" when there is none. The caller frees it. */
static inline char *scratch_read(const char *path)
{
    size_t size = 0, length = 0, n;
    char *text = NULL;
    FILE *file = fopen(path, "r");

    do {
        size += 65536;
        text = (char *)realloc(text, size);
        CHECK(text != NULL);
        n = file == NULL ? 0 : fread(text + length, 1, size - length - 1, file);
        length += n;
    } while (n > 0);
    text[length] = '\0';
    if (file != NULL)
        fclose(file);
    return text;
}

/* The file holds exactly this text. */
static inline void scratch_expect(const char *path, const char *expected)
{
    char *text = scratch_read(path);

    CHECK_STR(text, expected);
    free(text);
}

/* The file holds this text somewhere. */
static inline void scratch_expect_part(const char *path, const char *part)
{
    char *text = scratch_read(path);

    if (strstr(text, part) == NULL)
        fprintf(stderr, "%s holds \"%s\"; expected \"%s\" in it\n", path, text, part);
    CHECK(strstr(text, part) != NULL);
    free(text);
}

/* How often the file holds this text. */
static inline int scratch_count(const char *path, const char *part)
{
    char *text = scratch_read(path);
    int n = 0;

    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
        ++n;
    free(text);
    return n;
}

static inline char *scratch_conf_file(void)
{
    return scratch_conf_path;
}

/* Makes `text` the configuration in force; reload hooks run. The result is theirs. */
static inline int scratch_conf(const char *text)
{
    snprintf(scratch_conf_path, sizeof scratch_conf_path, "%s/melon.conf", scratch_dir);
    scratch_write(scratch_conf_path, text);
    mln_path_hook_set(m_p_conf, scratch_conf_file);
    return mln_conf_reload();
}

/*
 * Sends descriptor 2, to which the log writes, into a file from now on. The stream stderr, on which failed checks are
 * reported, keeps its place.
 */
static inline void scratch_catch_stderr(const char *path)
{
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 50);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);

    CHECK(saved >= 0 && fd >= 0);
    CHECK(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
    close(fd);
    stderr = fdopen(saved, "w");
    CHECK(stderr != NULL && setvbuf(stderr, NULL, _IONBF, 0) == 0);
}

#endif
