/*
 * worker.c - the processes of a master: forking and executing them, and what happens when they end.
 *
 * When one is started again, and after how long a wait, is decided by the engine (core/fork); the forks are made here,
 * with no Go frame on the stack.
 */
#include "worker.h"

#include "channel.h"
#include "handlers.h"
#include "lock.h"
#include "log.h"
#include "process.h"
#include "standard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How long a program may take from fork to exec before the master goes on without knowing; and the next one after one that took longer. */
enum { EXEC_WAIT_MS = 5000, EXEC_WAIT_NEXT_MS = 100 };

/*
 * As many descriptors a process has at most, unless the system was told otherwise (fs.nr_open). The process's own limit says nothing of
 * those that were opened before it was lowered, and may be a thousand times as high, for which nobody can wait.
 */
enum { DESCRIPTORS_MOST = 1 << 20 };

/* How long workers may take to end when their master has no more use for them, and then to be killed, which a busy host delays. */
enum { END_WAIT_MS = 1000, KILL_WAIT_MS = 4000 };

static struct worker *workers;                /* every process, and those that wait to be started again */
static mln_fork_t *first_channel, *last_channel; /* what the program sees: the live ones, oldest first */
static struct launch *launches;               /* what is being started */
static mln_u64_t serials;

/*
 * Over these lists, and over the descriptors that are in them: a fork in another thread, of the program's own, finds them sound, and
 * its child closes what it finds. Innermost but for the locks of channels: nothing is called that logs, or that the program has written.
 */
static uint32_t *const lock = &process_locks[LOCK_WORKERS];

static clr_handler clear_handler;
static void *clear_data;
static sigset_t ignored_signals;
static sigset_t silenced; /* what this library has this process, or one that it was forked from, ignore */
static __thread struct launch *launching; /* what the fork under way in this thread is for */

void worker_silence(int signo)
{
    struct sigaction now;

    if (sigaction(signo, NULL, &now) == 0 && now.sa_handler == SIG_DFL && signal(signo, SIG_IGN) != SIG_ERR)
        sigaddset(&silenced, signo);
}

void worker_ignore_signal(int signo)
{
    sigaddset(&ignored_signals, signo);
}

void mln_set_resource_clear_handler(clr_handler handler, void *data)
{
    clear_handler = handler;
    clear_data = data;
}

void mln_fork_resource_clear_handler_set(clr_handler handler, void *data)
{
    mln_set_resource_clear_handler(handler, data);
}

static int64_t milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void block_signals(sigset_t *before)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

/* ---- around every fork ---- */

uint32_t process_locks[LOCKS];
static sigset_t mask_before_fork; /* of the thread that forks; under the locks that are held around a fork */
static int owned[LOCKS];          /* by that thread, before it began to: a handler of a signal forks */

/* Signals wait: in the child, until what their handlers would run on is put right. */
void process_before_fork(void)
{
    sigset_t mask;

    block_signals(&mask);
    for (int i = 0; i < LOCKS; ++i)
        if (!(owned[i] = lock_acquire_unless_owned(&process_locks[i])))
            lock_keep(&process_locks[i]); /* hooks that the program has set before this library was loaded are still to run */
    mask_before_fork = mask;
    engine_before_fork(loop_handles_messages());
    if (engine_withheld() != 0 && launching == NULL) /* else nothing is forked in the end, and that is told */
        log_line(error, "a process is forked without the message that is being handled, and is killed if it looks at that: %s",
                 strerror(engine_withheld()));
}

