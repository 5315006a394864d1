/* A master that executes two workers: exchange_master PROGRAM ARGUMENT... */
#include "exchange.h"

static mln_event_t *loop;
static int answers, wanted = WORKERS * (SIZES + 1 + COUNTS);

static void answered(mln_event_t *ev)
{
    if (++answers == wanted)
        mln_event_break_set(ev);
}

static unsigned char byte_at(mln_size_t i)
{
    return (unsigned char)(i * 7);
}

/* Answers come in the order of the questions, from each worker. */
static void added(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    const unsigned char *bytes = buf;
    static mln_size_t seen[WORKERS];
    static void *from[WORKERS];
    int who = from[0] == NULL || from[0] == f_ptr ? 0 : 1;

    (void)udata;
    from[who] = f_ptr;
    CHECK_INT(len, exchange_sizes[seen[who]++]);
    for (mln_size_t i = 0; i < len; ++i)
        CHECK_INT(bytes[i], (unsigned char)(byte_at(i) + 1));
    answered(ev);
}

static void summed(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_u32_t header[2];

    (void)f_ptr;
    (void)udata;
    memcpy(header, buf, sizeof header);
    CHECK_INT(header[0], 77);
    CHECK_INT(header[1], REPLY);
    CHECK_INT(len, sizeof header + 2);
    CHECK_INT(memcmp((char *)buf + sizeof header, "42", 2), 0);
    answered(ev);
}

static void counted(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)udata;
    CHECK_INT(len, sizeof(mln_u32_t));
    CHECK(*(mln_u32_t *)buf >= 1 && *(mln_u32_t *)buf <= COUNTS);
    answered(ev);
}

static int ask(mln_event_t *ev, mln_fork_t *f, void *data)
{
    char request[8 + 15];
    const mln_u32_t header[2] = {77, REQUEST};

    for (int i = 0; i < SIZES; ++i)
        CHECK_INT(mln_ipc_master_send_prepare(ev, ADD_ONE, data, exchange_sizes[i], f), 0);
    memcpy(request, header, sizeof header);
    memcpy(request + sizeof header, "{\"A\":40,\"B\":2}", 14);
    CHECK_INT(mln_ipc_master_send_prepare(ev, SUM, request, sizeof header + 14, f), 0);
    for (int i = 0; i < COUNTS; ++i)
        CHECK_INT(mln_ipc_master_send_prepare(ev, COUNT, NULL, 0, f), 0);
    return 0;
}

int main(int argc, char *argv[])
{
    static unsigned char content[3 << 20];

    CHECK(argc > 1);
    for (mln_size_t i = 0; i < sizeof content; ++i)
        content[i] = byte_at(i);
    CHECK(mln_ipc_handler_register(ADD_ONE, added, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(SUM, summed, NULL, NULL, NULL) != NULL);
    CHECK(mln_ipc_handler_register(COUNT, counted, NULL, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((loop = mln_event_new()) != NULL);
    for (int i = 0; i < WORKERS; ++i)
        CHECK_INT(mln_fork_spawn(M_PST_SUP, argv + 1, (mln_u32_t)argc - 1, loop), 0);
    CHECK_INT(mln_fork_iterate(loop, ask, content), 0);
    mln_event_dispatch(loop);
    CHECK_INT(answers, wanted);
    mln_event_free(loop);
    puts("all answers were right");
    return 0;
}
