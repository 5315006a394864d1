/*
 * file.c - temporary files, and sets of open files (mln_file.h).
 */
#include "mln_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mln_path.h"

/* ---- temporary files ---- */

/* Opens a file without a name. */
static int open_nameless(const char *folder)
{
    char *path;
    int fd = open(folder, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

    /* EISDIR is how kernels and file systems that do not know O_TMPFILE understand the rest of the flags. */
    if (fd != -1 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    if (asprintf(&path, "%s/mln.XXXXXX", folder) == -1) {
        errno = ENOMEM;
        return -1;
    }
    if ((fd = mkostemp(path, O_CLOEXEC)) != -1)
        (void)unlink(path);
    free(path);
    return fd;
}

/* Whether another folder may do where this one did not. */
static bool folder_is_unusable(void)
{
    return errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == EPERM || errno == EROFS;
}

static int open_temporary(void)
{
    const char *folders[] = {mln_path_tmpfile(), secure_getenv("TMPDIR"), "/tmp"};
    int fd = -1;

    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        if (folders[i] == NULL || folders[i][0] == '\0')
            continue;
        if ((fd = open_nameless(folders[i])) != -1 || !folder_is_unusable())
            break;
    }
    return fd;
}

mln_file_t *mln_file_tmp_open(mln_alloc_t *pool)
{
    mln_file_t *file = mln_alloc_c(pool, sizeof *file);

    if (file == NULL)
        return NULL;
    if ((file->fd = open_temporary()) == -1) {
        int saved_errno = errno;
        mln_alloc_free(file);
        errno = saved_errno;
        return NULL;
    }
    file->is_tmp = 1;
    file->refer_cnt = 1;
    return file;
}

mln_file_t *mln_file_open_tmp(mln_alloc_t *pool)
{
    return mln_file_tmp_open(pool);
}

/* ---- sets ---- */

enum { BUCKETS_MIN = 16, BUCKETS_MAX = 4096 };

/* A file of a set. */
struct entry {
    mln_file_t file; /* first, so that one is found from the other */
    struct entry *next_in_bucket;
    dev_t dev;
    ino_t ino;
};

struct mln_fileset_s {
    mln_size_t max_file;
    mln_size_t count;              /* files in the set */
    mln_file_t *oldest, *youngest; /* those that nobody uses */
    size_t buckets;                /* a power of two */
    struct entry *bucket[];
};

MLN_CHAIN_FUNC_DEFINE(static inline, unused, mln_file_t, prev, next)

static struct entry **bucket_of(mln_fileset_t *fs, const char *path)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *path != '\0'; path++)
        hash = (hash ^ (unsigned char)*path) * 16777619u;
    return &fs->bucket[hash & (fs->buckets - 1)];
}

/* The place that points to the file of a path, or where it would be appended. */
static struct entry **find(mln_fileset_t *fs, const char *path)
{
    struct entry **place = bucket_of(fs, path);

    while (*place != NULL && strcmp((char *)(*place)->file.file_path->data, path) != 0)
        place = &(*place)->next_in_bucket;
    return place;
}

static void entry_free(struct entry *entry)
{
    int saved_errno = errno;

    if (entry->file.fd != -1)
        (void)close(entry->file.fd);
    mln_string_free(entry->file.file_path);
    free(entry);
    errno = saved_errno;
}

/* Takes a file out of its set. It is closed now if nobody uses it, else by its last user. */
static void detach(mln_fileset_t *fs, struct entry *entry)
{
    *find(fs, (char *)entry->file.file_path->data) = entry->next_in_bucket;
    fs->count--;
    entry->file.fset = NULL;
    if (entry->file.refer_cnt > 0)
        return;
    unused_chain_del(&fs->oldest, &fs->youngest, &entry->file);
    entry_free(entry);
}

static void keep_to_limit(mln_fileset_t *fs)
{
    while (fs->count > fs->max_file && fs->oldest != NULL)
        detach(fs, (struct entry *)fs->oldest);
}

static void set_status(struct entry *entry, const struct stat *status)
{
    entry->dev = status->st_dev;
    entry->ino = status->st_ino;
    entry->file.size = (size_t)status->st_size;
    entry->file.mtime = status->st_mtime;
    entry->file.ctime = status->st_ctime;
    entry->file.atime = status->st_atime;
}

static struct entry *entry_open(const char *path)
{
    struct entry *entry = calloc(1, sizeof *entry);
    struct stat status;

    if (entry == NULL)
        return NULL;
    entry->file.fd = -1;
    /* O_NONBLOCK: a path that leads to a FIFO must not make the program wait for a writer. */
    if ((entry->file.file_path = mln_string_new(path)) == NULL ||
        (entry->file.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)) == -1 ||
        fstat(entry->file.fd, &status) == -1) {
        entry_free(entry);
        return NULL;
    }
    if (S_ISDIR(status.st_mode)) {
        entry_free(entry);
        errno = EISDIR;
        return NULL;
    }
    set_status(entry, &status);
    return entry;
}

mln_fileset_t *mln_fileset_init(mln_size_t max_file)
{
    size_t buckets = BUCKETS_MIN;
    mln_fileset_t *fs;

    while (buckets < max_file && buckets < BUCKETS_MAX)
        buckets *= 2;
    fs = calloc(1, sizeof *fs + buckets * sizeof fs->bucket[0]);
    if (fs == NULL)
        return NULL;
    fs->max_file = max_file;
    fs->buckets = buckets;
    return fs;
}

void mln_fileset_destroy(mln_fileset_t *fs)
{
    if (fs == NULL)
        return;
    for (size_t i = 0; i < fs->buckets; i++) {
        while (fs->bucket[i] != NULL)
            detach(fs, fs->bucket[i]);
    }
    free(fs);
}

mln_file_t *mln_file_open(mln_fileset_t *fs, const char *filepath)
{
    struct entry *entry;
    struct stat status;

    if (fs == NULL || filepath == NULL) {
        errno = EINVAL;
        return NULL;
    }
    entry = *find(fs, filepath);
    if (entry != NULL && (stat(filepath, &status) == -1 || status.st_dev != entry->dev || status.st_ino != entry->ino)) {
        detach(fs, entry);
        entry = NULL;
    }
    if (entry != NULL) {
        set_status(entry, &status);
        if (entry->file.refer_cnt == 0)
            unused_chain_del(&fs->oldest, &fs->youngest, &entry->file);
    } else {
        if ((entry = entry_open(filepath)) == NULL)
            return NULL;
        entry->file.fset = fs;
        *find(fs, filepath) = entry;
        fs->count++;
    }
    entry->file.refer_cnt++;
    keep_to_limit(fs);
    return &entry->file;
}

void mln_file_close(mln_file_t *pfile)
{
    if (pfile == NULL)
        return;
    if (pfile->is_tmp) {
        (void)close(pfile->fd);
        mln_alloc_free(pfile);
        return;
    }
    if (pfile->refer_cnt == 0 || --pfile->refer_cnt > 0)
        return;
    if (pfile->fset == NULL) {
        entry_free((struct entry *)pfile);
        return;
    }
    unused_chain_add(&pfile->fset->oldest, &pfile->fset->youngest, pfile);
    keep_to_limit(pfile->fset);
}
