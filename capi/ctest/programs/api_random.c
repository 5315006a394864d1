/*
 * A master and its workers do whatever the API allows, in random order, from handlers inside handlers, while a model watches: no
 * message that was accepted is lost, doubled or out of order between two that live; a handler is called only while it is registered,
 * with the data it was registered with; and in the end no descriptor is left.
 *
 * The arguments are a seed, how many steps the master makes (a worker makes a quarter), and a mask of the kinds of steps to leave out;
 * all have defaults, and the seed is printed. Processes are not in step with each other, so a seed repeats what they try, not when. A
 * fourth argument names a fault to plant, so that finding it can be tested.
 *
 * deadline: 60s
 */
#include "ipc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { MESSAGE = 2000, EMPTY, QUIT, DONE };

enum {
    LIVES = 256, /* more than there can be processes in a run */
    WORKERS = 4,
    BIRTHS = 12, /* that the master brings about itself */
    DEATHS = 6,
    TIMERS = 8,
    PIPES = 4,
    DEPTH = 3,
    LARGEST = 300000,
    IN_FLIGHT = 8 << 20,
    SILENCE_MS = 10000
};

/* ---- what all processes know, in shared memory ---- */

struct direction {
    atomic_uint sent, received;
};

/* A worker's life, found by its pid. */
struct life {
    atomic_int pid;
    atomic_int dead;   /* it is to end before the rest, and what is under way may be lost */
    atomic_int closed; /* by the master: nothing more may come of it */
    atomic_int told, done;
    struct direction up, down;
};

static struct {
    struct life lives[LIVES];
    atomic_int born;
} *shared;

static struct life *life_of(pid_t pid)
{
    for (unsigned i = (unsigned)pid % LIVES;; i = (i + 1) % LIVES) {
        struct life *l = &shared->lives[i];
        int nobody = 0;

        if (atomic_load(&l->pid) == pid || atomic_compare_exchange_strong(&l->pid, &nobody, pid) || nobody == pid)
            return l;
    }
}

/* ---- what one process knows ---- */

struct timer {
    mln_event_timer_t *handle; /* NULL: there is none */
    long long due;
};

struct end {
    int fd, armed, once, timeout;
};

struct pipe {
    struct end read, write;
    unsigned in, out; /* bytes so far */
};

static uint64_t seed, whims;
static unsigned left_out;
static const char *planted = "";
static int steps, steps_of_workers, quiet, depth, breaking, births, deaths, callback_set;
static struct life *mine; /* NULL in the master */
static struct timer timers[TIMERS];
static struct pipe pipes[PIPES];
static mln_event_t *loops[DEPTH + 2]; /* that are on the stack */
static char payload[LARGEST];
static long long last_progress;

static void act(mln_event_t *ev);
__attribute__((noreturn)) static void live(void);

static unsigned pick(unsigned n)
{
    return (unsigned)(random_number(&whims) % n);
}

/* Runs a loop. What comes back may be another process: the successor of a worker. */
static void run(mln_event_t *ev)
{
    pid_t pid = getpid();

    mln_event_dispatch(ev);
    if (getpid() != pid)
        live();
}

/* ---- workers that end otherwise than they should ---- */

static volatile sig_atomic_t failed; /* a worker's pid */
static siginfo_t failure;

/* With the master gone or its channel closed, a worker ends with 127; what does not end then is killed. */
static int legal(const struct life *l, const siginfo_t *end)
{
    if (!atomic_load(&l->dead))
        return 0;
    return end->si_code == CLD_EXITED ? end->si_status == 0 || end->si_status == 127
                                      : end->si_status == SIGKILL || end->si_status == SIGTERM;
}

/*
 * Looks at the end of workers before the library waits for them, which it does later on this thread: a check that failed in one would
 * otherwise be noticed only when nothing had come of it for so long that there must be something wrong.
 */