void process_after_fork_parent(void)
{
    sigset_t mask = mask_before_fork;

    engine_after_fork_parent();
    for (int i = LOCKS - 1; i >= 0; --i)
        if (!owned[i])
            lock_release_kept(&process_locks[i]);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

void process_after_fork_child(void)
{
    for (int i = 0; i < LOCKS; ++i)
        lock_reset(&process_locks[i]); /* what a handler has interrupted is the parent's to finish */
    engine_after_fork_child();
    channel_after_fork_child();
    worker_after_fork_child();
    loop_after_fork_child();
    loop_signals_after_fork_child();
    pthread_sigmask(SIG_SETMASK, &mask_before_fork, NULL);
}

static void free_worker(struct worker *w)
{
    if (w->owns_strings)
        for (mln_u32_t i = 0; i < w->n_args; ++i)
            free(w->args[i]);
    free(w->args);
    free(w);
}

/* What a child needs of its start, made before the fork so that nothing can fail after it. */
struct launch {
    struct launch *prev, *next;
    int executes;  /* a program, in the child */
    int pair[2];   /* master's end, child's end */
    int status[2]; /* by which the child tells why it could not execute; -1, -1 for a plain worker */
    mln_fork_t *channel;
    char **argv;
    char **environment;
    char fd_text[16];
    char channel_text[128];
};

static void close_pair(int *pair)
{
    for (int i = 0; i < 2; ++i) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}

/*
 * The child holds copies of its siblings' channels: with one of them open nobody would ever see their end. What exec
 * follows is spared: every descriptor of the library is close-on-exec.
 */
void worker_after_fork_child(void)
{
    struct worker *w, *next;

    if (launching != NULL && launching->executes)
        return;
    if (launching != NULL)
        process_drop_output();
    for (struct launch *l = launches; l != NULL; l = l->next) {
        if (l == launching)
            continue;
        close_pair(l->pair); /* of another thread, which is not here to do it */
        close_pair(l->status);
    }
    if ((launches = launching) != NULL)
        launching->prev = launching->next = NULL;
    for (w = workers; w != NULL; w = next) {
        next = w->next;
        if (w->pidfd >= 0)
            close(w->pidfd);
        if (w->channel != NULL) {
            w->channel->priv->ev = NULL; /* its loop is the parent's */
            w->channel->priv->unsent = 0;
            channel_close(w->channel);
        }
        free_worker(w);
    }
    workers = NULL;
    first_channel = last_channel = NULL;
}

/* ---- the lists ---- */

static struct worker *new_worker(enum proc_exec_type etype, enum proc_state_type stype, mln_s8ptr_t *args, mln_u32_t n_args)
{
    struct worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->etype = etype;
    w->stype = stype;
    w->args = args;
    w->n_args = n_args;
    w->pidfd = -1;
    lock_acquire(lock);
    w->next = workers;
    if (workers != NULL)
        workers->prev = w;
    workers = w;
    lock_release(lock);
    return w;
}

static void unlink_worker(struct worker *w)
{
    lock_acquire(lock);
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        workers = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    lock_release(lock);
}

static const char *name_of(const struct worker *w)
{
    return w->etype == M_PET_EXE ? w->args[0] : "plain";
}

static void drop_worker(struct worker *w)
{
    const struct engine_table *go;

    if (w->ev != NULL && (go = loop_engine(w->ev)) != NULL)
        go->worker_forget(w->ev->handle, (uintptr_t)w);
    unlink_worker(w);
    free_worker(w);
}

/* The caller holds the lock. */
static void append_channel(struct worker *w, mln_fork_t *f)
{
    f->pid = w->pid;
    f->args = w->args;
    f->n_args = w->n_args;
    f->etype = w->etype;
    f->stype = w->stype;
    f->priv->worker = w;
    f->priv->serial = ++serials;
    f->prev = last_channel;
    if (last_channel != NULL)
        last_channel->next = f;
    else
        first_channel = f;
    last_channel = f;
    w->channel = f;
}

/* The node keeps its own `next`, so that whoever is walking over the list at this moment finds on. */
static void close_channel(struct worker *w)
{
    mln_fork_t *f = w->channel;

    if (f == NULL)
        return;
    channel_close(f);
    lock_acquire(lock);
    if (f->prev != NULL)
        f->prev->next = f->next;
    else
        first_channel = f->next;
    if (f->next != NULL)
        f->next->prev = f->prev;
    else
        last_channel = f->prev;
    w->channel = NULL;
    lock_release(lock);
}

static void close_pidfd(struct worker *w)
{
    lock_acquire(lock);
    close(w->pidfd);
    w->pidfd = -1;
    lock_release(lock);
}

int mln_fork_scan_all(mln_event_t *ev, scan_handler handler, void *data)
{
    uint64_t generation = engine_generation();
    mln_u64_t newest = serials;
    const char *frame = __builtin_frame_address(0);
    int result = 0;

    if (handler == NULL)
        return 0;
    channel_walk_begin(frame);
    for (mln_fork_t *f = first_channel; f != NULL && result >= 0; f = f->next) {
        if (f->priv->gone || f->priv->serial > newest)
            continue;
        result = handler(ev, f, data);
        if (generation != engine_generation()) /* the handler forked: the child has no workers */
            return 0;
    }
    channel_walk_end(frame);
    return result < 0 ? -1 : 0;
}

int mln_fork_iterate(mln_event_t *ev, fork_iterate_handler handler, void *data)
{
    return mln_fork_scan_all(ev, handler, data);
}

/* ---- watching ---- */

static int role_of(const struct worker *w)
{
    return (w->stype == M_PST_DFL ? ENGINE_WORKER_ONCE : 0) | (w->etype == M_PET_EXE ? ENGINE_WORKER_MUTE : 0);
}

int worker_watch(struct worker *w, mln_event_t *ev)
{
    const struct engine_table *go = loop_engine(ev), *other;
    int code;

    if (go == NULL)
        return -1;
    ev->serves = 1;
    if (w->ev != ev) {
        if (w->ev != NULL && (other = loop_engine(w->ev)) != NULL)
            other->worker_forget(w->ev->handle, (uintptr_t)w);
        w->ev = ev;
        w->watched = 0;
    }
    if (w->channel != NULL && channel_attach(ev, w->channel) != 0)
        return -1;
    if (w->watched)
        return 0;
    if (w->pidfd < 0) {
        go->worker_retry(ev->handle, (uintptr_t)w, role_of(w));
    } else if ((code = go->worker_watch(ev->handle, (uintptr_t)w, w->pid, w->pidfd, role_of(w))) < 0) {
        errno = -code;
        return -1;
    }
    w->watched = 1;
    return 0;
}

void worker_loop_gone(mln_event_t *ev)
{
    for (struct worker *w = workers; w != NULL; w = w->next) {
        /* Also of a worker that it does not watch: the program sent before it said who is to watch. */
        if (w->channel != NULL && w->channel->priv->ev == ev)
            channel_detach(w->channel);
        if (w->ev != ev)
            continue;
        w->ev = NULL;
        w->watched = 0;
    }
}

/* ---- starting ---- */

/* Its descriptors come to be known, or are gone, at once for a fork in another thread. */
static int open_launch(struct launch *launch)
{
    int result;

    lock_acquire(lock);
    result = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, launch->pair);
    if (result == 0 && launch->executes)
        result = pipe2(launch->status, O_CLOEXEC);
    if ((launch->next = launches) != NULL)
        launches->prev = launch;
    launches = launch;
    lock_release(lock);
    return result;
}

