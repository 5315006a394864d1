/*
 * What was sent and not yet written is in the send queue of the connection, as frames in a chain of buffers; the loop
 * empties it.
 */
#include "ipc.h"

enum { WORD = 2000, LAST, WORDS = 500, HEADER = 8 };

static const size_t sizes[] = {0, 3, 100, 70000, 33000, 5};
static int got;

static size_t size_of(int i)
{
    return sizes[i % 6];
}

/* Sends, and finds it all in the queue. */
static void send_words(mln_event_t *ev, mln_tcp_conn_t *conn, mln_fork_t *f)
{
    static char payload[70000];
    size_t total = 0, filled_up = 0;
    char *all, *at;

    CHECK(mln_tcp_conn_head(conn, M_C_SEND) == NULL);
    for (int i = 0; i < WORDS; ++i) {
        fill(payload, size_of(i), (uint64_t)i);
        CHECK_INT(f != NULL ? mln_ipc_master_send_prepare(ev, WORD, payload, size_of(i), f)
                            : mln_ipc_worker_send_prepare(ev, WORD, payload, size_of(i)), 0);
        total += HEADER + size_of(i);
    }
    CHECK_INT(bytes_to_send(conn), total);
    CHECK(!mln_tcp_conn_send_empty(conn));
    all = malloc(total);
    CHECK(all != NULL);
    for (mln_chain_t *node = mln_tcp_conn_get_head(conn, M_C_SEND); node != NULL; node = node->next) {
        mln_buf_t *buf = node->buf;

        CHECK(buf->in_memory);
        CHECK(buf->pos >= buf->start && buf->last <= buf->end && buf->left_pos == buf->pos);
        memcpy(all + filled_up, buf->pos, (size_t)mln_buf_size(buf));
        filled_up += (size_t)mln_buf_size(buf);
        if (node->next == NULL)
            CHECK_PTR(node, mln_tcp_conn_tail(conn, M_C_SEND));
    }
    at = all;
    for (int i = 0; i < WORDS; ++i) {
        uint32_t header[2];

        memcpy(header, at, sizeof header);
        CHECK_INT(header[0], 4 + size_of(i));
        CHECK_INT(header[1], WORD);
        CHECK(filled(at + HEADER, size_of(i), (uint64_t)i));
        at += HEADER + size_of(i);
    }
    free(all);
}

static void on_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    CHECK_INT(len, size_of(got));
    CHECK(filled(buf, len, (uint64_t)got));
    ++got;
}

static void worker_last(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(got, WORDS);
    send_words(ev, mln_fork_get_master_connection(), NULL);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, LAST, buf, len), 0);
}

int main(void)
{
    mln_event_t *ev;
    mln_fork_t *f;

    handle(WORD, on_word, on_word);
    handle(LAST, break_on_message, worker_last);
    ev = become_master();
    start_worker(ev, NULL);
    f = last_worker(ev);
    send_words(ev, &f->conn, f);
    CHECK_INT(mln_ipc_master_send_prepare(ev, LAST, NULL, 0, f), 0);
    dispatch(ev, NULL);
    CHECK_INT(got, WORDS);
    CHECK(mln_tcp_conn_head(&f->conn, M_C_SEND) == NULL);
    CHECK(mln_tcp_conn_send_empty(&f->conn));
    mln_event_free(ev);
    return 0;
}
