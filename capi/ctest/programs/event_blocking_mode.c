/*
 * A registration makes the descriptor blocking, unless it says otherwise or only appends to an earlier one.
 */
#include "check.h"
#include "events.h"

struct rule {
    int nonblocking; /* before */
    int registered;  /* before */
    mln_u32_t flag;
    int result;
    int expected; /* non-blocking afterwards */
};

static const struct rule rules[] = {
    {0, 0, M_EV_RECV | M_EV_NONBLOCK, 0, 1},
    {1, 0, M_EV_RECV | M_EV_BLOCK, 0, 0},
    {1, 0, M_EV_RECV, 0, 0},
    {0, 0, M_EV_RECV, 0, 0},
    {1, 0, 0, 0, 0},
    {1, 0, M_EV_RECV | M_EV_APPEND, 0, 0},
    {0, 0, M_EV_NONBLOCK, 0, 1},
    {0, 0, M_EV_RECV | M_EV_APPEND | M_EV_NONBLOCK, 0, 1},
    {1, 0, M_EV_CLR, 0, 1},
    {1, 1, M_EV_SEND, 0, 0},
    {1, 1, 0, 0, 0},
    {1, 1, M_EV_SEND | M_EV_APPEND, 0, 1},
    {0, 1, M_EV_SEND | M_EV_APPEND, 0, 0},
    {1, 1, M_EV_APPEND, 0, 1},
    {1, 1, M_EV_RECV | M_EV_APPEND | M_EV_ONESHOT, 0, 1},
    {0, 1, M_EV_SEND | M_EV_APPEND | M_EV_NONBLOCK, 0, 1},
    {1, 1, M_EV_SEND | M_EV_APPEND | M_EV_BLOCK, 0, 0},
    {1, 1, M_EV_SEND | M_EV_NONBLOCK, 0, 1},
    {1, 1, M_EV_CLR, 0, 1},
    {0, 1, M_EV_CLR, 0, 0},
    /* What is refused changes nothing. */
    {1, 1, M_EV_BLOCK | M_EV_NONBLOCK, -1, 1},
    {0, 1, M_EV_CLR | M_EV_NONBLOCK, -1, 0},
    {1, 1, M_EV_CLR | M_EV_BLOCK, -1, 1},
};

int main(void)
{
    mln_event_t *ev = new_loop();
    int ends[2];

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; ++i) {
        const struct rule *rule = &rules[i];
        int before, after;

        make_sockets(ends);
        if (rule->registered)
            CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_RECV, M_EV_UNLIMITED, NULL, never), 0);
        set_nonblocking(ends[0], rule->nonblocking);
        CHECK((before = fcntl(ends[0], F_GETFL)) >= 0);
        CHECK_INT(mln_event_fd_set(ev, ends[0], rule->flag, M_EV_UNLIMITED, NULL, NULL), rule->result);
        CHECK((after = fcntl(ends[0], F_GETFL)) >= 0);
        if (is_nonblocking(ends[0]) != rule->expected)
            fprintf(stderr, "rule %d\n", (int)i);
        CHECK_INT(is_nonblocking(ends[0]), rule->expected);
        CHECK_INT(after & ~O_NONBLOCK, before & ~O_NONBLOCK); /* and no other flag */
        CHECK_INT(mln_event_fd_set(ev, ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
        close_both(ends);
    }
    mln_event_free(ev);
    return 0;
}