static void close_launch(struct launch *launch)
{
    lock_acquire(lock);
    close_pair(launch->pair);
    close_pair(launch->status);
    if (launch->prev != NULL)
        launch->prev->next = launch->next;
    else if (launches == launch)
        launches = launch->next;
    if (launch->next != NULL)
        launch->next->prev = launch->prev;
    lock_release(lock);
}

static void abandon(struct launch *launch)
{
    int saved = errno;

    close_launch(launch);
    if (launch->channel != NULL) {
        mln_tcp_conn_destroy(&launch->channel->conn);
        free(launch->channel->priv);
        free(launch->channel);
    }
    free(launch->argv);
    free(launch->environment);
    errno = saved;
}

/* The environment of an executed program: this process's, and where its channel is. */
static int describe_channel(struct launch *launch)
{
    static const char variable[] = CHANNEL_VARIABLE "=";
    struct stat status;
    size_t n = 0, kept = 0;

    while (environ != NULL && environ[n] != NULL)
        ++n;
    if (fstat(launch->pair[1], &status) != 0 || (launch->environment = calloc(n + 2, sizeof *environ)) == NULL)
        return -1;
    for (size_t i = 0; i < n; ++i)
        if (strncmp(environ[i], variable, sizeof variable - 1) != 0)
            launch->environment[kept++] = environ[i];
    snprintf(launch->channel_text, sizeof launch->channel_text, "%s0:%d:%llu:%ld:0:0", variable, launch->pair[1],
             (unsigned long long)status.st_ino, (long)getpid());
    launch->environment[kept] = launch->channel_text;
    return 0;
}

