/*
 * A program may register the receive handlers itself, in blocking mode too, and call them when it likes: messages arrive
 * as ever, and a call that finds nothing returns.
 */
#include "ipc.h"

enum { WORD = 2000, BURST, HELLO, WORKERS = 2, WORDS = 3000 };

static int words[WORKERS], hellos, rounds;
static mln_fork_t *workers[WORKERS];

static int index_of(const mln_fork_t *f)
{
    for (int i = 0; i < WORKERS; ++i)
        if (workers[i] == f)
            return i;
    CHECK(!"one of the workers");
    return -1;
}

static void begin(mln_event_t *ev)
{
    mln_tcp_conn_t *conn = mln_fork_master_connection_get();

    CHECK_INT(mln_event_fd_set(ev, conn->sockfd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    CHECK_INT(mln_event_fd_set(ev, conn->sockfd, M_EV_RECV | M_EV_BLOCK, M_EV_UNLIMITED, NULL, mln_ipc_fd_handler_worker), 0);
    mln_ipc_fd_handler_worker(ev, conn->sockfd, NULL); /* there is nothing: it must not wait */
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
}

/* The master asks for a burst. */
static void send_burst(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    for (int i = 0; i < WORDS; ++i)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, WORD, &i, sizeof i), 0);
}

/* While this sleeps, workers send. */
static void sleep_a_little(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    usleep(100000);
}

/* Asks every worker for words, and gives them the time to send them. */
static void ask(mln_event_t *ev)
{
    for (int i = 0; i < WORKERS; ++i) {
        words[i] = 0;
        CHECK_INT(mln_ipc_master_send_prepare(ev, BURST, NULL, 0, workers[i]), 0);
    }
    CHECK(mln_event_timer_set(ev, 2, NULL, sleep_a_little) != NULL);
}

/*
 * In the middle of what one worker sent the master looks at the other, which has sent as much: in the first round once,
 * in the second again and again, and at the first one too, from within a handler of its message.
 */
static void on_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    int mine = index_of(f), other = !mine, i;

    (void)udata;
    CHECK_INT(len, sizeof i);
    memcpy(&i, buf, sizeof i);
    CHECK_INT(i, words[mine]);
    ++words[mine];
    if (rounds == 0 ? words[other] == 0 && i == 10 : i % 50 == 10)
        mln_ipc_fd_handler_master(ev, workers[other]->conn.sockfd, workers[other]);
    if (rounds > 0 && i % 50 == 20)
        mln_ipc_fd_handler_master(ev, workers[mine]->conn.sockfd, workers[mine]);
    if (words[0] < WORDS || words[1] < WORDS || i < WORDS - 1)
        return;
    if (++rounds == 1)
        ask(ev);
    else
        mln_event_break_set(ev);
}

static void on_hello(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)buf;
    (void)len;
    (void)udata;
    if (++hellos == WORKERS)
        ask(ev);
}

static void refuse(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
    fprintf(stderr, "%d and %d of %d words\n", words[0], words[1], WORDS);
    CHECK(!"all words in time");
}

int main(void)
{
    static const mln_u32_t flags[] = {M_EV_RECV | M_EV_NONBLOCK, M_EV_RECV};
    mln_event_timer_t *timer;
    mln_event_t *ev;

    handle(WORD, on_word, NULL);
    handle(BURST, NULL, send_burst);
    handle(HELLO, on_hello, NULL);
    ev = become_master();
    for (int i = 0; i < WORKERS; ++i) {
        int result = mln_fork_restart(NULL);

        CHECK(result >= 0);
        if (result == 0)
            work(ev, begin);
        workers[i] = last_worker(ev);
    }
    for (int i = 0; i < WORKERS; ++i) {
        int fd = workers[i]->conn.sockfd;

        CHECK_INT(mln_event_fd_set(ev, fd, flags[i], M_EV_UNLIMITED, workers[i], mln_ipc_fd_handler_master), 0);
    }
    timer = mln_event_timer_set(ev, 20000 * check_slowness(), NULL, refuse);
    dispatch(ev, begin);
    mln_event_timer_cancel(ev, timer);
    CHECK_INT(words[0], WORDS);
    CHECK_INT(words[1], WORDS);
    CHECK_INT(rounds, 2);
    mln_event_free(ev);
    return 0;
}
