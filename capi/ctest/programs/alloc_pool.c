/*
 * alloc_pool.c - pools give out blocks that do not overlap, keep to their capacity, nest, and give memory back.
 */
#include "check.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>

#include "mln_alloc.h"

#define UNLIMITED ((mln_size_t)-1)

static unsigned long long random_state = 88172645463325252ULL;

static size_t random_below(size_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % limit);
}

/* Sizes as programs have them: mostly small, a few large. */
static size_t random_size(void)
{
    switch (random_below(8)) {
    case 0:
        return random_below(100000);
    case 1:
        return random_below(20000);
    default:
        return random_below(700);
    }
}

static void both_eras_and_the_samples_between_can_make_a_pool(void)
{
    mln_alloc_t *seed = mln_alloc_init();
    mln_alloc_t *sample = mln_alloc_init(NULL);
    mln_alloc_t *today = mln_alloc_init(NULL, 0);
    mln_alloc_t *child = mln_alloc_init(today, 100);

    CHECK(seed != NULL && sample != NULL && today != NULL && child != NULL);
    CHECK(mln_alloc_available_capacity(seed) == UNLIMITED);
    CHECK(mln_alloc_available_capacity(sample) == UNLIMITED);
    CHECK(mln_alloc_available_capacity(today) == UNLIMITED);
    CHECK_INT(mln_alloc_available_capacity(child), 100);
    mln_alloc_destroy(seed);
    mln_alloc_destroy(sample);
    mln_alloc_destroy(child);
    mln_alloc_destroy(today);
}

static void blocks_are_aligned_and_as_large_as_asked(void)
{
    mln_alloc_t *pool = mln_alloc_init();
    size_t size;

    for (size = 0; size < 70000; size += size < 1200 ? 1 : 97) {
        char *a = (char *)mln_alloc_m(pool, size);
        char *b = (char *)mln_alloc_c(pool, size);

        CHECK(a != NULL && b != NULL && a != b);
        CHECK_INT((uintptr_t)a % 16, 0);
        CHECK_INT((uintptr_t)b % 16, 0);
        memset(a, 0xff, size);
        for (size_t i = 0; i < size; i++)
            CHECK_INT(b[i], 0);
        mln_alloc_free(a);
        if (size % 3 == 0)
            mln_alloc_free(b); /* the rest goes with the pool */
        else
            memset(b, 0xff, size);
    }
    mln_alloc_destroy(pool);
}

/* Every block holds its own number all over; nobody else writes there. */
struct block {
    unsigned char *bytes;
    size_t size;
    unsigned char filling;
};

static void check_block(const struct block *block)
{
    for (size_t i = 0; i < block->size; i++)
        CHECK_INT(block->bytes[i], block->filling);
}

static void blocks_do_not_overlap_whatever_the_order(mln_alloc_t *pool)
{
    enum { BLOCKS = 400, STEPS = 30000 };
    static struct block blocks[BLOCKS];

    memset(blocks, 0, sizeof blocks);
    for (int step = 0; step < STEPS; step++) {
        struct block *block = &blocks[random_below(BLOCKS)];
        size_t size = random_size();

        check_block(block);
        if (block->bytes != NULL && random_below(3) > 0) {
            mln_alloc_free(block->bytes);
            block->bytes = NULL;
            block->size = 0;
            continue;
        }
        unsigned char *bytes = (unsigned char *)mln_alloc_re(pool, block->bytes, size);
        CHECK(size == 0 || bytes != NULL);
        for (size_t i = 0; i < size && i < block->size; i++)
            CHECK_INT(bytes[i], block->filling);
        block->bytes = size == 0 && block->bytes != NULL ? NULL : bytes;
        block->size = size;
        block->filling = (unsigned char)step;
        if (size > 0)
            memset(bytes, block->filling, size);
    }
    for (int i = 0; i < BLOCKS; i++) {
        check_block(&blocks[i]);
        mln_alloc_free(blocks[i].bytes);
    }
}