/* 0, or -1 with errno, and the cause in words where that does not tell it. */
static int prepare(struct launch *launch, const struct worker *w, char reason[ENGINE_REASON_MAX])
{
    *launch = (struct launch){.executes = w->etype == M_PET_EXE, .pair = {-1, -1}, .status = {-1, -1}};
    if (standard_occupy() != 0 || (launch->executes ? engine() == NULL : engine_prepare_fork(reason) != 0))
        return -1;
    if (open_launch(launch) != 0 || (launch->channel = channel_new(launch->pair[0])) == NULL)
        goto fail;
    if (launch->executes) {
        if (describe_channel(launch) != 0 || (launch->argv = calloc((size_t)w->n_args + 2, sizeof *launch->argv)) == NULL)
            goto fail;
        memcpy(launch->argv, w->args, w->n_args * sizeof *launch->argv);
        snprintf(launch->fd_text, sizeof launch->fd_text, "%d", launch->pair[1]);
        launch->argv[w->n_args] = launch->fd_text;
    }
    return 0;
fail:
    abandon(launch);
    return -1;
}

/*
 * Has exec close every descriptor that is open, but for the standard ones, whatever the limit is by now. Nothing is allocated: another
 * thread may have been in the allocator at the fork. -1 without /proc.
 */
static int close_listed_on_exec(void)
{
    _Alignas(struct dirent64) char list[2048];
    int folder = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t size;

    if (folder < 0)
        return -1;
    while ((size = syscall(SYS_getdents64, folder, list, sizeof list)) > 0) {
        for (ssize_t at = 0; at < size;) {
            const struct dirent64 *entry = (const struct dirent64 *)(list + at);
            int fd = atoi(entry->d_name); /* 0 for what is no number */

            if (fd > STDERR_FILENO)
                (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
            at += entry->d_reclen;
        }
    }
    close(folder);
    return size == 0 ? 0 : -1;
}

/* Every descriptor but the standard ones and `keep` is closed by exec. Linux before 5.11 has to be told of each. */
static void close_on_exec_but(int keep)
{
    if (syscall(SYS_close_range, 3, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) != 0 && close_listed_on_exec() != 0)
        for (int fd = 3; fd < DESCRIPTORS_MOST; ++fd)
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(keep, F_SETFD, 0);
    (void)fcntl(keep, F_SETFL, fcntl(keep, F_GETFL) & ~O_NONBLOCK); /* programs expect a descriptor that blocks */
}

/*
 * A handler must not run in the child: it would act on what is the parent's. Exec would reset it anyway, but not what is ignored, which
 * is for the program to say, and not for this library.
 */
static void reset_handlers(void)
{
    struct sigaction now;

    for (int signo = 1; signo < NSIG; ++signo)
        if (sigaction(signo, NULL, &now) == 0 && now.sa_handler != SIG_DFL &&
            (now.sa_handler != SIG_IGN || sigismember(&silenced, signo) == 1))
            (void)signal(signo, SIG_DFL);
}

/* The child that becomes another program. */
__attribute__((noreturn)) static void run_program(struct launch *launch, const sigset_t *mask)
{
    int error_number;

    if (clear_handler != NULL)
        clear_handler(clear_data);
    close(launch->pair[0]); /* where the limit is reached there is room for one */
    close_on_exec_but(launch->pair[1]);
    reset_handlers();
    pthread_sigmask(SIG_SETMASK, mask, NULL);
    execve(launch->argv[0], launch->argv, launch->environment);
    error_number = errno;
    (void)!write(launch->status[1], &error_number, sizeof error_number);
    _exit(1);
}

/* The child that is a worker. It goes on where its parent was. */
static void become_worker(struct launch *launch, const sigset_t *mask)
{
    launch->channel->conn.sockfd = -1;
    if (channel_self_set(launch->pair[1]) != 0) {
        log_line(error, "this worker cannot start: %s", strerror(errno));
        _exit(1);
    }
    launch->pair[1] = -1;
    abandon(launch);
    launching = NULL;
    handlers_drop_master(); /* only here: a daemon is still the master that its parent was going to be */
    for (int signo = 1; signo < NSIG; ++signo)
        if (sigismember(&ignored_signals, signo) == 1)
            worker_silence(signo);
    pthread_sigmask(SIG_SETMASK, mask, NULL);
    if (clear_handler != NULL)
        clear_handler(clear_data);
}

/* Waits for something to be readable, or at its end. 1 when it was in that time, whatever signals arrived. */
static int await_input(int fd, int64_t deadline)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    int64_t left;

    do {
        left = deadline - milliseconds();
    } while (poll(&ready, 1, left > 0 ? (int)left : 0) < 0 && errno == EINTR);
    return ready.revents != 0;
}

