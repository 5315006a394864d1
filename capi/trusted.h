/*
 * trusted.h - files by paths on whose way accounts with fewer rights may have put something.
 */
#ifndef TRUSTED_H
#define TRUSTED_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * As open(), mkdir() and unlink() do. But a process that acts with more rights than others (root's, or those of a set-user-ID
 * program) follows symbolic links, wherever they are in the path, only if root or its own account has made them: ELOOP. And of a
 * regular file it opens no further name in a folder of another account's, which could have made that name: EMLINK.
 */
int trusted_open(const char *path, int flags, mode_t mode);
int trusted_mkdir(const char *path, mode_t mode);
int trusted_unlink(const char *path);

/* Whether a descriptor is of this file; the program may have closed it, and use the number itself. */
bool trusted_is_file(int fd, dev_t device, ino_t inode);

#endif
