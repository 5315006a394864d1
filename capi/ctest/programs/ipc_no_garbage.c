/*
 * Messages there and back cost no allocation on either side, once there are as many under way as there will be: none of the C
 * library's, and so little in the runtime of Go that its collector never runs.
 * deadline: 60s
 */
#include "ipc.h"

enum { WORD = 3000, END, SIZE = 64, WINDOW = 200, WARM = 20000, WORDS = 600000, SLACK = 16 };

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *block, size_t size);

static unsigned long allocations;

void *malloc(size_t size)
{
    __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
    __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_realloc(block, size);
}

static unsigned long counted(void)
{
    return __atomic_load_n(&allocations, __ATOMIC_RELAXED);
}

static int echoed, asked;
static unsigned long before;

/* Whether the collector of this process's runtime has run: then the runtime has its poller. */
static int collected(void)
{
    char descriptor[16];

    for (int fd = 3; fd < 256; ++fd) {
        snprintf(descriptor, sizeof descriptor, "%d", fd);
        if (check_is_runtimes(descriptor))
            return 1;
    }
    return 0;
}

/* What a few more under way than ever before may need is not counted: none of them is for each message. */
static void check_allocations(int done)
{
    if (done == WARM)
        before = counted();
    if (done < WORDS)
        return;
    if (counted() - before > SLACK)
        fprintf(stderr, "%lu allocations for %d messages\n", counted() - before, WORDS - WARM);
    CHECK(counted() - before <= SLACK);
    CHECK(!collected());
}

static void send_word(mln_event_t *ev, mln_fork_t *f)
{
    static char word[SIZE];

    CHECK_INT(mln_ipc_master_send_prepare(ev, WORD, word, sizeof word, f), 0);
}

static void on_echo(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)udata;
    CHECK_INT(len, SIZE);
    check_allocations(++echoed);
    if (echoed + WINDOW <= WORDS)
        send_word(ev, f);
    else if (echoed == WORDS)
        CHECK_INT(mln_ipc_master_send_prepare(ev, END, NULL, 0, f), 0);
}

static void on_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, WORD, buf, len), 0);
    check_allocations(++asked);
}

static void on_end(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK_INT(asked, WORDS); /* and nothing was complained of */
    CHECK_INT(mln_ipc_worker_send_prepare(ev, END, NULL, 0), 0);
}

static void begin(mln_event_t *ev)
{
    (void)ev;
}

int main(void)
{
    mln_event_t *ev;
    mln_fork_t *f;

    handle(WORD, on_echo, on_word);
    handle(END, break_on_message, on_end);
    ev = become_master();
    mln_fork_master_events_set(ev);
    start_worker(ev, begin);
    f = last_worker(ev);
    for (int i = 0; i < WINDOW; ++i)
        send_word(ev, f);
    dispatch(ev, begin);
    CHECK_INT(echoed, WORDS);
    CHECK(counted() > 0);
    mln_event_free(ev);
    return 0;
}