static void on_child(int signo)
{
    int saved = errno;

    (void)signo;
    for (int i = 0; mine == NULL && i < LIVES; ++i) {
        int pid = atomic_load(&shared->lives[i].pid);
        siginfo_t end = {.si_pid = 0};

        if (pid != 0 && waitid(P_PID, (id_t)pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid == pid &&
            !legal(&shared->lives[i], &end)) {
            failure = end;
            failed = pid;
        }
    }
    errno = saved;
}

static void watch_children(void)
{
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART | SA_ONSTACK};

    CHECK_INT(sigaction(SIGCHLD, &action, NULL), 0);
}

static void check_children(void)
{
    if (failed == 0)
        return;
    fprintf(stderr, "worker %d %s %d, and should not have ended like that\n", (int)failed,
            failure.si_code == CLD_EXITED ? "exited with status" : "was ended by signal", failure.si_status);
    CHECK_INT(failed, 0);
}

/* ---- messages ---- */

static uint64_t content(const struct direction *d, unsigned number)
{
    return seed ^ (uint64_t)number << 20 ^ (uint64_t)((const char *)d - (const char *)shared);
}

/* f is the worker; NULL: from a worker to its master. */
static void send_type(mln_event_t *ev, mln_fork_t *f, mln_u32_t type, mln_u32_t size)
{
    struct life *l = f != NULL ? life_of(f->pid) : mine;
    struct direction *d = f != NULL ? &l->down : &l->up;
    unsigned number = atomic_load(&d->sent);
    int result;

    if (size >= sizeof number) {
        memcpy(payload, &number, sizeof number);
        fill(payload + sizeof number, size - sizeof number, content(d, number));
    }
    result = f != NULL ? mln_ipc_master_send_prepare(ev, type, payload, size, f)
                       : mln_ipc_worker_send_prepare(ev, type, payload, size);
    if (result == 0)
        atomic_fetch_add(&d->sent, 1);
    else if (!atomic_load(&l->dead))
        CHECK_INT(errno, 0);
}

static void send_some(mln_event_t *ev, mln_fork_t *f)
{
    if (bytes_to_send(f != NULL ? &f->conn : mln_fork_master_connection_get()) > IN_FLIGHT)
        return;
    for (unsigned n = 1 + pick(20); n > 0; --n) {
        unsigned kind = pick(100);

        if (kind < 5)
            send_type(ev, f, EMPTY, 0);
        else
            send_type(ev, f, MESSAGE, 4 + pick(kind < 70 ? 100 : kind < 97 ? 5000 : LARGEST - 4));
    }
}

static struct life *received(void *f_ptr)
{
    mln_fork_t *f = f_ptr;
    struct life *l = mine != NULL ? mine : life_of(f->pid);

    CHECK(!atomic_load(&l->closed) || mine != NULL);
    atomic_fetch_add(mine != NULL ? &l->down.received : &l->up.received, 1);
    return l;
}

static void on_message(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *l = received(f_ptr);
    struct direction *d = mine != NULL ? &l->down : &l->up;
    unsigned number;

    (void)udata;
    CHECK(len >= sizeof number);
    memcpy(&number, buf, sizeof number);
    if (number != atomic_load(&d->received) - 1)
        fprintf(stderr, "in %s, %d dispatches inside handlers\n", mine != NULL ? "a worker" : "the master", depth);
    CHECK_INT(number, atomic_load(&d->received) - 1);
    CHECK(filled((char *)buf + sizeof number, len - sizeof number, content(d, number)));
    if (pick(8) == 0) {
        act(ev);
        CHECK(filled((char *)buf + sizeof number, len - sizeof number, content(d, number))); /* as long as its handler runs */
    }
}

static void on_empty(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)udata;
    CHECK_INT(len, 0);
    (void)received(f_ptr);
    if (pick(8) == 0)
        act(ev);
}

static void on_quit(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    (void)received(f_ptr);
    if (strcmp(planted, "abort") == 0)
        abort();
    quiet = 1;
    send_type(ev, NULL, DONE, 0);
}

static void on_done(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *l = received(f_ptr);

    (void)ev;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK(atomic_load(&l->told));
    CHECK_INT(atomic_load(&l->down.received), atomic_load(&l->down.sent));
    atomic_store(&l->done, 1);
}

/* ---- timers and the callback ---- */

