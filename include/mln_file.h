/**
 * @file mln_file.h
 * Open files that buffers refer to: temporary ones, and sets that keep files open for the next user.
 *
 * Sets and files have no lock; they belong to one thread at a time, in any process.
 */
#ifndef __MLN_FILE_H
#define __MLN_FILE_H

#include <sys/types.h>
#include <time.h>

#include "mln_types.h"
#include "mln_string.h"
#include "mln_alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A set of files. Its contents are private. */
typedef struct mln_fileset_s mln_fileset_t;

/** An open file. Programs read it and change nothing. */
typedef struct mln_file_s {
    struct mln_file_s *prev;  /**< The library's. */
    struct mln_file_s *next;  /**< The library's. */
    int fd;                   /**< The descriptor, close-on-exec; closed by mln_file_close(). */
    mln_u32_t is_tmp:1;       /**< A temporary file. */
    mln_string_t *file_path;  /**< The path by which it was opened; NULL for a temporary file. */
    mln_fileset_t *fset;      /**< The set; NULL for a temporary file, and for one that outlived its set. */
    mln_size_t refer_cnt;     /**< How many users it has. */
    size_t size;              /**< Size in bytes by mln_file_open(); 0 for a temporary file. */
    time_t mtime;             /**< Last change of its contents, by mln_file_open(); 0 for a temporary file. */
    time_t ctime;             /**< Last change of its inode. */
    time_t atime;             /**< Last access. */
} mln_file_t;

/** The descriptor of a file. Both eras. */
#define mln_file_fd(pfile) ((pfile)->fd)

/**
 * Makes a set of files. Both eras.
 *
 * @param max_file how many files the set keeps open. Beyond that, files that nobody uses are closed, the longest unused first.
 * @return the set, for mln_fileset_destroy(); NULL with errno ENOMEM.
 */
mln_fileset_t *mln_fileset_init(mln_size_t max_file);

/**
 * Frees a set and closes its files. A file that is in use stays open until its last user closes it. Both eras.
 *
 * @param fs the set; NULL is allowed.
 */
void mln_fileset_destroy(mln_fileset_t *fs);

/**
 * Opens a file for reading, or gives the one that the set has open, unless the path leads to another file by now. Both eras.
 *
 * @param fs       the set.
 * @param filepath the path.
 * @return the file, for mln_file_close(); NULL with errno of open() or fstat(), EISDIR for a folder, ENOMEM, or
 *         EINVAL when an argument is NULL.
 */
mln_file_t *mln_file_open(mln_fileset_t *fs, const char *filepath);

/**
 * Ends one use of a file. A temporary one is closed, and is gone then; one of a set stays open as the set sees fit. Both eras.
 *
 * @param pfile the file; NULL is allowed.
 */
void mln_file_close(mln_file_t *pfile);

/**
 * Opens a temporary file for reading and writing: without a name, for this user only, in the folder mln_path_tmpfile() or,
 * if it cannot be used, in that of the environment variable TMPDIR or in /tmp. Today's name.
 *
 * @param pool where its structure is taken from. The pool does not close the file: mln_file_close() must be called, or
 *             the buffer released that owns it.
 * @return the file; NULL with errno of open(), or ENOMEM.
 */
mln_file_t *mln_file_tmp_open(mln_alloc_t *pool);

/** The seed era's name of mln_file_tmp_open(). */
mln_file_t *mln_file_open_tmp(mln_alloc_t *pool);

#ifdef __cplusplus
}
#endif

#endif
