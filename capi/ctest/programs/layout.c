/*
 * layout.c - the structures that programs embed, or that were compiled into them, have the layout of the original, and the library
 * was built with the same.
 */
#include "check.h"

#include <stddef.h>

#include "mln_conf.h"
#include "mln_connection.h"
#include "mln_core.h"
#include "mln_fork.h"
#include "mln_framework.h"
#include "mln_log.h"
#include "mln_string.h"
#include "mln_thread.h"
#include "mln_tools.h"

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

/* Up to stype at the offsets of the seed era, which its programs were compiled with; what came later is behind. */
OFFSET(mln_fork_t, prev, 0);
OFFSET(mln_fork_t, next, 8);
OFFSET(mln_fork_t, args, 16);
OFFSET(mln_fork_t, conn, 24);
OFFSET(mln_fork_t, pid, 88);
OFFSET(mln_fork_t, n_args, 92);
OFFSET(mln_fork_t, state, 96);
OFFSET(mln_fork_t, msg_len, 100);
OFFSET(mln_fork_t, msg_type, 104);
OFFSET(mln_fork_t, error_bytes, 112);
OFFSET(mln_fork_t, msg_content, 120);
OFFSET(mln_fork_t, etype, 128);
OFFSET(mln_fork_t, stype, 132);
LAYOUT(offsetof(mln_fork_t, msg_buf_size) >= 136);

OFFSET(mln_ipc_handler_t, handler, 0);
OFFSET(mln_ipc_handler_t, data, 8);
OFFSET(mln_ipc_handler_t, type, 16);

OFFSET(mln_ipc_cb_t, next, 0);
OFFSET(mln_ipc_cb_t, prev, 8);
OFFSET(mln_ipc_cb_t, master_handler, 16);
OFFSET(mln_ipc_cb_t, worker_handler, 24);
OFFSET(mln_ipc_cb_t, master_data, 32);
OFFSET(mln_ipc_cb_t, worker_data, 40);
OFFSET(mln_ipc_cb_t, type, 48);

LAYOUT(sizeof(mln_conf_item_t) == 16);
OFFSET(mln_conf_item_t, type, 0);
OFFSET(mln_conf_item_t, val, 8);
LAYOUT(sizeof(mln_conf_cmd_t) == 40);
OFFSET(mln_conf_cmd_t, cmd_name, 0);
OFFSET(mln_conf_cmd_t, search, 8);
OFFSET(mln_conf_cmd_t, update, 16);
OFFSET(mln_conf_cmd_t, arg_tbl, 24);
OFFSET(mln_conf_cmd_t, n_args, 32);
LAYOUT(sizeof(mln_conf_domain_t) == 40);
OFFSET(mln_conf_domain_t, search, 0);
OFFSET(mln_conf_domain_t, insert, 8);
OFFSET(mln_conf_domain_t, remove, 16);
OFFSET(mln_conf_domain_t, domain_name, 24);
OFFSET(mln_conf_domain_t, cmd, 32);
LAYOUT(sizeof(mln_conf_t) == 48);
OFFSET(mln_conf_t, lex, 0);
OFFSET(mln_conf_t, domain, 8);
OFFSET(mln_conf_t, search, 16);
OFFSET(mln_conf_t, insert, 24);
OFFSET(mln_conf_t, remove, 32);
OFFSET(mln_conf_t, cb, 40);
OFFSET(mln_conf_hook_t, reload, 0);
OFFSET(mln_conf_hook_t, data, 8);
OFFSET(mln_conf_hook_t, prev, 16);
OFFSET(mln_conf_hook_t, next, 24);

LAYOUT(sizeof(struct mln_core_attr) == 32);
OFFSET(struct mln_core_attr, argc, 0);
OFFSET(struct mln_core_attr, argv, 8);
OFFSET(struct mln_core_attr, global_init, 16);
OFFSET(struct mln_core_attr, worker_process, 24);
LAYOUT(sizeof(struct mln_framework_attr) == 48);
OFFSET(struct mln_framework_attr, argc, 0);
OFFSET(struct mln_framework_attr, argv, 8);
OFFSET(struct mln_framework_attr, global_init, 16);
OFFSET(struct mln_framework_attr, main_thread, 24);
OFFSET(struct mln_framework_attr, master_process, 32);
OFFSET(struct mln_framework_attr, worker_process, 40);

LAYOUT(sizeof(mln_boot_t) == 32);
OFFSET(mln_boot_t, boot_str, 0);
OFFSET(mln_boot_t, alias, 8);
OFFSET(mln_boot_t, handler, 16);
OFFSET(mln_boot_t, cnt, 24);
LAYOUT(sizeof(struct utctime) == 56);
OFFSET(struct utctime, year, 0);
OFFSET(struct utctime, week, 48);

