/*
 * layout.c - the structures that programs embed, or that were compiled into them, have the layout of the original.
 */
#include "check.h"

#include <stddef.h>

#include "mln_connection.h"
#include "mln_string.h"

/* Does not compile if the condition does not hold; in every dialect. */
#define LAYOUT(condition) extern char layout_is_right[(condition) ? 1 : -1]
#define OFFSET(type, member, offset) LAYOUT(offsetof(type, member) == (offset))

LAYOUT(sizeof(mln_tcp_conn_t) == 64);
OFFSET(mln_tcp_conn_t, pool, 0);
OFFSET(mln_tcp_conn_t, rcv_head, 8);
OFFSET(mln_tcp_conn_t, rcv_tail, 16);
OFFSET(mln_tcp_conn_t, snd_head, 24);
OFFSET(mln_tcp_conn_t, snd_tail, 32);
OFFSET(mln_tcp_conn_t, sent_head, 40);
OFFSET(mln_tcp_conn_t, sent_tail, 48);
OFFSET(mln_tcp_conn_t, sockfd, 56);

LAYOUT(sizeof(mln_chain_t) == 16);
OFFSET(mln_chain_t, buf, 0);
OFFSET(mln_chain_t, next, 8);

LAYOUT(sizeof(mln_buf_t) == 88);
OFFSET(mln_buf_t, left_pos, 0);
OFFSET(mln_buf_t, pos, 8);
OFFSET(mln_buf_t, last, 16);
OFFSET(mln_buf_t, start, 24);
OFFSET(mln_buf_t, end, 32);
OFFSET(mln_buf_t, shadow, 40);
OFFSET(mln_buf_t, file_left_pos, 48);
OFFSET(mln_buf_t, file_pos, 56);
OFFSET(mln_buf_t, file_last, 64);
OFFSET(mln_buf_t, file, 72);

LAYOUT(sizeof(mln_string_t) == 24);
OFFSET(mln_string_t, data, 0);
OFFSET(mln_string_t, len, 8);

OFFSET(mln_file_t, prev, 0);
OFFSET(mln_file_t, next, 8);
OFFSET(mln_file_t, fd, 16);
OFFSET(mln_file_t, file_path, 24);
OFFSET(mln_file_t, fset, 32);
OFFSET(mln_file_t, refer_cnt, 40);

LAYOUT(sizeof(mln_u8_t) == 1 && (mln_u8_t)-1 > 0);
LAYOUT(sizeof(mln_s8_t) == 1);
LAYOUT(sizeof(mln_u16_t) == 2 && sizeof(mln_s16_t) == 2);
LAYOUT(sizeof(mln_u32_t) == 4 && sizeof(mln_s32_t) == 4);
LAYOUT(sizeof(mln_u64_t) == 8 && sizeof(mln_s64_t) == 8);
LAYOUT(sizeof(mln_uauto_t) == sizeof(void *) && sizeof(mln_uptr_t) == sizeof(void *));
LAYOUT(sizeof(mln_sauto_t) == sizeof(void *) && sizeof(mln_sptr_t) == sizeof(void *));

/* The 32 bits at an offset of a structure. */
static mln_u32_t word_at(const void *structure, size_t offset)
{
    mln_u32_t word;
    memcpy(&word, (const char *)structure + offset, sizeof word);
    return word;
}

/* The first declared bit is the lowest one, which the ABI of every little-endian Linux has. */
#define CHECK_BIT(type, member, offset, bit) \
    do { \
        type structure; \
        memset(&structure, 0, sizeof structure); \
        structure.member = 1; \
        CHECK_INT(word_at(&structure, (offset)), 1u << (bit)); \
    } while (0)

int main(void)
{
    CHECK_BIT(mln_buf_t, temporary, 80, 0);
    CHECK_BIT(mln_buf_t, mmap, 80, 1);
    CHECK_BIT(mln_buf_t, in_memory, 80, 2);
    CHECK_BIT(mln_buf_t, in_file, 80, 3);
    CHECK_BIT(mln_buf_t, flush, 80, 4);
    CHECK_BIT(mln_buf_t, sync, 80, 5);
    CHECK_BIT(mln_buf_t, last_buf, 80, 6);
    CHECK_BIT(mln_buf_t, last_in_chain, 80, 7);
    CHECK_BIT(mln_tcp_conn_t, nonblock, 60, 0);
    CHECK_BIT(mln_string_t, data_ref, 16, 0);
    CHECK_BIT(mln_string_t, pool, 16, 1);
    CHECK_BIT(mln_string_t, ref, 16, 2);
    CHECK_BIT(mln_file_t, is_tmp, 20, 0);
    return 0;
}
