/**
 * @file mln_alloc.h
 * Pools: memory that is taken and given back block by block in constant time, and released all at once.
 *
 * A pool has no lock. It belongs to one thread at a time, in any process; after a fork parent and child each have a copy.
 */
#ifndef __MLN_ALLOC_H
#define __MLN_ALLOC_H

#include <stdlib.h>
#include <string.h>

#include "mln_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A pool. Its contents are private. */
typedef struct mln_alloc_s mln_alloc_t;

/**
 * Makes a pool. Programs of both eras call it through mln_alloc_init().
 *
 * @param parent   the pool to take memory from; NULL: the heap. The new pool ends with its parent at the latest and must
 *                 not be used afterwards.
 * @param capacity how many bytes the blocks of the pool may have together; 0: no limit. What the library needs for its own
 *                 bookkeeping does not count, save that it counts in a parent.
 * @return the pool, or NULL with errno ENOMEM.
 */
mln_alloc_t *mln_alloc_new(mln_alloc_t *parent, mln_size_t capacity);

#ifdef __cplusplus
}
/** Makes a pool, as mln_alloc_new(). Today's form. */
static inline mln_alloc_t *mln_alloc_init(mln_alloc_t *parent, mln_size_t capacity)
{
    return mln_alloc_new(parent, capacity);
}
/** Makes a pool without a capacity, as mln_alloc_new(). */
static inline mln_alloc_t *mln_alloc_init(mln_alloc_t *parent)
{
    return mln_alloc_new(parent, 0);
}
/** Makes a pool from the heap, as mln_alloc_new(). The seed era's form. */
static inline mln_alloc_t *mln_alloc_init(void)
{
    return mln_alloc_new(NULL, 0);
}
extern "C" {
#else
/** The arguments of mln_alloc_init(). Missing ones are zero. */
struct mln_alloc_arguments {
    int unused; /**< Something for the macro to begin with, since the rest of its list may be empty. */
    mln_alloc_t *parent;
    mln_size_t capacity;
};

/** What mln_alloc_init() uses. */
static inline mln_alloc_t *mln_alloc_new_with(struct mln_alloc_arguments arguments)
{
    return mln_alloc_new(arguments.parent, arguments.capacity);
}

/** Makes a pool, as mln_alloc_new(): without arguments as in the seed era, or with one or two as in today's. */
#define mln_alloc_init(...) mln_alloc_new_with((struct mln_alloc_arguments){.unused = 0, __VA_ARGS__})
#endif

/**
 * Releases a pool with everything in it, pools that have it as parent included. Both eras.
 *
 * @param pool the pool; NULL is allowed.
 */
void mln_alloc_destroy(mln_alloc_t *pool);

/**
 * Takes a block, as malloc() does. Both eras.
 *
 * @param pool the pool.
 * @param size bytes; 0 gives a block that must not be written to.
 * @return the block, aligned for any type, its bytes undefined; to be given back with mln_alloc_free(), or released with the
 *         pool. NULL with errno ENOMEM when memory or capacity is short, EINVAL when pool is NULL.
 */
void *mln_alloc_m(mln_alloc_t *pool, mln_size_t size);

/** Takes a block whose bytes are all zero; otherwise as mln_alloc_m(). Both eras. */
void *mln_alloc_c(mln_alloc_t *pool, mln_size_t size);

/**
 * Changes the size of a block, as realloc() does. Both eras.
 *
 * @param pool the pool that a block at a new place is taken from.
 * @param ptr  a block of any pool; NULL: a new one is taken.
 * @param size the new size in bytes; 0 gives the block back.
 * @return the block, at the same place whenever it has room for size bytes; else moved with its contents. NULL if size is
 *         0; NULL with errno ENOMEM when memory or capacity is short, and then the old block stays as it was.
 */
void *mln_alloc_re(mln_alloc_t *pool, void *ptr, mln_size_t size);

/**
 * Gives a block back to the pool that it came from. Both eras.
 *
 * @param ptr exactly what mln_alloc_m(), mln_alloc_c() or mln_alloc_re() returned; NULL is allowed.
 */
void mln_alloc_free(void *ptr);

/**
 * Tells how many bytes can still be taken before the limit of the pool is reached; a parent may have less. Today's era.
 *
 * @param pool the pool.
 * @return bytes; the highest mln_size_t when the pool has no limit; 0 when pool is NULL.
 */
mln_size_t mln_alloc_available_capacity(mln_alloc_t *pool);

#ifdef __cplusplus
}
#endif

#endif
