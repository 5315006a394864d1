/* A worker that was executed by whatever master, and uses the library. */
#include "exchange.h"

static void add_one(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    unsigned char *bytes = buf;

    (void)f_ptr;
    (void)udata;
    for (mln_u32_t i = 0; i < len; ++i)
        ++bytes[i];
    CHECK_INT(mln_ipc_worker_send_prepare(ev, ADD_ONE, bytes, len), 0);
}

static void sum(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    char request[100], reply[100];
    mln_u32_t header[2];
    int a, b, n;

    (void)f_ptr;
    (void)udata;
    CHECK(len > sizeof header && len - sizeof header < sizeof request);
    memcpy(header, buf, sizeof header);
    CHECK_INT(header[1], REQUEST);
    memcpy(request, (char *)buf + sizeof header, len - sizeof header);
    request[len - sizeof header] = '\0';
    CHECK_INT(sscanf(request, "{\"A\":%d,\"B\":%d}", &a, &b), 2);
    header[1] = REPLY;
    memcpy(reply, header, sizeof header);
    n = snprintf(reply + sizeof header, sizeof reply - sizeof header, "%d", a + b);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, SUM, reply, sizeof header + (mln_size_t)n), 0);
}

static void count(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    static mln_u32_t counted;

    (void)f_ptr;
    (void)buf;
    (void)udata;
    CHECK_INT(len, 0);
    ++counted;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, COUNT, &counted, sizeof counted), 0);
}

int main(void)
{
    mln_event_t *ev = mln_event_new();

    CHECK(ev != NULL);
    CHECK_INT(mln_fork_worker_ipc_handler_set(ADD_ONE, add_one, NULL), 0);
    CHECK_INT(mln_fork_worker_ipc_handler_set(SUM, sum, NULL), 0);
    CHECK_INT(mln_fork_worker_ipc_handler_set(COUNT, count, NULL), 0);
    mln_fork_worker_events_set(ev);
    mln_event_dispatch(ev); /* the process ends when the master has no more work for it */
    return 1;
}
