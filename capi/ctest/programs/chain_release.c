/*
 * chain_release.c - releasing buffers and chains releases what they own, once, and nothing else.
 */
#include "check.h"

#include <sys/mman.h>

#include "mln_chain.h"

#define CAPACITY ((mln_size_t)100000)

static mln_alloc_t *pool;

static mln_buf_t *memory_buf(mln_size_t size)
{
    mln_buf_t *b = mln_buf_new(pool);

    CHECK(b != NULL);
    b->start = b->pos = b->left_pos = (mln_u8ptr_t)mln_alloc_m(pool, size);
    CHECK(b->start != NULL);
    b->end = b->last = b->start + size;
    b->in_memory = 1;
    return b;
}

static void check_nothing_left(void)
{
    CHECK_INT(mln_alloc_available_capacity(pool), CAPACITY);
}

static void new_ones_are_zero(void)
{
    mln_buf_t zero_buf;
    mln_chain_t *node = mln_chain_new(pool), *full = mln_chain_new_with_buf(pool);
    mln_buf_t *b = mln_buf_new(pool);

    memset(&zero_buf, 0, sizeof zero_buf);
    CHECK(node->buf == NULL && node->next == NULL);
    CHECK(full->buf != NULL && full->next == NULL);
    CHECK_INT(memcmp(b, &zero_buf, sizeof zero_buf), 0);
    CHECK_INT(memcmp(full->buf, &zero_buf, sizeof zero_buf), 0);
    mln_chain_pool_release(node);
    mln_chain_pool_release(full);
    mln_buf_pool_release(b);
    check_nothing_left();
}

static void exhausted_pools_give_null(void)
{
    mln_alloc_t *small = mln_alloc_init(NULL, 20);

    CHECK_PTR(mln_buf_new(small), NULL);
    CHECK_PTR(mln_chain_new_with_buf(small), NULL);
    CHECK_INT(mln_alloc_available_capacity(small), 20);
    CHECK(mln_chain_new(small) != NULL);
    CHECK_PTR(mln_chain_new(small), NULL);
    mln_alloc_destroy(small);
}

static void sizes_are_those_of_memory_or_file(void)
{
    static mln_u8_t block[100];
    mln_buf_t b;

    memset(&b, 0, sizeof b);
    CHECK_INT(mln_buf_size(&b), 0);
    b.start = b.pos = block;
    b.left_pos = block + 30;
    b.last = block + 90;
    b.in_memory = 1;
    CHECK_INT(mln_buf_size(&b), 90);
    CHECK_INT(mln_buf_left_size(&b), 60);
    b.in_file = 1;
    b.file_pos = 1000;
    b.file_left_pos = 1500;
    b.file_last = 9000000000LL;
    CHECK_INT(mln_buf_size(&b), 8999999000LL);
    CHECK_INT(mln_buf_left_size(&b), 8999998500LL);
    CHECK_INT(mln_buf_size(NULL), 0);
    CHECK_INT(mln_buf_left_size(NULL), 0);
}

static void a_buffer_releases_what_it_owns(void)
{
    static mln_u8_t somebody_elses[10];
    mln_buf_t *b, *shadow;

    mln_buf_pool_release(NULL);
    mln_buf_pool_release(memory_buf(1000));
    check_nothing_left();

    b = memory_buf(1000);
    b->start = NULL; /* then pos is the block */
    mln_buf_pool_release(b);
    check_nothing_left();

    b = mln_buf_new(pool);
    b->start = b->pos = somebody_elses;
    b->in_memory = b->temporary = 1;
    mln_buf_pool_release(b);
    check_nothing_left();

    b = memory_buf(1000);
    shadow = mln_buf_new(pool);
    *shadow = *b;
    shadow->shadow = b;
    mln_buf_pool_release(shadow);
    memset(b->start, 0, 1000);
    mln_buf_pool_release(b);
    check_nothing_left();

    b = mln_buf_new(pool);
    b->in_memory = 1; /* without a block */
    mln_buf_pool_release(b);
    b = mln_buf_new(pool);
    b->in_memory = b->mmap = 1;
    mln_buf_pool_release(b);
    b = mln_buf_new(pool);
    b->in_file = 1; /* without a file */
    mln_buf_pool_release(b);
    check_nothing_left();
}

static void a_mapping_is_unmapped(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char resident;
    mln_buf_t *b = mln_buf_new(pool);
    mln_u8ptr_t mapping = (mln_u8ptr_t)mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK((void *)mapping != MAP_FAILED);
    b->start = b->pos = mapping;
    b->end = mapping + 3 * page;
    b->in_memory = b->mmap = 1;
    CHECK_INT(mincore(mapping + 2 * page, page, &resident), 0);
    mln_buf_pool_release(b);
    CHECK_INT(mincore(mapping + 2 * page, page, &resident), -1);
    check_nothing_left();
}

static void a_file_is_closed_by_its_owner_alone(void)
{
    int before = fd_count();
    mln_buf_t *b = mln_buf_new(pool), *older = mln_buf_new(pool), *temporary = mln_buf_new(pool);

    CHECK((b->file = mln_file_tmp_open(pool)) != NULL);
    b->in_file = 1;
    *older = *temporary = *b;
    older->shadow = b;
    temporary->temporary = 1;
    CHECK_INT(fd_count(), before + 1);
    mln_buf_pool_release(older);
    mln_buf_pool_release(temporary);
    CHECK_INT(fd_count(), before + 1);
    mln_buf_pool_release(b);
    CHECK_INT(fd_count(), before);
    check_nothing_left();
}

static void chains_are_released_node_by_node_or_all_at_once(void)
{
    mln_chain_t *head = NULL, *tail = NULL, *node, *second;
    int i;

    for (i = 0; i < 5; i++) {
        node = mln_chain_new(pool);
        if (i != 3)
            node->buf = memory_buf(100);
        mln_chain_add(&head, &tail, node);
        CHECK_PTR(tail, node);
    }
    second = head->next;
    CHECK(second != NULL);
    mln_chain_pool_release(head);
    for (i = 0, node = second; node != NULL; node = node->next)
        i++;
    CHECK_INT(i, 4);
    mln_chain_pool_release_all(second);
    mln_chain_pool_release(NULL);
    mln_chain_pool_release_all(NULL);
    check_nothing_left();
}

int main(void)
{
    pool = mln_alloc_init(NULL, CAPACITY);
    CHECK(pool != NULL);
    new_ones_are_zero();
    exhausted_pools_give_null();
    sizes_are_those_of_memory_or_file();
    a_buffer_releases_what_it_owns();
    a_mapping_is_unmapped();
    a_file_is_closed_by_its_owner_alone();
    chains_are_released_node_by_node_or_all_at_once();
    mln_alloc_destroy(pool);
    return 0;
}