static void on_timer(mln_event_t *ev, void *data)
{
    struct timer *t = data;

    CHECK(t >= timers && t < timers + TIMERS && t->handle != NULL);
    CHECK(now_ms() >= t->due - 1); /* its milliseconds began within one of this clock */
    t->handle = NULL;
    act(ev);
}

static void set_timer(mln_event_t *ev)
{
    struct timer *t = &timers[pick(TIMERS)];
    unsigned ms = pick(4);

    if (t->handle != NULL || ev != loops[0]) /* the timers of a loop end with it */
        return;
    t->due = now_ms() + ms;
    CHECK((t->handle = mln_event_timer_set(ev, ms, t, on_timer)) != NULL);
}

static void cancel_timer(mln_event_t *ev)
{
    struct timer *t = &timers[pick(TIMERS)];

    if (t->handle == NULL || ev != loops[0])
        return;
    if (strcmp(planted, "forget") != 0)
        mln_event_timer_cancel(ev, t->handle);
    t->handle = NULL;
}

static void on_callback(mln_event_t *ev, void *data)
{
    CHECK(callback_set);
    CHECK_PTR(data, &callback_set);
    if (pick(16) == 0)
        act(ev);
}

static void change_callback(mln_event_t *ev)
{
    if (ev != loops[0])
        return;
    callback_set = !callback_set;
    mln_event_callback_set(ev, callback_set ? on_callback : NULL, &callback_set);
}

/* ---- descriptors ---- */

static void called(struct end *e, int fd)
{
    CHECK_INT(fd, e->fd);
    CHECK(e->armed);
    e->armed = !e->once;
    e->timeout = 0;
}

static void on_readable(mln_event_t *ev, int fd, void *data)
{
    struct pipe *p = data;
    unsigned char bytes[200];
    ssize_t n;

    called(&p->read, fd);
    n = read(fd, bytes, 1 + pick(sizeof bytes));
    CHECK(n > 0 || errno == EAGAIN);
    for (ssize_t i = 0; i < n; ++i)
        CHECK_INT(bytes[i], p->in++ % 256);
    if (pick(4) == 0)
        act(ev);
}

