/*
 * A master, its workers and programs that echo do whatever the API allows, in random order, from handlers inside handlers, while a
 * model watches: no message that was accepted is lost, doubled or out of order between two that live; a handler is called only while
 * it is registered, with the data it was registered with; and in the end no descriptor is left.
 *
 * For the arguments see random.h; a worker makes a quarter of the steps. Processes are not in step with each other, so a seed repeats
 * what they try, not when.
 *
 * deadline: 60s
 */
#include "ipc.h"
#include "random.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "mln_conf.h"
#include "mln_log.h"
#include "mln_path.h"

enum { MESSAGE = 2000, EMPTY, QUIT, DONE, ASIDE, SPARE };

enum {
    LIVES = 256, /* more than there can be processes in a run */
    WORKERS = 4,
    BIRTHS = 12, /* that the master brings about itself */
    DEATHS = 6,
    TIMERS = 8,
    PIPES = 4,
    DEPTH = 3,
    FORKS = 2, /* of plain children, by each process */
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
    atomic_int echoes; /* a program, which sends what it is sent and knows nothing of this */
    struct direction up, down, aside; /* aside: up as well, from another thread */
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

static struct life *life_of_worker(const mln_fork_t *f)
{
    struct life *l = life_of(f->pid);

    atomic_store(&l->echoes, f->etype == M_PET_EXE);
    return l;
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

static int steps_of_workers, quiet, depth, breaking, births, deaths, callback_set;
static struct life *mine; /* NULL in the master */
static struct timer timers[TIMERS];
static struct pipe pipes[PIPES];
static int plain_timers, signal_set, done_sent, forks, spare_set = 1;
static int refilled; /* the tables of handlers, since the last MESSAGE */
static unsigned raised, caught, left_over;
static long queue_limit;
static void *slot; /* of MESSAGE */
static mln_event_t *loops[DEPTH + 2]; /* that are on the stack */
static jmp_buf places[DEPTH + 2];     /* where they were dispatched */
static char payload[LARGEST];
static pthread_t thread;
static int thread_made;
static atomic_int thread_sends;
static long long last_progress;

static void act(mln_event_t *ev);
__attribute__((noreturn)) static void live(void);

/* Runs a loop until it is broken or left by a jump. What comes back may be another process: the successor of a worker. */
static void run(mln_event_t *ev)
{
    pid_t pid = getpid();

    if (setjmp(places[depth]) == 0)
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

/* Whether a message that was not taken may be refused: a full queue says EAGAIN; who is about to end may be gone. */
static void check_refusal(struct life *l)
{
    if (!atomic_load(&l->dead) && !(errno == EAGAIN && queue_limit > 0))
        CHECK_INT(errno, 0);
}

/* f is the worker; NULL: from a worker to its master. The result is 1, or 0 if the message was refused. */
static int send_type(mln_event_t *ev, mln_fork_t *f, mln_u32_t type, mln_u32_t size)
{
    struct life *l = f != NULL ? life_of_worker(f) : mine;
    struct direction *d = f != NULL ? &l->down : &l->up;
    unsigned number = atomic_load(&d->sent);

    if (size >= sizeof number) {
        memcpy(payload, &number, sizeof number);
        fill(payload + sizeof number, size - sizeof number, content(d, number));
    }
    if ((f != NULL ? mln_ipc_master_send_prepare(ev, type, payload, size, f)
                   : mln_ipc_worker_send_prepare(ev, type, payload, size)) != 0) {
        check_refusal(l);
        return 0;
    }
    if (type != SPARE) /* which nobody may want */
        atomic_fetch_add(&d->sent, 1);
    return 1;
}

static void send_some(mln_event_t *ev, mln_fork_t *f)
{
    /* While another thread sends, the queue is its as well. */
    if (!atomic_load(&thread_sends) && bytes_to_send(f != NULL ? &f->conn : mln_fork_master_connection_get()) > IN_FLIGHT)
        return;
    for (unsigned n = 1 + pick(20); n > 0; --n) {
        unsigned kind = pick(100);

        if (kind < 5)
            send_type(ev, f, EMPTY, 0);
        else if (kind < 8)
            send_type(ev, f, SPARE, pick(100));
        else
            send_type(ev, f, MESSAGE, 4 + pick(kind < 70 ? 100 : kind < 97 ? 5000 : LARGEST - 4));
    }
}

static struct life *received(void *f_ptr)
{
    struct life *l = mine != NULL ? mine : life_of_worker(f_ptr);

    CHECK(!atomic_load(&l->closed) || mine != NULL);
    atomic_fetch_add(mine != NULL ? &l->down.received : &l->up.received, 1);
    return l;
}

static void check_message(const struct direction *d, unsigned expected, const void *buf, mln_u32_t len)
{
    unsigned number;

    CHECK(len >= sizeof number);
    memcpy(&number, buf, sizeof number);
    if (number != expected)
        fprintf(stderr, "in %s, %d dispatches inside handlers\n", mine != NULL ? "a worker" : "the master", depth);
    CHECK_INT(number, expected);
    CHECK(filled((const char *)buf + sizeof number, len - sizeof number, content(d, number)));
}

static void on_message(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *l = received(f_ptr);
    const struct direction *came = mine != NULL ? &l->down : &l->up, *made = atomic_load(&l->echoes) ? &l->down : came;
    unsigned number = atomic_load(&came->received) - 1;

    if (!refilled || *udata != NULL) /* which it was registered with */
        CHECK_PTR(*udata, slot);
    refilled = 0;
    slot = *udata = payload + pick(100);
    check_message(made, number, buf, len);
    if (pick(8) == 0) {
        act(ev);
        check_message(made, number, buf, len); /* as long as its handler runs */
    }
}

static void on_aside(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *l = life_of_worker(f_ptr);

    (void)ev;
    (void)udata;
    check_message(&l->aside, atomic_fetch_add(&l->aside.received, 1), buf, len);
}

static void on_spare(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    (void)f_ptr;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK(spare_set);
    if (pick(8) == 0)
        act(ev);
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
    (void)ev;
    (void)buf;
    (void)len;
    (void)udata;
    (void)received(f_ptr);
    if (faulty("abort"))
        abort();
    quiet = 1;
}

/* Nothing is under way, in either direction. */
static void check_all(const struct life *l)
{
    int echoes = atomic_load(&l->echoes);

    CHECK_INT(atomic_load(&l->up.received), atomic_load(echoes ? &l->down.sent : &l->up.sent));
    CHECK_INT(atomic_load(&l->aside.received), atomic_load(&l->aside.sent));
    if (!echoes)
        CHECK_INT(atomic_load(&l->down.received), atomic_load(&l->down.sent));
}

/* In the master: the answer to QUIT; that of a program is QUIT. */
static void on_done(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct life *l = received(f_ptr);

    (void)ev;
    (void)buf;
    (void)len;
    (void)udata;
    CHECK(atomic_load(&l->told));
    check_all(l);
    atomic_store(&l->done, 1);
}

/* ---- another thread, which sends while this one dispatches and sends ---- */

static void *send_from_thread(void *data)
{
    static char bytes[5000];

    for (int n = *(int *)data; n > 0; --n) {
        unsigned number = atomic_load(&mine->aside.sent);
        size_t size = sizeof number + number * 97 % (sizeof bytes - sizeof number);

        memcpy(bytes, &number, sizeof number);
        fill(bytes + sizeof number, size - sizeof number, content(&mine->aside, number));
        atomic_fetch_add(&mine->aside.sent, 1); /* before it can arrive */
        if (mln_ipc_worker_send_prepare(loops[0], ASIDE, bytes, size) != 0) {
            atomic_fetch_sub(&mine->aside.sent, 1);
            check_refusal(mine);
        }
    }
    atomic_store(&thread_sends, 0);
    return NULL;
}

static void join_thread(void)
{
    if (thread_made)
        CHECK_INT(pthread_join(thread, NULL), 0);
    thread_made = 0;
}

static void start_thread(mln_event_t *ev)
{
    static int messages;

    (void)ev;
    if (mine == NULL || atomic_load(&thread_sends)) /* in a master a worker, and what leads to it, could end meanwhile */
        return;
    join_thread();
    messages = 1 + (int)pick(200);
    atomic_store(&thread_sends, 1);
    CHECK_INT(pthread_create(&thread, NULL, send_from_thread, &messages), 0);
    thread_made = 1;
}

/* ---- signals ---- */

static void on_signal(mln_event_t *ev, int signo, void *data)
{
    (void)ev;
    CHECK(signal_set);
    CHECK_INT(signo, SIGUSR1);
    CHECK_PTR(data, &signal_set);
    ++caught;
    CHECK(caught <= raised + left_over);
}

static void set_signal(mln_event_t *ev)
{
    if (ev != loops[0])
        return;
    signal_set = !signal_set;
    if (!signal_set) { /* what has been raised may still come, to a handler that is set later */
        left_over += raised - caught;
        raised = caught = 0;
    }
    CHECK_INT(mln_event_set_signal(ev, signal_set ? M_EV_SET : M_EV_UNSET, SIGUSR1, &signal_set, on_signal), 0);
}

static void raise_signal(mln_event_t *ev)
{
    (void)ev;
    if (!signal_set)
        return;
    ++raised;
    CHECK_INT(raise(SIGUSR1), 0);
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
    if (!faulty("forget"))
        mln_event_timer_cancel(ev, t->handle);
    t->handle = NULL;
}

static void on_plain_timer(mln_event_t *ev, void *data)
{
    CHECK_PTR(data, &plain_timers);
    CHECK(--plain_timers >= 0);
    act(ev);
}

/* One that cannot be taken back. */
static void set_plain_timer(mln_event_t *ev)
{
    if (ev != loops[0])
        return;
    ++plain_timers;
    CHECK_INT(mln_event_set_timer(ev, pick(4), &plain_timers, on_plain_timer), 0);
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

/* ---- the configuration and the log ---- */

static int conf_files[2]; /* a good one and a broken one; in memory, so that nothing is left of them */
static int conf_broken, reloads;
static mln_conf_hook_t *hook;

static char *conf_file(void)
{
    static char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", conf_files[conf_broken]);
    return path;
}

static void load_conf(void)
{
    CHECK((conf_files[0] = memfd_create("conf", MFD_CLOEXEC)) >= 0);
    CHECK((conf_files[1] = memfd_create("conf", MFD_CLOEXEC)) >= 0);
    dprintf(conf_files[0], "ipc_queue_limit %ld;\nworker_heartbeat 30000;\nworker_start_timeout 30000;\n", queue_limit);
    dprintf(conf_files[1], "ipc_queue_limit {\n");
    mln_path_hook_set(m_p_conf, conf_file);
    CHECK_INT(mln_conf_load(), 0);
}

static int on_reload(void *data)
{
    CHECK_PTR(data, &reloads);
    ++reloads;
    return 0;
}

static void change_hook(mln_event_t *ev)
{
    (void)ev;
    if (hook == NULL) {
        CHECK((hook = mln_conf_hook_set(on_reload, &reloads)) != NULL);
    } else {
        mln_conf_hook_unset(hook);
        hook = NULL;
    }
}

static void reload(mln_event_t *ev)
{
    int before = reloads;
    mln_conf_domain_t *domain;

    (void)ev;
    conf_broken = pick(4) == 0;
    CHECK_INT(mln_conf_reload(), conf_broken ? -1 : 0);
    CHECK_INT(reloads, before + (hook != NULL && !conf_broken));
    conf_broken = 0;
    CHECK((domain = mln_conf()->search(mln_conf(), "main")) != NULL);
    CHECK_INT(domain->search(domain, "ipc_queue_limit")->search(domain->search(domain, "ipc_queue_limit"), 1)->val.i, queue_limit);
}

static int logged;

static void on_log(mln_log_t *log, mln_log_level_t level, const char *file, const char *func, int line, char *fmt, va_list args)
{
    (void)log;
    (void)file;
    (void)line;
    (void)fmt;
    if (strcmp(func, "write_log") != 0) /* the library's own */
        return;
    CHECK_INT(level, error);
    CHECK_INT(va_arg(args, int), logged++);
}

static void write_log(mln_event_t *ev)
{
    mln_logger_t usual = mln_log_logger_get();
    int before = logged;

    (void)ev;
    mln_log_logger_set(on_log);
    mln_log(error, "%d\n", logged);
    CHECK_INT(logged, before + 1);
    mln_log_logger_set(usual);
}

/* ---- loops ---- */

static void break_it(mln_event_t *ev)
{
    mln_event_break_set(ev);
}

/* Until the dispatch returns. */
static void break_once(mln_event_t *ev)
{
    mln_event_set_break(ev);
}

/* Out of the handler that is running. */
static void jump(mln_event_t *ev)
{
    (void)ev;
    longjmp(places[depth], 1);
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
    if (pick(2)) {
        loops[depth] = NULL;
        mln_event_free(ev);
    } else {
        mln_event_break_set(ev);
    }
}

/* Another loop, which ends before the handler does, or in a handler of its own. */
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
    mln_event_free(loops[depth]);
    loops[depth--] = NULL;
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
    if (f != NULL && f->etype == M_PET_DFL && pick(16) == 0 &&
        mln_ipc_master_send_prepare(loops[0], M_IPC_CONF_RELOAD, NULL, 0, f) != 0)
        check_refusal(life_of_worker(f));
}

static int visit(mln_event_t *ev, mln_fork_t *f, void *data)
{
    int *left = data;

    CHECK(!atomic_load(&life_of_worker(f)->closed));
    send_some(ev, f);
    return --*left < 0 ? -1 : 0;
}

static void iterate(mln_event_t *ev)
{
    int left = (int)pick(WORKERS + 2), before = left, n = worker_count(loops[0]);

    (void)ev;
    if (mine == NULL)
        CHECK_INT(pick(2) ? mln_fork_iterate(loops[0], visit, &left) : mln_fork_scan_all(loops[0], visit, &left),
                  before < n ? -1 : 0);
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

/* A program that echoes: this one, see main. */
static void start_program(mln_event_t *ev)
{
    static char program[] = "/proc/self/exe", role[] = "echo";
    mln_s8ptr_t *args;

    (void)ev;
    if (mine != NULL || births == BIRTHS || worker_count(loops[0]) >= WORKERS)
        return;
    ++births;
    CHECK((args = calloc(2, sizeof *args)) != NULL);
    args[0] = program;
    args[1] = role;
    CHECK_INT(mln_fork_spawn(pick(2) ? M_PST_SUP : M_PST_DFL, args, 2, loops[0]), 0);
}

/* Until the master hangs up, which it may do at any time. */
static int echo(int fd)
{
    uint32_t header[2];
    char *frame = malloc(sizeof header + LARGEST);

    CHECK(frame != NULL);
    while (read_bytes(fd, header, sizeof header)) {
        size_t size = sizeof header - 4 + header[0];

        CHECK(size <= sizeof header + LARGEST);
        memcpy(frame, header, sizeof header);
        if (!read_bytes(fd, frame + sizeof header, size - sizeof header))
            break;
        for (size_t at = 0; at < size;) {
            ssize_t n = send(fd, frame + at, size - at, MSG_NOSIGNAL);

            if (n < 0) {
                CHECK(errno == EPIPE || errno == ECONNRESET);
                return 0;
            }
            at += (size_t)n;
        }
    }
    free(frame);
    return 0;
}

/* A process of the program's own, which has nothing to do with workers and may use loops. */
__attribute__((noreturn)) static void plain_child(void)
{
    mln_event_t *ev;

    errno = 0;
    CHECK(mln_event_timer_set(loops[0], 0, NULL, break_loop) == NULL);
    CHECK_INT(errno, ESTALE);
    for (int i = 0; i <= DEPTH; ++i)
        mln_event_free(loops[i]);
    if (pick(2)) {
        CHECK((ev = mln_event_new()) != NULL);
        CHECK(mln_event_timer_set(ev, pick(3), NULL, break_loop) != NULL);
        mln_event_dispatch(ev);
        mln_event_free(ev);
    }
    if (pick(2))
        exit(0);
    _exit(0);
}

static void fork_plainly(mln_event_t *ev)
{
    pid_t child;
    int status;

    (void)ev;
    if (forks == FORKS)
        return;
    ++forks;
    CHECK((child = fork()) >= 0);
    if (child == 0)
        plain_child();
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
}

static mln_fork_t *victim(void)
{
    mln_fork_t *f = mine == NULL && deaths < DEATHS ? some_worker() : NULL;

    if (f != NULL) {
        ++deaths;
        atomic_store(&life_of_worker(f)->dead, 1);
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
    slot = payload + pick(100);
    refilled = 0;
    CHECK_INT(mine == NULL ? mln_fork_master_ipc_handler_set(MESSAGE, on_message, slot)
                           : mln_fork_worker_ipc_handler_set(MESSAGE, on_message, slot), 0);
}

/* What comes without a handler is dropped. */
static void change_spare(mln_event_t *ev)
{
    ipc_handler handler;

    (void)ev;
    spare_set = !spare_set;
    handler = spare_set ? on_spare : NULL;
    CHECK_INT(mine == NULL ? mln_fork_master_ipc_handler_set(SPARE, handler, NULL)
                           : mln_fork_worker_ipc_handler_set(SPARE, handler, NULL), 0);
}

/* Registrations come and go; they count when the tables are filled. */
static void register_another(mln_event_t *ev)
{
    mln_ipc_cb_t *registration;

    (void)ev;
    if (mine != NULL)
        return;
    CHECK((registration = mln_ipc_handler_register(SPARE, on_spare, on_spare, NULL, NULL)) != NULL);
    if (pick(2)) {
        CHECK_INT(mln_ipc_set_process_handlers(), 0);
        refilled = 1;
        spare_set = 1;
    }
    mln_ipc_handler_unregister(registration);
}

/* ---- steps ---- */

/* The bit of a kind in the mask is that of its place. */
static void (*const kinds[])(mln_event_t *) = {
    send_step, set_timer, cancel_timer, change_callback, set_descriptor, clear_descriptor, replace_descriptors, exchange, break_it,
    dispatch_inside, dispatch_other, iterate, start_another, kill_worker, close_worker, leave, change_handler,
    start_thread, set_signal, raise_signal, set_plain_timer, change_hook, reload, write_log, break_once, jump, start_program,
    fork_plainly, change_spare, register_another,
};

enum { KINDS = sizeof kinds / sizeof *kinds };

static void act(mln_event_t *ev)
{
    for (unsigned n = 1 + pick(3); n > 0 && steps > 0 && !quiet; --n)
        kinds[next_kind()](ev);
}

static int tell_to_quit(mln_event_t *ev, mln_fork_t *f, void *data)
{
    struct life *l = life_of_worker(f);

    if (!atomic_load(&l->told))
        atomic_store(&l->told, send_type(ev, f, QUIT, 0));
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
            check_all(l);
            continue;
        }
        ++waiting;
        if (late)
            fprintf(stderr, "worker %d is not done: it got %u of %u messages, and its master %u of %u\n", pid,
                    atomic_load(&l->down.received), atomic_load(&l->down.sent), atomic_load(&l->up.received), atomic_load(&l->up.sent));
    }
    CHECK(!late);
    return waiting == 0 && caught >= raised;
}

/* What keeps things going. */
static void pulse(mln_event_t *ev, void *data)
{
    check_children();
    CHECK(mln_event_timer_set(ev, quiet ? 5 : pick(3), data, pulse) != NULL); /* first: a step may jump out of this */
    if (!quiet)
        act(ev);
    if (mine == NULL && steps == 0) {
        quiet = 1;
        if (finished()) {
            breaking = 1;
            mln_event_break_set(ev);
        }
    }
    if (mine != NULL && quiet && !done_sent && caught >= raised) {
        join_thread();
        done_sent = send_type(ev, NULL, DONE, 0);
    }
}

static void begin(mln_event_t *ev)
{
    loops[0] = ev;
    for (int i = 0; i < PIPES; ++i)
        open_pipe(&pipes[i]);
    CHECK(mln_event_timer_set(ev, 0, NULL, pulse) != NULL);
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
    depth = quiet = breaking = callback_set = plain_timers = signal_set = done_sent = forks = conf_broken = 0;
    raised = caught = left_over = 0;
    slot = NULL;
    refilled = 0;
    spare_set = 1;
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

    if (argc > 1 && strcmp(argv[1], "echo") == 0)
        return echo(atoi(argv[argc - 1]));
    begin_random(argc, argv, 400, KINDS);
    steps_of_workers = steps / 4;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    queue_limit = pick(2) ? 1000 * (long)pick(4000) : 0;
    load_conf();
    watch_children();
    handle(MESSAGE, on_message, on_message);
    handle(EMPTY, on_empty, on_empty);
    handle(QUIT, on_done, on_quit);
    handle(DONE, on_done, NULL);
    handle(ASIDE, on_aside, NULL);
    handle(SPARE, on_spare, on_spare);
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
