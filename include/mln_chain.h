/**
 * @file mln_chain.h
 * Buffers, and chains of them: what connections send and receive.
 *
 * Nodes, buffers and their blocks come from a pool; the functions of this header belong to the thread that the pool
 * belongs to, in any process.
 */
#ifndef __MLN_CHAIN_H
#define __MLN_CHAIN_H

#include "mln_types.h"
#include "mln_alloc.h"
#include "mln_file.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A buffer: data in memory or in a file, and how much of it was sent or consumed. */
typedef struct mln_buf_s {
    mln_u8ptr_t left_pos;       /**< First byte that was not sent or consumed yet; pos at first. */
    mln_u8ptr_t pos;            /**< First byte of the data. */
    mln_u8ptr_t last;           /**< End of the data. */
    mln_u8ptr_t start;          /**< The block that is released. */
    mln_u8ptr_t end;            /**< End of the block. */
    struct mln_buf_s *shadow;   /**< A newer buffer that shares the file and owns it. Non-NULL: this one does not own it. */
    mln_off_t file_left_pos;    /**< left_pos of data in a file, as an offset. */
    mln_off_t file_pos;         /**< pos of data in a file, as an offset. */
    mln_off_t file_last;        /**< last of data in a file, as an offset. */
    mln_file_t *file;           /**< The file. */
    mln_u32_t temporary:1;      /**< Block or file belong to somebody else: only the structure is released. */
    mln_u32_t mmap:1;           /**< The block is a mapping of end - start bytes, released by munmap(). */
    mln_u32_t in_memory:1;      /**< The data are in memory. */
    mln_u32_t in_file:1;        /**< The data are in a file. */
    mln_u32_t flush:1;          /**< Not used. */
    mln_u32_t sync:1;           /**< Not used. */
    mln_u32_t last_buf:1;       /**< Set on received buffers; of no meaning for sending. */
    mln_u32_t last_in_chain:1;  /**< The end of a message: mln_tcp_conn_send() stops behind it and reports M_C_FINISH. */
} mln_buf_t;

/** A node of a chain. */
typedef struct mln_chain_s {
    mln_buf_t *buf;           /**< The buffer; may be NULL. */
    struct mln_chain_s *next; /**< The next node, or NULL. */
} mln_chain_t;

/** The size of a buffer's data in bytes; 0 for NULL. Both eras. */
static inline mln_off_t mln_buf_size(const mln_buf_t *b)
{
    if (b == NULL)
        return 0;
    return b->in_file ? b->file_last - b->file_pos : b->last - b->pos;
}

/** How many bytes of a buffer's data were not sent or consumed yet; 0 for NULL. Both eras. */
static inline mln_off_t mln_buf_left_size(const mln_buf_t *b)
{
    if (b == NULL)
        return 0;
    return b->in_file ? b->file_last - b->file_left_pos : b->last - b->left_pos;
}

/**
 * Appends one node to a chain: mln_chain_add(&head, &tail, node). Its `next` is left as it is. Both eras. A block, not an
 * expression, as in the original: programs exist that have no semicolon behind it.
 */
#define mln_chain_add(pphead, pptail, c) \
    { \
        if (*(pphead) == NULL) \
            *(pphead) = (c); \
        else \
            (*(pptail))->next = (c); \
        *(pptail) = (c); \
    }

/**
 * Makes a buffer whose fields are all zero. Both eras.
 *
 * @param pool the pool it is taken from.
 * @return the buffer, for mln_buf_pool_release(); NULL with errno ENOMEM.
 */
mln_buf_t *mln_buf_new(mln_alloc_t *pool);

/**
 * Makes a node without a buffer and without a next one. Both eras.
 *
 * @param pool the pool it is taken from.
 * @return the node, for mln_chain_pool_release(); NULL with errno ENOMEM.
 */
mln_chain_t *mln_chain_new(mln_alloc_t *pool);

/** Makes a node with a buffer whose fields are all zero; otherwise as mln_chain_new(). Today's era. */
mln_chain_t *mln_chain_new_with_buf(mln_alloc_t *pool);

/**
 * Releases a buffer with what it owns: nothing if it has a shadow or is temporary; else its block (start, or pos if start is
 * NULL) if the data are in memory; else its file if the data are in a file. Both eras.
 *
 * @param b the buffer; NULL is allowed. Buffer and block come from pools, unless the buffer is temporary or a mapping.
 */
void mln_buf_pool_release(mln_buf_t *b);

/** Releases one node and its buffer. Both eras. @param c the node; NULL is allowed. */
void mln_chain_pool_release(mln_chain_t *c);

/** Releases a node, all that follow it, and their buffers. Both eras. @param c the first node; NULL is allowed. */
void mln_chain_pool_release_all(mln_chain_t *c);

#ifdef __cplusplus
}
#endif

#endif
