/*
 * habits_seed_connection.c - connections as programs of the seed era use them: recv right after send in one thread, queues of nodes
 * that have no buffers, and a connection without a descriptor.
 */
#include "check.h"

#include "mln_connection.h"

static void add_text(mln_tcp_conn_t *tc, const char *text, int last)
{
    mln_alloc_t *pool = mln_tcp_conn_get_pool(tc);
    mln_chain_t *c = mln_chain_new(pool);
    mln_buf_t *b = mln_buf_new(pool);
    mln_size_t len = strlen(text);

    CHECK(c != NULL && b != NULL);
    c->buf = b;
    CHECK((b->start = (mln_u8ptr_t)mln_alloc_m(pool, len)) != NULL);
    memcpy(b->start, text, len);
    b->left_pos = b->pos = b->start;
    b->last = b->end = b->start + len;
    b->in_memory = 1;
    b->last_buf = 1;
    b->last_in_chain = last ? 1 : 0;
    mln_tcp_conn_append(tc, c, M_C_SEND);
}

static void data_are_there_right_after_the_send(void)
{
    mln_tcp_conn_t near, far;
    char text[20] = "";
    mln_chain_t *c;
    int fds[2], ret;

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_INT(mln_tcp_conn_init(&near, fds[0]), 0);
    CHECK_INT(mln_tcp_conn_init(&far, fds[1]), 0);
    add_text(&near, "one ", 0);
    add_text(&near, "message", 1);
    while ((c = mln_tcp_conn_get_head(&near, M_C_SEND)) != NULL) {
        ret = mln_tcp_conn_send(&near);
        if (ret != M_C_FINISH)
            break;
    }
    CHECK(mln_tcp_conn_send_empty(&near) && !mln_tcp_conn_sent_empty(&near));
    mln_chain_pool_release_all(mln_tcp_conn_remove(&near, M_C_SENT));

    CHECK_INT(mln_tcp_conn_recv(&far, M_C_TYPE_MEMORY), M_C_NOTYET);
    while ((c = mln_tcp_conn_pop(&far, M_C_RECV)) != NULL) {
        strncat(text, (char *)c->buf->pos, (size_t)mln_buf_size(c->buf));
        mln_chain_pool_release(c);
    }
    CHECK_STR(text, "one message");

    mln_tcp_conn_destroy(&near);
    mln_socket_close(fds[0]);
    CHECK_INT(mln_tcp_conn_recv(&far, M_C_TYPE_MEMORY), M_C_CLOSED);
    mln_tcp_conn_destroy(&far);
    mln_socket_close(fds[1]);
}

static void nodes_need_no_buffers(void)
{
    mln_tcp_conn_t tc;
    mln_chain_t *head, *tail;

    CHECK_INT(mln_tcp_conn_init(&tc, -1), 0);
    head = mln_chain_new(mln_tcp_conn_get_pool(&tc));
    tail = head->next = mln_chain_new(mln_tcp_conn_get_pool(&tc));
    mln_tcp_conn_append_chain(&tc, head, NULL, M_C_RECV);
    CHECK_PTR(mln_tcp_conn_get_head(&tc, M_C_RECV), head);
    CHECK_PTR(mln_tcp_conn_get_tail(&tc, M_C_RECV), tail);
    mln_tcp_conn_append(&tc, mln_chain_new(mln_tcp_conn_get_pool(&tc)), M_C_SENT);
    CHECK_PTR(mln_tcp_conn_pop(&tc, M_C_RECV), head);
    mln_chain_pool_release(head);
    CHECK_INT(mln_tcp_conn_recv(&tc, M_C_TYPE_MEMORY), M_C_ERROR);
    CHECK_INT(mln_tcp_conn_send(&tc), M_C_NOTYET);
    mln_tcp_conn_destroy(&tc);
}

int main(void)
{
    data_are_there_right_after_the_send();
    nodes_need_no_buffers();
    return 0;
}
