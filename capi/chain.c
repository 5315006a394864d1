/*
 * chain.c - buffers and chains (mln_chain.h).
 */
#include "mln_chain.h"

#include <sys/mman.h>

mln_buf_t *mln_buf_new(mln_alloc_t *pool)
{
    return mln_alloc_c(pool, sizeof(mln_buf_t));
}

mln_chain_t *mln_chain_new(mln_alloc_t *pool)
{
    return mln_alloc_c(pool, sizeof(mln_chain_t));
}

mln_chain_t *mln_chain_new_with_buf(mln_alloc_t *pool)
{
    mln_chain_t *node = mln_chain_new(pool);

    if (node != NULL && (node->buf = mln_buf_new(pool)) == NULL) {
        mln_alloc_free(node);
        return NULL;
    }
    return node;
}

static void block_release(mln_buf_t *b)
{
    if (!b->mmap)
        mln_alloc_free(b->start != NULL ? b->start : b->pos);
    else if (b->start != NULL)
        (void)munmap(b->start, (size_t)(b->end - b->start));
}

void mln_buf_pool_release(mln_buf_t *b)
{
    if (b == NULL)
        return;
    if (b->shadow == NULL && !b->temporary) {
        if (b->in_memory)
            block_release(b);
        else if (b->in_file)
            mln_file_close(b->file);
    }
    mln_alloc_free(b);
}

void mln_chain_pool_release(mln_chain_t *c)
{
    if (c == NULL)
        return;
    mln_buf_pool_release(c->buf);
    mln_alloc_free(c);
}

void mln_chain_pool_release_all(mln_chain_t *c)
{
    while (c != NULL) {
        mln_chain_t *next = c->next;
        mln_chain_pool_release(c);
        c = next;
    }
}
