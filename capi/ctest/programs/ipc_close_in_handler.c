/*
 * A handler may close the worker whose message it handles, another one, or all, and so may one that walks over the
 * workers: no message of a closed one follows, the message at hand stays as it is, and the others go on.
 *
 * env: MALLOC_PERTURB_=165
 */
#include "ipc.h"

enum { WORD = 2000, PEERS = 6, WORDS = 1000, SIZE = 24 };

enum scene { THE_SENDER, ANOTHER, ALL, WALK_SELF, WALK_NEXT, WALK_BEFORE, WALK_ALL, SCENES };

static enum scene scene;
static pid_t closed[PEERS];
static int n_closed, visited;
static int words[PEERS]; /* of those in this scene */
static pid_t pids[PEERS];
static mln_fork_t *peers[PEERS];

/* Many in one piece: the master has got the rest when it handles the first. */
static int peer(int fd)
{
    static char stream[WORDS * (8 + SIZE)];
    char payload[SIZE], *at = stream;

    for (uint32_t i = 0; i < WORDS; ++i) {
        fill(payload, SIZE, i);
        at = put_frame(at, WORD, payload, SIZE);
    }
    for (size_t done = 0; done < sizeof stream;) {
        ssize_t n = send(fd, stream + done, sizeof stream - done, MSG_NOSIGNAL);

        if (n < 0)
            return 0; /* it is closed */
        done += (size_t)n;
    }
    await_end(fd);
    return 0;
}

static int index_of(mln_fork_t *f)
{
    for (int i = 0; i < PEERS; ++i)
        if (pids[i] == f->pid)
            return i;
    CHECK(!"one of the peers");
    return -1;
}

static void close_one(mln_event_t *ev, mln_fork_t *f)
{
    for (int i = 0; i < n_closed; ++i)
        if (closed[i] == f->pid)
            return;
    closed[n_closed++] = f->pid;
    if (scene % 2 == 0)
        mln_socketpair_close_handler(ev, f, f->conn.sockfd);
    else
        mln_fork_socketpair_close_handler(ev, f, f->conn.sockfd);
}

static int close_each(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)data;
    close_one(ev, f);
    return 0;
}

static int walk(mln_event_t *ev, mln_fork_t *f, void *data)
{
    int i = index_of(f);

    (void)data;
    for (int k = 0; k < n_closed; ++k)
        CHECK(closed[k] != f->pid);
    ++visited;
    switch (scene) {
    case WALK_SELF:
        close_one(ev, f);
        break;
    case WALK_NEXT:
        if (i % 2 == 0)
            close_one(ev, peers[i + 1]);
        break;
    case WALK_BEFORE:
        if (i > 0)
            close_one(ev, peers[i - 1]);
        break;
    default:
        CHECK_INT(mln_fork_iterate(ev, close_each, NULL), 0);
        CHECK_INT(worker_count(ev), 0);
    }
    return 0;
}

static void on_word(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    static const int left[] = {PEERS - 1, PEERS - 1, 0, 0, PEERS / 2, 1, 0};
    static const int visits[] = {0, 0, 0, PEERS, PEERS / 2, PEERS, 1};
    mln_fork_t *f = f_ptr;
    int i = index_of(f);
    uint64_t number = (uint64_t)words[i];

    (void)udata;
    for (int k = 0; k < n_closed; ++k)
        CHECK(closed[k] != f->pid);
    CHECK_INT(len, SIZE);
    CHECK(filled(buf, len, number));
    ++words[i];
    if (n_closed > 0) {
        if (words[i] == WORDS)
            mln_event_break_set(ev);
        return;
    }
    if (words[i] < WORDS / 2)
        return;
    switch (scene) {
    case THE_SENDER:
        close_one(ev, f);
        break;
    case ANOTHER:
        close_one(ev, peers[(i + 1) % PEERS]);
        break;
    case ALL:
        CHECK_INT(mln_fork_scan_all(ev, close_each, NULL), 0);
        break;
    default:
        CHECK_INT(mln_fork_scan_all(ev, walk, NULL), 0);
    }
    CHECK_INT(visited, visits[scene]);
    CHECK_INT(worker_count(ev), left[scene]);
    CHECK(filled(buf, len, number)); /* whatever has become of its sender */
    CHECK_INT(mln_fork_scan_all(ev, keep_last, &f), 0);
    if (left[scene] == 0)
        mln_event_break_set(ev);
}

static void look(mln_event_t *ev, void *data)
{
    if (child_count() == 0)
        mln_event_break_set(ev);
    else
        CHECK(mln_event_timer_set(ev, 5, data, look) != NULL);
}

int main(int argc, char **argv)
{
    mln_event_t *ev;

    if (argc > 1)
        return peer(atoi(argv[argc - 1]));
    handle(WORD, on_word, NULL);
    ev = become_master();
    for (scene = 0; scene < SCENES; ++scene) {
        n_closed = visited = 0;
        memset(words, 0, sizeof words);
        for (int i = 0; i < PEERS; ++i) {
            peers[i] = start_peer(ev, "peer");
            pids[i] = peers[i]->pid;
        }
        mln_event_break_reset(ev);
        mln_event_dispatch(ev);
        /* The rest goes in the usual way, and so do their processes. */
        CHECK_INT(mln_fork_scan_all(ev, close_each, NULL), 0);
        CHECK_INT(n_closed, PEERS);
        CHECK_INT(worker_count(ev), 0);
        mln_event_break_reset(ev);
        look(ev, NULL);
        mln_event_dispatch(ev);
    }
    mln_event_free(ev);
    return 0;
}
