/*
 * alloc.c - pools (mln_alloc.h).
 *
 * Blocks of up to SMALL_MAX bytes come from slabs. A slab is one piece of memory cut into blocks of one size class, with a free
 * list of its own, so that both taking and giving back is a handful of instructions, and a slab all of whose blocks came
 * back can be released. Larger blocks are single pieces of memory. Pieces come from the heap, or from the parent.
 *
 * Every block is preceded by a header of 16 bytes, from which it is given back without knowing the pool:
 *
 *     slab:   | struct slab | header | block | header | block | ...
 *     large:  | struct large | header | block
 */
#include "mln_alloc.h"

#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* With AddressSanitizer, blocks that nobody has are poisoned: a pool must not hide from it what malloc would show. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(ptr, size) __asan_poison_memory_region((ptr), (size))
#define UNPOISON(ptr, size) __asan_unpoison_memory_region((ptr), (size))
#else
#define POISON(ptr, size) ((void)(ptr), (void)(size))
#define UNPOISON(ptr, size) ((void)(ptr), (void)(size))
#endif

/*
 * Size classes: every 16 bytes up to 512, then four to each power of two, so that at most a fifth of those is unused.
 */
enum {
    GRAIN = 16,
    FINE_SHIFT = 9,
    FINE_MAX = 1 << FINE_SHIFT,
    FINE_CLASSES = FINE_MAX / GRAIN,
    SMALL_SHIFT = 14,
    SMALL_MAX = 1 << SMALL_SHIFT,
    CLASSES = FINE_CLASSES + 4 * (SMALL_SHIFT - FINE_SHIFT),
    /* The slabs of a class double in size, so that small pools stay small and large ones seldom ask for memory. */
    SLAB_FIRST = 1024,
    SLAB_MAX = 64 * 1024 - 64,
    /* How many bytes of empty slabs a pool keeps for the next wave of blocks: asking the kernel anew for every page costs a
       hundred times more than a block. */
    EMPTY_MAX = 256 * 1024
};

/* No single block may be larger: the room that its own administration needs must never make a sum wrap around. */
#define SIZE_LIMIT ((size_t)PTRDIFF_MAX - 4096)

struct header {
    union {
        struct slab *slab;   /* a small block that somebody has */
        struct header *next; /* one that nobody has: the next such of its slab */
        struct large *large; /* a large block */
    } owner;
    size_t size; /* what was asked for, times 2, plus 1 for a large block */
};

struct slab {
    struct slab *next, *prev; /* slabs of the class that have free blocks */
    struct slab *all_next, *all_prev;
    mln_alloc_t *pool;
    struct header *free; /* blocks that were given back */
    char *fresh, *end;   /* blocks that were never taken begin at fresh */
    uint32_t size_class;
    uint32_t used;
    size_t stride; /* header and block */
};

struct large {
    struct large *next, *prev;
    mln_alloc_t *pool;
    size_t room; /* how large the block can be */
};

struct size_class {
    struct slab *usable; /* slabs that have free blocks */
    size_t slab_size;    /* for the next slab; 0: SLAB_FIRST */
};

struct mln_alloc_s {
    mln_alloc_t *parent;
    size_t capacity; /* SIZE_MAX: no limit */
    size_t used;     /* sum of what was asked for */
    size_t empty;    /* bytes of slabs none of whose blocks is taken */
    struct slab *slabs;
    struct large *larges;
    struct size_class classes[CLASSES];
};

_Static_assert(sizeof(struct header) == 16, "headers keep the alignment of blocks");
_Static_assert(sizeof(struct slab) % 16 == 0 && sizeof(struct large) % 16 == 0, "so do what precedes them");
_Static_assert(alignof(max_align_t) <= 16, "16 bytes suit any type");

/* Memory of a pool: from the heap, or from its parent. */

static void *memory_take(mln_alloc_t *parent, size_t size)
{
    return parent != NULL ? mln_alloc_m(parent, size) : malloc(size);
}

static void *memory_resize(mln_alloc_t *parent, void *ptr, size_t size)
{
    return parent != NULL ? mln_alloc_re(parent, ptr, size) : realloc(ptr, size);
}

static void memory_give(mln_alloc_t *parent, void *ptr)
{
    if (parent != NULL)
        mln_alloc_free(ptr);
    else
        free(ptr);
}

static unsigned class_of(size_t size)
{
    if (size <= FINE_MAX)
        return size == 0 ? 0 : (unsigned)((size - 1) / GRAIN);
    unsigned power = 63 - (unsigned)__builtin_clzl(size - 1); /* 2^power <= size - 1 */
    return FINE_CLASSES + 4 * (power - FINE_SHIFT) + (unsigned)((size - 1) >> (power - 2)) - 4;
}

static size_t class_room(unsigned size_class)
{
    if (size_class < FINE_CLASSES)
        return (size_class + 1) * (size_t)GRAIN;
    unsigned step = size_class - FINE_CLASSES;
    return (size_t)(step % 4 + 5) << (step / 4 + FINE_SHIFT - 2);
}

/* Slabs. */