static void on_writable(mln_event_t *ev, int fd, void *data)
{
    struct pipe *p = data;
    unsigned char bytes[200];
    unsigned n = 1 + pick(sizeof bytes);
    ssize_t written;

    called(&p->write, fd);
    for (unsigned i = 0; i < n; ++i)
        bytes[i] = (unsigned char)(p->out + i);
    written = write(fd, bytes, n);
    CHECK(written > 0 || errno == EAGAIN);
    p->out += written > 0 ? (unsigned)written : 0;
    if (pick(4) == 0)
        act(ev);
    if (p->write.fd == fd && (quiet || pick(8) == 0)) { /* or it would be called for ever */
        CHECK_INT(mln_event_fd_set(loops[0], fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
        p->write.armed = 0;
    }
}

static void on_timeout(mln_event_t *ev, int fd, void *data)
{
    struct pipe *p = data;

    CHECK_INT(fd, p->read.fd);
    CHECK(p->read.timeout);
    p->read.timeout = 0;
    act(ev);
}

static void open_pipe(struct pipe *p)
{
    int fds[2];

    CHECK_INT(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    *p = (struct pipe){.read.fd = fds[0], .write.fd = fds[1]};
}

static void set_descriptor(mln_event_t *ev)
{
    struct pipe *p = &pipes[pick(PIPES)];
    struct end *e = pick(2) ? &p->read : &p->write;
    int reads = e == &p->read, timeout = reads && pick(2) ? (int)pick(4) : M_EV_UNLIMITED;
    mln_u32_t once = pick(2) ? M_EV_ONESHOT : 0, append = pick(3) == 0 ? M_EV_APPEND : 0;

    if (ev != loops[0])
        return;
    CHECK_INT(mln_event_fd_set(ev, e->fd, (reads ? M_EV_RECV : M_EV_SEND) | M_EV_NONBLOCK | once | append, timeout, p,
                               reads ? on_readable : on_writable), 0);
    *e = (struct end){.fd = e->fd, .armed = 1, .once = once != 0, .timeout = timeout >= 0};
    if (reads)
        mln_event_fd_timeout_handler_set(ev, e->fd, p, on_timeout);
}

static void clear_descriptor(mln_event_t *ev)
{
    struct pipe *p = &pipes[pick(PIPES)];
    struct end *e = pick(2) ? &p->read : &p->write;

    if (ev != loops[0])
        return;
    CHECK_INT(mln_event_fd_set(ev, e->fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    e->armed = e->timeout = 0;
}

/* Others come to have the same numbers at once. */
static void replace_descriptors(mln_event_t *ev)
{
    struct pipe *p = &pipes[pick(PIPES)];

    if (ev != loops[0])
        return;
    CHECK_INT(mln_event_fd_set(ev, p->read.fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    CHECK_INT(mln_event_fd_set(ev, p->write.fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    close(p->read.fd);
    close(p->write.fd);
    open_pipe(p);
}

static void close_pipes(void)
{
    for (int i = 0; i < PIPES; ++i) {
        close(pipes[i].read.fd);
        close(pipes[i].write.fd);
    }
}

/* ---- connections ---- */

static void exchange(mln_event_t *ev)
{
    mln_tcp_conn_t from, to;
    size_t size = 1 + pick(2000), arrived = 0;
    uint64_t what = random_number(&whims);
    mln_alloc_t *pool;
    char bytes[2000];
    int fds[2];

    (void)ev;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    CHECK_INT(mln_tcp_conn_init(&from, fds[0]), 0);
    CHECK_INT(mln_tcp_conn_init(&to, fds[1]), 0);
    pool = mln_tcp_conn_pool_get(&from);
    fill(bytes, size, what);
    for (size_t at = 0, n; at < size; at += n) {
        mln_chain_t *node = mln_chain_new_with_buf(pool);

        n = 1 + pick((unsigned)(size - at));
        CHECK(node != NULL);
        CHECK((node->buf->start = mln_alloc_m(pool, n)) != NULL);
        memcpy(node->buf->start, bytes + at, n);
        node->buf->pos = node->buf->left_pos = node->buf->start;
        node->buf->last = node->buf->end = node->buf->start + n;
        node->buf->in_memory = node->buf->last_buf = 1;
        node->buf->last_in_chain = at + n == size;
        mln_tcp_conn_append(&from, node, M_C_SEND);
    }
    CHECK_INT(mln_tcp_conn_send(&from), M_C_FINISH);
    CHECK(mln_tcp_conn_send_empty(&from));
    CHECK_INT(mln_tcp_conn_recv(&to, M_C_TYPE_MEMORY), M_C_NOTYET);
    memset(bytes, 0, sizeof bytes);
    for (mln_chain_t *node = mln_tcp_conn_head(&to, M_C_RECV); node != NULL; node = node->next) {
        size_t n = (size_t)mln_buf_left_size(node->buf);

        CHECK(arrived + n <= size);
        memcpy(bytes + arrived, node->buf->left_pos, n);
        arrived += n;
    }
    CHECK_INT(arrived, size);
    CHECK(filled(bytes, size, what));
    mln_tcp_conn_destroy(&from);
    mln_tcp_conn_destroy(&to);
    close(fds[0]);
    close(fds[1]);
}

/* ---- loops ---- */

static void break_it(mln_event_t *ev)
{
    mln_event_break_set(ev);
}

/* The loop of the handler that is running, inside that handler. */
static void dispatch_inside(mln_event_t *ev)
{
    if (depth == DEPTH || ev != loops[0])
        return;
    ++depth;
    CHECK(mln_event_timer_set(ev, pick(4), NULL, break_loop) != NULL);
    run(ev);
    mln_event_break_reset(ev);
    --depth;
    if (breaking)
        mln_event_break_set(ev);
}

static void other_on_timer(mln_event_t *ev, void *data)
{
    (void)data;
    act(ev);
    mln_event_break_set(ev);
}

/* Another loop, which ends before the handler does. */
static void dispatch_other(mln_event_t *ev)
{
    mln_event_t *other;

    (void)ev;
    if (depth == DEPTH)
        return;
    CHECK((other = mln_event_new()) != NULL);
    loops[++depth] = other;
    CHECK(mln_event_timer_set(other, pick(3), NULL, other_on_timer) != NULL);
    run(other);
    loops[depth--] = NULL;
    mln_event_free(other);
}

/* ---- workers ---- */

static mln_fork_t *some_worker(void)
{
    mln_fork_t *f = NULL;
    int n = worker_count(loops[0]);

    if (n > 0)
        for (f = last_worker(loops[0]), n = (int)pick((unsigned)n); n > 0 && f->prev != NULL; --n)
            f = f->prev;
    return f;
}

static void send_step(mln_event_t *ev)
{
    mln_fork_t *f = mine == NULL ? some_worker() : NULL;

    (void)ev;
    if (mine != NULL || f != NULL)
        send_some(loops[0], f);
}

static int visit(mln_event_t *ev, mln_fork_t *f, void *data)
{
    int *left = data;

    CHECK(!atomic_load(&life_of(f->pid)->closed));
    send_some(ev, f);
    return --*left < 0 ? -1 : 0;
}

static void iterate(mln_event_t *ev)
{
    int left = (int)pick(WORKERS + 2), before = left, n = worker_count(loops[0]);

    (void)ev;
    if (mine == NULL)
        CHECK_INT(mln_fork_iterate(loops[0], visit, &left), before < n ? -1 : 0);
}

static void start_another(mln_event_t *ev)
{
    int result;

    (void)ev;
    if (mine != NULL || births == BIRTHS || worker_count(loops[0]) >= WORKERS)
        return;
    ++births;
    CHECK((result = mln_fork_restart(loops[0])) >= 0);
    if (result == 0)
        live();
}

static mln_fork_t *victim(void)
{
    mln_fork_t *f = mine == NULL && deaths < DEATHS ? some_worker() : NULL;

    if (f != NULL) {
        ++deaths;
        atomic_store(&life_of(f->pid)->dead, 1);
    }
    return f;
}

static void kill_worker(mln_event_t *ev)
{
    mln_fork_t *f = victim();

    (void)ev;
    if (f != NULL)
        CHECK_INT(kill(f->pid, SIGKILL), 0);
}

static void close_worker(mln_event_t *ev)
{
    mln_fork_t *f = victim();

    (void)ev;
    if (f == NULL)
        return;
    atomic_store(&life_of(f->pid)->closed, 1);
    mln_fork_socketpair_close_handler(loops[0], f, f->conn.sockfd);
}

static void leave(mln_event_t *ev)
{
    (void)ev;
    if (mine == NULL || pick(30) != 0)
        return;
    atomic_store(&mine->dead, 1);
    exit(0);
}

static void change_handler(mln_event_t *ev)
{
    (void)ev;
    CHECK_INT(mine == NULL ? mln_fork_master_ipc_handler_set(MESSAGE, on_message, NULL)
                           : mln_fork_worker_ipc_handler_set(MESSAGE, on_message, NULL), 0);
}

/* ---- steps ---- */

/* The bit of a kind in the mask is that of its place. */
static void (*const kinds[])(mln_event_t *) = {
    send_step, set_timer, cancel_timer, change_callback, set_descriptor, clear_descriptor, replace_descriptors, exchange, break_it,
    dispatch_inside, dispatch_other, iterate, start_another, kill_worker, close_worker, leave, change_handler,
};

enum { KINDS = sizeof kinds / sizeof *kinds };

static unsigned kept[KINDS], n_kept;

static void choose_kinds(void)
{
    CHECK(left_out >> KINDS == 0);
    for (unsigned kind = 0; kind < KINDS; ++kind)
        if ((left_out >> kind & 1) == 0)
            kept[n_kept++] = kind;
    if (n_kept == 0)
        steps = 0;
}

static void act(mln_event_t *ev)
{
    for (unsigned n = 1 + pick(3); n > 0 && steps > 0 && !quiet; --n) {
        --steps;
        kinds[kept[pick(n_kept)]](ev);
    }
}

static int tell_to_quit(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct life *l = life_of(f->pid);

    if (!atomic_load(&l->told)) {
        atomic_store(&l->told, 1);
        send_type(ev, f, QUIT, 0);
    }
    *(int *)data += !atomic_load(&l->done) && !atomic_load(&l->dead);
    return 0;
}

/* In the master, when it makes no more steps: whether every worker that lived on has had everything, and its master, too. */
static int finished(void)
{
    static unsigned long long progress;
    unsigned long long so_far = 1;
    int waiting = 0, late;

    CHECK_INT(mln_fork_iterate(loops[0], tell_to_quit, &waiting), 0);
    for (int i = 0; i < LIVES; ++i)
        so_far += atomic_load(&shared->lives[i].up.received) + atomic_load(&shared->lives[i].down.received);
    if (so_far != progress)
        last_progress = now_ms();
    progress = so_far;
    late = now_ms() - last_progress > SILENCE_MS;
    for (int i = 0; i < LIVES; ++i) {
        struct life *l = &shared->lives[i];
        int pid = atomic_load(&l->pid);

        if (pid == 0 || atomic_load(&l->dead))
            continue;
        if (atomic_load(&l->done)) {
            CHECK_INT(atomic_load(&l->up.received), atomic_load(&l->up.sent));
            CHECK_INT(atomic_load(&l->down.received), atomic_load(&l->down.sent));
            continue;
        }
        ++waiting;
        if (late)
            fprintf(stderr, "worker %d is not done: it got %u of %u messages, and its master %u of %u\n", pid,
                    atomic_load(&l->down.received), atomic_load(&l->down.sent), atomic_load(&l->up.received), atomic_load(&l->up.sent));
    }
    CHECK(!late);
    return waiting == 0;
}

/* What keeps things going. */
static void pulse(mln_event_t *ev, void *data)
{
    check_children();
    if (!quiet)
        act(ev);
    if (mine == NULL && steps == 0) {
        quiet = 1;
        if (finished()) {
            breaking = 1;
            mln_event_break_set(ev);
            return;
        }
    }
    CHECK(mln_event_timer_set(ev, quiet ? 5 : pick(3), data, pulse) != NULL);
}

static void begin(mln_event_t *ev)
{
    loops[0] = ev;
    for (int i = 0; i < PIPES; ++i)
        open_pipe(&pipes[i]);
    pulse(ev, NULL);
}

/* In a child, wherever in its master it was made: its life. */
static void live(void)
{
    mln_event_t *ev;

    close_pipes();
    for (int i = 0; i <= DEPTH; ++i) {
        mln_event_free(loops[i]);
        loops[i] = NULL;
    }
    memset(timers, 0, sizeof timers);
    depth = quiet = breaking = callback_set = 0;
    steps = steps_of_workers;
    whims = seed + 1000003 * (uint64_t)(1 + atomic_fetch_add(&shared->born, 1));
    mine = life_of(getpid());
    CHECK((ev = mln_event_new()) != NULL);
    mln_fork_worker_events_set(ev);
    begin(ev);
    for (;;) {
        run(ev);
        mln_event_break_reset(ev);
    }
}

int main(int argc, char **argv)
{
    mln_event_t *ev;
    int before;

    seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
    steps = argc > 2 ? atoi(argv[2]) : 400;
    left_out = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 0;
    planted = argc > 4 ? argv[4] : "";
    choose_kinds();
    steps_of_workers = steps / 4;
    printf("seed %llu, %d steps, without 0x%x\n", (unsigned long long)seed, steps, left_out);
    fflush(stdout);
    whims = seed;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    watch_children();
    handle(MESSAGE, on_message, on_message);
    handle(EMPTY, on_empty, on_empty);
    handle(QUIT, NULL, on_quit);
    handle(DONE, on_done, NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    before = fd_count();
    CHECK((ev = mln_event_new()) != NULL);
    begin(ev);
    start_another(ev);
    mln_fork_master_events_set(ev);
    while (!breaking) {
        run(ev);
        mln_event_break_reset(ev);
    }
    mln_event_free(ev);
    close_pipes();
    /* Of each worker there is a channel, unless it was closed, and a pidfd, until it is waited for. */
    CHECK_INT(fd_count(), before + worker_count(NULL) + child_count());
    return 0;
}