/*
 * Waits until the program runs, or says why it does not. The process exists either way. What kept one will keep others, and itself when
 * it is started again: the master must not spend its time waiting for them.
 */
static void await_exec(struct launch *launch, const char *path)
{
    static int wait_ms = EXEC_WAIT_MS;
    int ready = await_input(launch->status[0], milliseconds() + wait_ms), error_number;

    if (ready && read(launch->status[0], &error_number, sizeof error_number) == sizeof error_number)
        log_line(error, "cannot execute %s: %s", path, strerror(error_number));
    else if (!ready)
        log_line(warn, "%s has not begun to run after %d ms", path, wait_ms);
    wait_ms = ready ? EXEC_WAIT_MS : EXEC_WAIT_NEXT_MS;
}

/*
 * Waits until then for a process of w's that has ended or is to end now; pidfd: -1 where it has none; refusal: why it could not be killed,
 * or 0. One that the kernel does not give back must not hold up its master for longer.
 */
static void release(const struct worker *w, pid_t pid, int pidfd, int refusal, int64_t deadline)
{
    static const struct timespec pause = {0, 10000000};

    if (pidfd >= 0 && refusal == 0)
        (void)await_input(pidfd, deadline);
    for (;;) {
        pid_t reaped = waitpid(pid, NULL, WNOHANG);

        if (reaped == pid || (reaped < 0 && errno != EINTR))
            return;
        if (refusal != 0 || milliseconds() >= deadline)
            break;
        (void)nanosleep(&pause, NULL);
    }
    if (refusal != 0)
        log_line(error, "worker %ld (%s) is left behind: it may not be killed: %s", (long)pid, name_of(w), strerror(refusal));
    else
        log_line(error, "worker %ld (%s) is left behind: it does not end by SIGKILL, or whoever traces it does not let go of it",
                 (long)pid, name_of(w));
}

/*
 * Whether a process, by its descriptor or its number, is a child that was not waited for. If not, whoever has the number is a stranger:
 * the program has waited for the child itself, and the kernel has used the number again.
 */