static void a_block_is_resized_as_by_realloc(void)
{
    mln_alloc_t *pool = mln_alloc_init();
    mln_alloc_t *other = mln_alloc_init(NULL, 5000);
    char *block = (char *)mln_alloc_re(pool, NULL, 100);
    char *moved;

    CHECK(block != NULL);
    memset(block, 'x', 100);
    CHECK_PTR(mln_alloc_re(pool, block, 40), block);
    CHECK_PTR(mln_alloc_re(pool, block, 100), block);

    /* From one pool to the other, and only if the other has room. */
    moved = (char *)mln_alloc_re(other, block, 5001);
    CHECK_PTR(moved, NULL);
    CHECK_INT(errno, ENOMEM);
    CHECK_INT(block[39], 'x');
    moved = (char *)mln_alloc_re(other, block, 5000);
    CHECK(moved != NULL && moved != block);
    CHECK_INT(moved[39], 'x');
    CHECK_INT(mln_alloc_available_capacity(other), 0);
    mln_alloc_destroy(pool);
    CHECK_INT(moved[0], 'x');

    CHECK_PTR(mln_alloc_re(other, moved, 0), NULL);
    CHECK_INT(mln_alloc_available_capacity(other), 5000);
    mln_alloc_destroy(other);
}

static void capacity_is_kept_to_the_byte(void)
{
    mln_alloc_t *pool = mln_alloc_init(NULL, 50000);
    char *small, *large;

    CHECK_INT(mln_alloc_available_capacity(pool), 50000);
    CHECK_PTR(mln_alloc_m(pool, 50001), NULL);
    CHECK_INT(errno, ENOMEM);
    large = (char *)mln_alloc_m(pool, 49000);
    CHECK(large != NULL);
    CHECK_INT(mln_alloc_available_capacity(pool), 1000);
    CHECK_PTR(mln_alloc_m(pool, 1001), NULL);
    CHECK_PTR(mln_alloc_c(pool, 1001), NULL);
    small = (char *)mln_alloc_c(pool, 999);
    CHECK(small != NULL);
    CHECK_INT(mln_alloc_available_capacity(pool), 1);

    /* A block that cannot grow stays; one that grows counts once, wherever it goes. */
    small[998] = 'x';
    CHECK_PTR(mln_alloc_re(pool, small, 1001), NULL);
    CHECK_PTR(mln_alloc_re(pool, large, 49002), NULL);
    CHECK_INT(small[998], 'x');
    CHECK_INT(mln_alloc_available_capacity(pool), 1);
    small = (char *)mln_alloc_re(pool, small, 1000);
    CHECK(small != NULL);
    CHECK_INT(small[998], 'x');
    CHECK_INT(mln_alloc_available_capacity(pool), 0);
    small = (char *)mln_alloc_re(pool, small, 10);
    CHECK_INT(mln_alloc_available_capacity(pool), 990);
    mln_alloc_free(large);
    CHECK_INT(mln_alloc_available_capacity(pool), 49990);
    small = (char *)mln_alloc_re(pool, small, 50000);
    CHECK(small != NULL);
    CHECK_INT(mln_alloc_available_capacity(pool), 0);
    mln_alloc_free(small);
    CHECK_INT(mln_alloc_available_capacity(pool), 50000);
    mln_alloc_destroy(pool);
}

static void impossible_sizes_fail(void)
{
    static const mln_size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 64, SIZE_MAX / 2, SIZE_MAX / 2 + 1,
                                       SIZE_MAX / 2 - 100};
    mln_alloc_t *pool = mln_alloc_init();
    mln_alloc_t *child = mln_alloc_init(pool, 0);

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *small = (char *)mln_alloc_m(child, 10);
        char *large = (char *)mln_alloc_m(child, 100000);

        CHECK(small != NULL && large != NULL);
        small[9] = large[99999] = 'x';
        CHECK_PTR(mln_alloc_m(pool, sizes[i]), NULL);
        CHECK_INT(errno, ENOMEM);
        CHECK_PTR(mln_alloc_c(child, sizes[i]), NULL);
        CHECK_PTR(mln_alloc_re(child, small, sizes[i]), NULL);
        CHECK_PTR(mln_alloc_re(child, large, sizes[i]), NULL);
        CHECK_INT(errno, ENOMEM);
        CHECK_INT(small[9] == 'x' && large[99999] == 'x', 1);
        mln_alloc_free(small);
        mln_alloc_free(large);
    }
    mln_alloc_destroy(pool);
}