LAYOUT(sizeof(mln_thread_msg_t) == 72);
OFFSET(mln_thread_msg_t, dest, 0);
OFFSET(mln_thread_msg_t, src, 8);
OFFSET(mln_thread_msg_t, f, 16);
OFFSET(mln_thread_msg_t, pfunc, 24);
OFFSET(mln_thread_msg_t, pdata, 32);
OFFSET(mln_thread_msg_t, sauto, 40);
OFFSET(mln_thread_msg_t, uauto, 48);
OFFSET(mln_thread_msg_t, c, 56);
OFFSET(mln_thread_msg_t, padding, 57);
OFFSET(mln_thread_msg_t, type, 64);
OFFSET(mln_thread_msg_t, need_clear, 68);

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

/* A structure of the program's that the library fills in, and what must not be touched behind it. */
#define WATCHED(type) \
    struct { \
        type it; \
        unsigned char behind[32]; \
    }
#define CHECK_NOT_BEHIND(watched) \
    do { \
        size_t i; \
        for (i = 0; i < sizeof (watched).behind; i++) \
            CHECK_INT((watched).behind[i], 0xa5); \
    } while (0)

static void handle_nothing(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr)
{
    (void)ev;
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata_ptr;
}

/* What the library writes is where this program reads it. */
static void the_library_has_the_same(void)
{
    WATCHED(mln_tcp_conn_t) conn;
    WATCHED(struct utctime) date;
    mln_tcp_conn_t *master = mln_fork_get_master_connection();
    mln_fork_t *self = (mln_fork_t *)((char *)master - offsetof(mln_fork_t, conn));
    mln_chain_t *node;
    mln_file_t *file;
    mln_string_t *string = mln_string_new("text");
    mln_ipc_cb_t *registered;
    mln_conf_t *cf;
    mln_conf_cmd_t *cc;
    mln_conf_item_t item;

    memset(&conn, 0xa5, sizeof conn);
    CHECK_INT(mln_tcp_conn_init(&conn.it, 2), 0);
    CHECK_NOT_BEHIND(conn);
    CHECK(conn.it.pool != NULL && conn.it.rcv_head == NULL && conn.it.rcv_tail == NULL && conn.it.snd_head == NULL);
    CHECK(conn.it.snd_tail == NULL && conn.it.sent_head == NULL && conn.it.sent_tail == NULL);
    CHECK_INT(conn.it.sockfd, 2);
    CHECK((node = mln_chain_new_with_buf(conn.it.pool)) != NULL && node->buf != NULL && node->next == NULL);
    mln_tcp_conn_append(&conn.it, node, M_C_RECV);
    CHECK(conn.it.rcv_head == node && conn.it.rcv_tail == node);
    node->buf->pos = (mln_u8ptr_t)string;
    node->buf->last = node->buf->pos + 5;
    node->buf->left_pos = node->buf->pos + 2;
    CHECK_INT(mln_buf_size(node->buf), 5);
    CHECK_INT(mln_buf_left_size(node->buf), 3);
    node->buf->file_last = 7;
    node->buf->file_left_pos = 1;
    node->buf->in_file = 1;
    CHECK_INT(mln_buf_size(node->buf), 7);
    CHECK_INT(mln_buf_left_size(node->buf), 6);
    node->buf->in_file = 0;
    CHECK((file = mln_file_tmp_open(conn.it.pool)) != NULL);
    CHECK(file->fd > 2 && file->is_tmp && file->file_path == NULL && file->fset == NULL);
    mln_file_close(file);
    mln_tcp_conn_destroy(&conn.it);

    CHECK_STR((char *)string->data, "text");
    CHECK(string->len == 4 && !string->pool && string->ref == 1);
    mln_string_free(string);

    memset(&date, 0xa5, sizeof date);
    mln_time2utc(0, &date.it);
    CHECK_NOT_BEHIND(date);
    CHECK(date.it.year == 1970 && date.it.month == 1 && date.it.day == 1 && date.it.second == 0 && date.it.week == 4);

    CHECK_INT(self->pid, getpid());
    CHECK(self->conn.sockfd == -1 && self->args == NULL && self->n_args == 0);
    CHECK((registered = mln_ipc_handler_register(7, handle_nothing, NULL, &conn, &date)) != NULL);
    CHECK(registered->master_handler == handle_nothing && registered->worker_handler == NULL && registered->type == 7);
    CHECK(registered->master_data == &conn && registered->worker_data == &date);
    mln_ipc_handler_unregister(registered);

    CHECK_INT(mln_conf_load(), 0);
    cf = mln_conf();
    cc = cf->search(cf, "main")->insert(cf->search(cf, "main"), "name");
    CHECK_STR((char *)cf->search(cf, "main")->domain_name->data, "main");
    CHECK_STR((char *)cc->cmd_name->data, "name");
    memset(&item, 0, sizeof item);
    item.type = CONF_INT;
    item.val.i = 5;
    CHECK_INT(cc->update(cc, &item, 1), 0);
    CHECK(cc->n_args == 1 && cc->search(cc, 1)->type == CONF_INT && cc->search(cc, 1)->val.i == 5);
    CHECK(g_log.fd == 2 && g_log.level == none && !g_log.init && g_log.log_path != NULL);
    mln_conf_free();
}

int main(void)
{
    the_library_has_the_same();
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