static void slab_make_usable(struct size_class *sc, struct slab *slab)
{
    slab->prev = NULL;
    slab->next = sc->usable;
    if (sc->usable != NULL)
        sc->usable->prev = slab;
    sc->usable = slab;
}

static void slab_make_unusable(struct size_class *sc, struct slab *slab)
{
    if (slab->prev != NULL)
        slab->prev->next = slab->next;
    else
        sc->usable = slab->next;
    if (slab->next != NULL)
        slab->next->prev = slab->prev;
}

static bool slab_is_full(const struct slab *slab)
{
    return slab->free == NULL && slab->fresh == slab->end;
}

static size_t slab_bytes(const struct slab *slab)
{
    return (size_t)(slab->end - (const char *)slab);
}

static struct slab *slab_new(mln_alloc_t *pool, unsigned size_class)
{
    struct size_class *sc = &pool->classes[size_class];
    size_t stride = sizeof(struct header) + class_room(size_class);
    size_t wanted = sc->slab_size != 0 ? sc->slab_size : SLAB_FIRST;
    size_t blocks = wanted > sizeof(struct slab) + stride ? (wanted - sizeof(struct slab)) / stride : 1;
    struct slab *slab;

    /* A parent close to its capacity may still have room for a few. */
    while ((slab = memory_take(pool->parent, sizeof *slab + blocks * stride)) == NULL && blocks > 1)
        blocks /= 2;
    if (slab == NULL)
        return NULL;

    sc->slab_size = wanted < SLAB_MAX / 2 ? wanted * 2 : SLAB_MAX;
    slab->pool = pool;
    slab->free = NULL;
    slab->fresh = (char *)(slab + 1);
    slab->end = slab->fresh + blocks * stride;
    slab->size_class = size_class;
    slab->used = 0;
    slab->stride = stride;
    POISON(slab->fresh, blocks * stride);

    slab->all_prev = NULL;
    slab->all_next = pool->slabs;
    if (pool->slabs != NULL)
        pool->slabs->all_prev = slab;
    pool->slabs = slab;
    slab_make_usable(sc, slab);
    pool->empty += slab_bytes(slab);
    return slab;
}

/* The parent's memory, or that of malloc, has to be returned as it was taken: accessible. */
static void slab_release(struct slab *slab)
{
    UNPOISON(slab, slab_bytes(slab));
    memory_give(slab->pool->parent, slab);
}

static void slab_free(struct slab *slab)
{
    mln_alloc_t *pool = slab->pool;

    slab_make_unusable(&pool->classes[slab->size_class], slab);
    if (slab->all_prev != NULL)
        slab->all_prev->all_next = slab->all_next;
    else
        pool->slabs = slab->all_next;
    if (slab->all_next != NULL)
        slab->all_next->all_prev = slab->all_prev;
    slab_release(slab);
}

static void *small_take(mln_alloc_t *pool, size_t size)
{
    unsigned size_class = class_of(size);
    struct size_class *sc = &pool->classes[size_class];
    struct slab *slab = sc->usable;
    struct header *block;

    if (slab == NULL && (slab = slab_new(pool, size_class)) == NULL)
        return NULL;
    if (slab->used++ == 0)
        pool->empty -= slab_bytes(slab);
    if (slab->free != NULL) {
        block = slab->free;
        UNPOISON(block, sizeof *block);
        slab->free = block->owner.next;
    } else {
        block = (struct header *)slab->fresh;
        UNPOISON(block, sizeof *block);
        slab->fresh += slab->stride;
    }
    if (slab_is_full(slab))
        slab_make_unusable(sc, slab);
    block->owner.slab = slab;
    block->size = size << 1;
    UNPOISON(block + 1, size);
    return block + 1;
}

static void small_give(struct header *block)
{
    struct slab *slab = block->owner.slab;
    struct size_class *sc = &slab->pool->classes[slab->size_class];

    if (slab_is_full(slab))
        slab_make_usable(sc, slab);
    block->owner.next = slab->free;
    slab->free = block;
    POISON(block, slab->stride);
    if (--slab->used > 0)
        return;
    if (slab_bytes(slab) > EMPTY_MAX - slab->pool->empty)
        slab_free(slab);
    else
        slab->pool->empty += slab_bytes(slab);
}

/* Large blocks. */

static void large_link(mln_alloc_t *pool, struct large *large)
{
    large->prev = NULL;
    large->next = pool->larges;
    if (pool->larges != NULL)
        pool->larges->prev = large;
    pool->larges = large;
}

static void large_unlink(struct large *large)
{
    if (large->prev != NULL)
        large->prev->next = large->next;
    else
        large->pool->larges = large->next;
    if (large->next != NULL)
        large->next->prev = large->prev;
}

static struct header *large_header(struct large *large)
{
    return (struct header *)(large + 1);
}

static void *large_take(mln_alloc_t *pool, size_t size)
{
    struct large *large = memory_take(pool->parent, sizeof *large + sizeof(struct header) + size);

    if (large == NULL)
        return NULL;
    large->pool = pool;
    large->room = size;
    large_link(pool, large);
    large_header(large)->owner.large = large;
    large_header(large)->size = size << 1 | 1;
    return large_header(large) + 1;
}