static void a_nested_pool_lives_in_its_parent(void)
{
    enum { CAPACITY = 32 << 20 };
    mln_alloc_t *parent = mln_alloc_init(NULL, CAPACITY);
    mln_alloc_t *child = mln_alloc_init(parent, 0);
    mln_alloc_t *grandchild = mln_alloc_init(child, 0);
    mln_size_t taken = 0;

    blocks_do_not_overlap_whatever_the_order(mln_alloc_init(grandchild, 0) /* ends with its ancestors */);
    mln_alloc_destroy(child);
    CHECK_INT(mln_alloc_available_capacity(parent), CAPACITY);

    /* What the child takes, the parent has less; and when the parent has no more, the child fails. */
    child = mln_alloc_init(parent, 0);
    while (mln_alloc_m(child, 100) != NULL)
        taken += 100;
    CHECK_INT(errno, ENOMEM);
    CHECK(taken > CAPACITY / 2 && taken < CAPACITY);
    CHECK(mln_alloc_available_capacity(parent) < 1000);
    CHECK_PTR(mln_alloc_m(child, 100000), NULL);
    CHECK_INT(errno, ENOMEM);
    mln_alloc_destroy(child);
    CHECK_INT(mln_alloc_available_capacity(parent), CAPACITY);

    /* A limit of its own comes first. */
    child = mln_alloc_init(parent, 1000);
    CHECK_PTR(mln_alloc_m(child, 1001), NULL);
    CHECK(mln_alloc_m(child, 1000) != NULL);
    mln_alloc_destroy(parent);

    parent = mln_alloc_init(NULL, 100);
    CHECK_PTR(mln_alloc_init(parent, 0), NULL);
    mln_alloc_destroy(parent);
}

/* A pool that outlives a wave of messages does not keep all their memory, but some for the next wave. */
static void freed_blocks_go_back_where_they_came_from(void)
{
    enum { WAVE = 20000 };
    static void *blocks[WAVE];
    mln_alloc_t *parent = mln_alloc_init(NULL, (mln_size_t)1 << 40);
    mln_alloc_t *child = mln_alloc_init(parent, 0);
    mln_size_t at_first = mln_alloc_available_capacity(parent);
    int order, i;

    for (order = 0; order < 2; order++) {
        for (i = 0; i < WAVE; i++)
            CHECK((blocks[i] = mln_alloc_m(child, 200)) != NULL);
        CHECK(at_first - mln_alloc_available_capacity(parent) > (mln_size_t)WAVE * 200);
        for (i = 0; i < WAVE; i++)
            mln_alloc_free(blocks[order == 0 ? i : WAVE - 1 - i]);
        CHECK(at_first - mln_alloc_available_capacity(parent) <= 300000);
    }
    mln_alloc_destroy(parent);
}

static void nothing_is_done_for_null(void)
{
    mln_alloc_destroy(NULL);
    mln_alloc_free(NULL);
    CHECK_PTR(mln_alloc_m(NULL, 1), NULL);
    CHECK_INT(errno, EINVAL);
    CHECK_PTR(mln_alloc_c(NULL, 1), NULL);
    CHECK_PTR(mln_alloc_re(NULL, NULL, 1), NULL);
    CHECK_INT(mln_alloc_available_capacity(NULL), 0);
}

int main(void)
{
    mln_alloc_t *pool = mln_alloc_init();

    both_eras_and_the_samples_between_can_make_a_pool();
    blocks_are_aligned_and_as_large_as_asked();
    blocks_do_not_overlap_whatever_the_order(pool);
    mln_alloc_destroy(pool);
    a_block_is_resized_as_by_realloc();
    capacity_is_kept_to_the_byte();
    impossible_sizes_fail();
    a_nested_pool_lives_in_its_parent();
    freed_blocks_go_back_where_they_came_from();
    nothing_is_done_for_null();
    return 0;
}
