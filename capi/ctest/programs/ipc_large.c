/*
 * The largest message that is allowed goes both ways; one byte more is refused when it is sent, and the channel is as
 * good as before.
 *
 * deadline: 120s
 */
#include "ipc.h"

enum { LARGE = 2000, SMALL, MOST = 64 << 20 };

static const size_t too_large[] = {
    (size_t)MOST + 1, 0x7fffffff, 0x80000000, 0xfffffffb, 0xfffffffc, 0xffffffff, 0x100000000, 0x100000001, SIZE_MAX - 3,
    SIZE_MAX,
};
/* What a socket takes at once is some 200 KiB. */
static const size_t sizes[] = {65528, 65536, 212992, 300000, MOST};

enum { SIZES = sizeof sizes / sizeof sizes[0], REFUSED = sizeof too_large / sizeof too_large[0] };

static char *payload;
static int arrived;

static void verify(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)ev;
    (void)f;
    (void)udata;
    CHECK(arrived < SIZES);
    CHECK_INT(len, sizes[arrived]);
    CHECK(filled(buf, len, len));
    ++arrived;
}

static void echo(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    verify(ev, f, buf, len, udata);
    for (int i = 0; i < REFUSED; ++i) {
        errno = 0;
        CHECK_INT(mln_ipc_worker_send_prepare(ev, LARGE, buf, too_large[i]), -1);
        CHECK_INT(errno, EMSGSIZE);
    }
    CHECK_INT(mln_ipc_worker_send_prepare(ev, LARGE, buf, len), 0);
}

static void after(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(arrived, SIZES);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, SMALL, buf, len), 0);
}

static void last(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(arrived, SIZES);
    CHECK_INT(len, sizeof "small");
    CHECK_STR(buf, "small");
    mln_event_break_set(ev);
}

int main(void)
{
    static char small[] = "small";
    mln_event_t *ev;
    mln_fork_t *f;

    handle(LARGE, verify, echo);
    handle(SMALL, last, after);
    ev = become_master();
    start_worker(ev, NULL);
    f = last_worker(ev);
    payload = malloc(MOST);
    CHECK(payload != NULL);
    for (int i = 0; i < SIZES; ++i) {
        fill(payload, sizes[i], sizes[i]);
        CHECK_INT(mln_ipc_master_send_prepare(ev, LARGE, payload, sizes[i], f), 0);
    }
    free(payload);
    for (int i = 0; i < REFUSED; ++i) {
        errno = 0;
        CHECK_INT(mln_ipc_master_send_prepare(ev, LARGE, small, too_large[i], f), -1);
        CHECK_INT(errno, EMSGSIZE);
    }
    CHECK_INT(mln_ipc_master_send_prepare(ev, SMALL, small, sizeof small, f), 0);
    dispatch(ev, NULL);
    CHECK_INT(arrived, SIZES);
    mln_event_free(ev);
    return 0;
}