static void large_release(struct large *large)
{
    /* It may be the slab of a pool that ends with this one. */
    UNPOISON(large, sizeof *large + sizeof(struct header) + large->room);
    memory_give(large->pool->parent, large);
}

static void large_give(struct large *large)
{
    large_unlink(large);
    large_release(large);
}

/* Grows a block; the kernel may move one of the heap without a copy. */
static void *large_grow(struct large *large, size_t size)
{
    mln_alloc_t *pool = large->pool;
    struct large *grown;

    large_unlink(large);
    grown = memory_resize(pool->parent, large, sizeof *large + sizeof(struct header) + size);
    if (grown == NULL) {
        large_link(pool, large);
        return NULL;
    }
    grown->room = size;
    large_link(pool, grown);
    large_header(grown)->owner.large = grown;
    return large_header(grown) + 1;
}

/* Blocks of either kind. */

static struct header *header_of(void *ptr)
{
    return (struct header *)ptr - 1;
}

static bool is_large(const struct header *block)
{
    return block->size & 1;
}

static mln_alloc_t *pool_of(const struct header *block)
{
    return is_large(block) ? block->owner.large->pool : block->owner.slab->pool;
}

static size_t room_of(const struct header *block)
{
    return is_large(block) ? block->owner.large->room : block->owner.slab->stride - sizeof *block;
}

static bool fits_capacity(const mln_alloc_t *pool, size_t more)
{
    return more <= SIZE_LIMIT && more <= pool->capacity - pool->used;
}

mln_alloc_t *mln_alloc_new(mln_alloc_t *parent, mln_size_t capacity)
{
    mln_alloc_t *pool = memory_take(parent, sizeof *pool);

    if (pool == NULL)
        return NULL;
    memset(pool, 0, sizeof *pool);
    pool->parent = parent;
    pool->capacity = capacity != 0 ? capacity : SIZE_MAX;
    return pool;
}

void mln_alloc_destroy(mln_alloc_t *pool)
{
    if (pool == NULL)
        return;
    for (struct slab *slab = pool->slabs, *next; slab != NULL; slab = next) {
        next = slab->all_next;
        slab_release(slab);
    }
    for (struct large *large = pool->larges, *next; large != NULL; large = next) {
        next = large->next;
        large_release(large);
    }
    memory_give(pool->parent, pool);
}

void *mln_alloc_m(mln_alloc_t *pool, mln_size_t size)
{
    void *ptr;

    if (pool == NULL) {
        errno = EINVAL;
        return NULL;
    }
    if (!fits_capacity(pool, size)) {
        errno = ENOMEM;
        return NULL;
    }
    ptr = size <= SMALL_MAX ? small_take(pool, size) : large_take(pool, size);
    if (ptr != NULL)
        pool->used += size;
    return ptr;
}

void *mln_alloc_c(mln_alloc_t *pool, mln_size_t size)
{
    void *ptr = mln_alloc_m(pool, size);

    if (ptr != NULL)
        memset(ptr, 0, size);
    return ptr;
}

void *mln_alloc_re(mln_alloc_t *pool, void *ptr, mln_size_t size)
{
    struct header *block;
    mln_alloc_t *owner;
    size_t old_size;
    bool stays;
    void *result;

    if (ptr == NULL)
        return mln_alloc_m(pool, size);
    if (size == 0) {
        mln_alloc_free(ptr);
        return NULL;
    }
    block = header_of(ptr);
    owner = pool_of(block);
    old_size = block->size >> 1;
    stays = size <= room_of(block) || (is_large(block) && owner == pool);

    /* Old and new block are one block to the capacity, wherever the new one is. */
    owner->used -= old_size;
    if (!stays) {
        result = mln_alloc_m(pool, size);
    } else if (!fits_capacity(owner, size)) {
        errno = ENOMEM;
        result = NULL;
    } else {
        result = size <= room_of(block) ? ptr : large_grow(block->owner.large, size);
    }
    if (result == NULL || !stays)
        owner->used += old_size;
    if (result == NULL)
        return NULL;

    if (!stays) {
        memcpy(result, ptr, old_size);
        mln_alloc_free(ptr);
        return result;
    }
    block = header_of(result);
    block->size = size << 1 | is_large(block);
    owner->used += size;
    if (!is_large(block)) {
        POISON(result, room_of(block));
        UNPOISON(result, size);
    }
    return result;
}

void mln_alloc_free(void *ptr)
{
    struct header *block;

    if (ptr == NULL)
        return;
    block = header_of(ptr);
    pool_of(block)->used -= block->size >> 1;
    if (is_large(block))
        large_give(block->owner.large);
    else
        small_give(block);
}

mln_size_t mln_alloc_available_capacity(mln_alloc_t *pool)
{
    if (pool == NULL)
        return 0;
    return pool->capacity == SIZE_MAX ? SIZE_MAX : pool->capacity - pool->used;
}