static int is_child(unsigned type, id_t id)
{
    siginfo_t info;

    return waitid((idtype_t)type, id, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

/* A descriptor of a process that was just forked, which is close-on-exec by itself. -1 with errno; ESRCH: it is gone. */
static int open_child(pid_t pid)
{
    enum { BY_PIDFD = 3 }; /* P_PIDFD, which the C library's headers need not know yet */
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (pidfd >= 0 && !is_child(BY_PIDFD, (id_t)pidfd)) {
        close(pidfd);
        errno = ESRCH;
        return -1;
    }
    return pidfd;
}

/*
 * Kills a child by its descriptor, which never stands for another process that has been given the number; by that where there is no
 * descriptor (-1), or where the kernel or a filter of system calls does not know how to. 0, or why that is refused.
 */
static int kill_child(pid_t pid, int pidfd)
{
    if (pidfd >= 0 && syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0)
        return 0;
    if ((pidfd < 0 || errno == ENOSYS) && (!is_child(P_PID, (id_t)pid) || kill(pid, SIGKILL) == 0))
        return 0;
    return errno;
}

/* A process of w's that could not be watched, so there must not be one. errno stays. */
static void kill_and_reap(const struct worker *w, pid_t pid)
{
    int saved = errno;

    release(w, pid, w->pidfd, kill_child(pid, w->pidfd), milliseconds() + KILL_WAIT_MS);
    errno = saved;
}

/* The same, of one that has its place already, which is empty then. */
static void end_now(struct worker *w)
{
    int saved = errno;

    kill_and_reap(w, w->pid);
    close_channel(w);
    close_pidfd(w);
    w->pid = 0;
    errno = saved;
}

/*
 * In the parent: what the process has of the parent's is the worker's from now on. If it cannot be watched it is ended.
 *
 * Of a process that is gone, whose status the program's own way with SIGCHLD has taken, there is no descriptor. In its place stands what
 * is ready at once and for ever, as that would be. The number may be another process's by then.
 */
static int settle(struct worker *w, struct launch *launch, pid_t pid, char reason[ENGINE_REASON_MAX])
{
    int gone;

    lock_acquire(lock);
    w->pidfd = open_child(pid);
    if ((gone = w->pidfd < 0 && errno == ESRCH))
        w->pidfd = eventfd(1, EFD_CLOEXEC);
    if (w->pidfd < 0) {
        lock_release(lock);
        snprintf(reason, ENGINE_REASON_MAX, "its process cannot be watched (%s): %s", gone ? "eventfd" : "pidfd_open", strerror(errno));
        if (!gone)
            kill_and_reap(w, pid);
        return -1;
    }
    w->pid = pid;
    w->watched = 0;
    append_channel(w, launch->channel);
    launch->channel = NULL;
    launch->pair[0] = -1;
    close_pair(launch->pair);
    close(launch->status[1]);
    launch->status[1] = -1;
    lock_release(lock);
    return 0;
}

/*
 * Starts a process for w: 1 in the parent, 0 in a plain worker, -1 as prepare(). In the child w does not exist any more.
 *
 * Signals wait until the process is watched: a handler of the program that waits for all children would take it away before.
 */
static int try_to_start(struct worker *w, mln_event_t *ev, char reason[ENGINE_REASON_MAX])
{
    struct launch launch;
    sigset_t mask;
    int settled;
    pid_t pid;

    if (ev != NULL && loop_engine(ev) == NULL) /* a child that takes its parent's loop for its own */
        return -1;
    if (prepare(&launch, w, reason) != 0)
        return -1;
    process_flush();
    block_signals(&mask);
    launching = &launch;
    if ((pid = fork()) == 0) {
        if (engine_withheld() != 0)
            _exit(1);
        if (launch.executes)
            run_program(&launch, &mask);
        become_worker(&launch, &mask);
        return 0;
    }
    launching = NULL;
    if (pid > 0 && engine_withheld() != 0) {
        release(w, pid, -1, 0, milliseconds() + KILL_WAIT_MS);
        errno = engine_withheld();
        pid = -1;
    }
    settled = pid > 0 ? settle(w, &launch, pid, reason) : -1;
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (settled != 0) {
        abandon(&launch);
        return -1;
    }
    if (launch.executes)
        await_exec(&launch, w->args[0]);
    abandon(&launch);
    if (ev != NULL && worker_watch(w, ev) != 0) {
        end_now(w);
        return -1;
    }
    return 1;
}

/* Likewise; what cannot be done to whom, why, and whether it will be tried again, is told in the log. */
static int start(struct worker *w, mln_event_t *ev, const char *what, const char *whom, int again)
{
    char reason[ENGINE_REASON_MAX] = "";
    int result = try_to_start(w, ev, reason), saved = errno;

    if (result < 0)
        log_line(error, "cannot %s %s: %s%s", what, whom, reason[0] != '\0' ? reason : strerror(saved),
                 again ? "; it will be tried later" : "");
    errno = saved;
    return result;
}

static int fork_worker(mln_event_t *ev, int keeps_place)
{
    struct worker *w = new_worker(M_PET_DFL, M_PST_SUP, NULL, 0);
    int result, saved;

    if (w == NULL) {
        log_line(error, "cannot fork a worker: out of memory");
        errno = ENOMEM;
        return -1;
    }
    result = start(w, ev, "fork", "a worker", keeps_place);
    saved = errno;
    if (result < 0 && !keeps_place)
        drop_worker(w);
    errno = saved;
    return result;
}

int mln_fork_restart(mln_event_t *master_ev)
{
    return fork_worker(master_ev, 0);
}

int worker_fork(void)
{
    return fork_worker(NULL, 1);
}

/* Nothing is started where there is no memory for a place. */
static int placeless(const char *path)
{
    log_line(error, "cannot start %s: out of memory", path);
    errno = ENOMEM;
    return -1;
}

static int start_new(struct worker *w, mln_event_t *ev, int keeps_place)
{
    int saved;

    if (start(w, ev, "start", w->args[0], keeps_place) >= 0) {
        log_line(none, "Start process '%s', pid %ld", w->args[0], (long)w->pid);
        return 0;
    }
    saved = errno;
    if (!w->owns_strings)
        w->args = NULL; /* stays the caller's */
    if (!keeps_place)
        drop_worker(w);
    errno = saved;
    return -1;
}

int mln_fork_spawn(enum proc_state_type stype, mln_s8ptr_t *args, mln_u32_t n_args, mln_event_t *master_ev)
{
    struct worker *w;

    if (args == NULL || n_args == 0 || args[0] == NULL) {
        errno = EINVAL;
        return -1;
    }
    if ((w = new_worker(M_PET_EXE, stype, args, n_args)) == NULL)
        return placeless(args[0]);
    return start_new(w, master_ev, 0);
}

int worker_start_program(enum proc_state_type stype, mln_s8ptr_t *args, mln_u32_t n_args)
{
    struct worker *w = new_worker(M_PET_EXE, stype, args, n_args);

    if (w == NULL)
        return placeless(args[0]);
    w->owns_strings = 1;
    return start_new(w, NULL, stype == M_PST_SUP);
}

void worker_start_again(mln_event_t *ev, struct worker *w)
{
    const struct engine_table *go;
    int result = start(w, ev, "start", "a worker again", 1);

    if (result == 0)
        return; /* the child */
    if (result > 0) {
        log_line(report, "worker %ld takes its place", (long)w->pid);
        return;
    }
    if ((go = loop_engine(ev)) != NULL)
        go->worker_retry(ev->handle, (uintptr_t)w, role_of(w));
}

/* Another takes the place of one that cannot be watched, later; or nobody, of one that is started only once. */
static void replace(struct worker *w, mln_event_t *ev)
{
    const struct engine_table *go = loop_engine(ev);

    log_line(error, "cannot watch worker %ld, which is ended: %s", (long)w->pid, strerror(errno));
    end_now(w);
    w->ev = NULL;
    if (w->stype == M_PST_DFL) {
        drop_worker(w);
        return;
    }
    w->ev = ev;
    w->watched = 1;
    go->worker_retry(ev->handle, (uintptr_t)w, role_of(w));
}

void mln_fork_master_set_events(mln_event_t *ev)
{
    struct worker *w, *next;

    if (loop_engine(ev) == NULL) {
        log_line(error, "the workers cannot be watched: %s", strerror(errno));
        return;
    }
    for (w = workers; w != NULL; w = next) {
        next = w->next;
        if (worker_watch(w, ev) != 0)
            replace(w, ev);
    }
}

void mln_fork_master_events_set(mln_event_t *ev)
{
    mln_fork_master_set_events(ev);
}

/* ---- ending ---- */

void worker_tell(const struct worker *w, const char *what)
{
    if (w == NULL)
        log_line(error, "the master %s", what);
    else if (w->pid != 0)
        log_line(error, "worker %ld (%s) %s", (long)w->pid, name_of(w), what);
    else
        log_line(error, "the worker (%s) %s", name_of(w), what);
}

void worker_drain(mln_event_t *ev, struct worker *w)
{
    if (w->channel != NULL)
        channel_finish(ev, w->channel);
}

void worker_stop_all(mln_event_t *ev)
{
    const struct engine_table *go = loop_engine(ev);

    if (go != NULL)
        go->workers_stop(ev->handle);
}

void worker_channel_closed(struct worker *w, int force)
{
    const struct engine_table *go;

    close_channel(w);
    if (w->ev != NULL && (go = loop_engine(w->ev)) != NULL)
        (force ? go->worker_expire : go->worker_silent)(w->ev->handle, (uintptr_t)w);
}

void worker_deaf(struct worker *w)
{
    const struct engine_table *go;

    if (w->ev != NULL && (go = loop_engine(w->ev)) != NULL)
        go->worker_expire(w->ev->handle, (uintptr_t)w);
}

void mln_socketpair_close_handler(mln_event_t *ev, mln_fork_t *f, int fd)
{
    struct worker *w;

    (void)fd;
    if (f == NULL || f->priv->gone || (w = f->priv->worker) == NULL)
        return;
    if (w->ev == NULL && worker_watch(w, ev) != 0)
        log_line(error, "cannot watch worker %ld: %s", (long)w->pid, strerror(errno));
    worker_channel_closed(w, 1);
}

void mln_fork_socketpair_close_handler(mln_event_t *ev, mln_fork_t *f, int fd)
{
    mln_socketpair_close_handler(ev, f, fd);
}

void worker_exited(struct worker *w, const char *how, int signo, int again, int64_t delay)
{
    if (signo == SIGABRT)
        engine_doubt_threads();
    if (!again)
        log_line(report, "worker %ld (%s) %s", (long)w->pid, name_of(w), how);
    else if (delay == 0)
        log_line(report, "worker %ld (%s) %s; another is started", (long)w->pid, name_of(w), how);
    else
        log_line(report, "worker %ld (%s) %s; another is started in %lld ms", (long)w->pid, name_of(w), how, (long long)delay);
    close_channel(w);
    close_pidfd(w);
    w->pid = 0;
    if (w->stype == M_PST_DFL)
        drop_worker(w);
}

void worker_end_all(void)
{
    int64_t deadline = milliseconds() + END_WAIT_MS;

    for (struct worker *w = workers; w != NULL; w = w->next)
        close_channel(w);
    for (struct worker *w = workers; w != NULL; w = w->next)
        w->refusal = w->pidfd < 0 || await_input(w->pidfd, deadline) ? 0 : kill_child(w->pid, w->pidfd);
    deadline = milliseconds() + KILL_WAIT_MS;
    while (workers != NULL) {
        struct worker *w = workers;
        int pidfd = w->pidfd;

        if (pidfd >= 0)
            release(w, w->pid, pidfd, w->refusal, deadline);
        drop_worker(w);
        if (pidfd >= 0)
            close(pidfd); /* after the loop has forgotten it */
    }
}
