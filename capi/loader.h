/*
 * loader.h - the dynamic loader's lock.
 */
#ifndef MLN_LOADER_H
#define MLN_LOADER_H

#include <stddef.h>

/*
 * In a process made by fork: whether the loader can be used. If another thread of the parent was inside it at the moment of
 * the fork, its lock is never given back here, and a dlopen() would wait for ever. 0, or -1 with errno and a reason.
 */
int loader_check(char *reason, size_t size);

#endif
