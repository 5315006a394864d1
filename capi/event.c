/*
 * event.c - loops: the public functions, and the dispatch loop that calls the program's handlers.
 *
 * What is ready, expired or due is decided by the engine (core/event); this file asks for one step after another and
 * makes the calls. So no Go frame is below a handler, which may fork, longjmp or throw.
 */
#include "loop.h"

#include "channel.h"
#include "lock.h"
#include "log.h"
#include "process.h"
#include "standard.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BREAK_ONCE = 1, BREAK_KEPT = 2 };

/* The loops of this process, so that a child can close what it inherits. */
static mln_event_t *loops;
static uint32_t *const loops_lock = &process_locks[LOCK_LOOPS];

int loop_is_ours(const mln_event_t *ev)
{
    if (ev == NULL)
        errno = EINVAL;
    else if (ev->generation != engine_generation())
        errno = ESTALE;
    else
        return 1;
    return 0;
}

int loop_is_bound(const mln_event_t *ev)
{
    return __atomic_load_n(&ev->handle, __ATOMIC_ACQUIRE) >= 0;
}

/* Makes the loop known to the engine. */
static int bind_loop(mln_event_t *ev, const struct engine_table *go)
{
    int64_t handle;

    if (standard_occupy() != 0)
        return -1;
    lock_acquire(loops_lock); /* a fork in another thread finds all of its descriptors, or none */
    if ((handle = ev->handle) < 0 && (handle = go->loop_new(&ev->step, ev->fds)) >= 0)
        __atomic_store_n(&ev->handle, handle, __ATOMIC_RELEASE);
    lock_release(loops_lock);
    if (handle < 0) {
        errno = (int)-handle;
        return -1;
    }
    return 0;
}

const struct engine_table *loop_engine(mln_event_t *ev)
{
    const struct engine_table *go;

    if (ev == NULL) {
        errno = EINVAL;
        return NULL;
    }
    if ((go = engine()) == NULL || !loop_is_ours(ev) || (!loop_is_bound(ev) && bind_loop(ev, go) != 0))
        return NULL;
    return go;
}

/* Takes it out of the list, and away from the engine, which closes its descriptors. */
static void unlink_loop(mln_event_t *ev, const struct engine_table *go)
{
    lock_acquire(loops_lock);
    if (loop_is_bound(ev))
        go->loop_free(ev->handle);
    if (ev->prev != NULL)
        ev->prev->next = ev->next;
    else if (loops == ev)
        loops = ev->next;
    if (ev->next != NULL)
        ev->next->prev = ev->prev;
    ev->prev = ev->next = NULL;
    lock_release(loops_lock);
}

mln_event_t *mln_event_new(void)
{
    const struct engine_table *go = engine_awaits() ? NULL : engine();
    pthread_mutexattr_t recursive;
    mln_event_t *ev;

    if ((go == NULL && !engine_awaits()) || (ev = calloc(1, sizeof *ev)) == NULL)
        return NULL;
    ev->generation = engine_generation();
    ev->handle = -1;
    memset(ev->fds, -1, sizeof ev->fds);
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&ev->turn, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_mutex_init(&ev->callback_lock, NULL);
    lock_acquire(loops_lock);
    ev->next = loops;
    if (loops != NULL)
        loops->prev = ev;
    loops = ev;
    lock_release(loops_lock);
    if (go != NULL && bind_loop(ev, go) != 0) {
        unlink_loop(ev, NULL);
        free(ev);
        return NULL;
    }
    return ev;
}

mln_event_t *mln_event_init(mln_u32_t is_main)
{
    (void)is_main;
    return mln_event_new();
}

/*
 * Whether a function with this frame was called, however indirectly, by a dispatch of the loop. The stack grows down: a
 * dispatch whose frame is not above has ended without returning, by longjmp or an exception.
 */
static int inside_dispatch(const mln_event_t *ev, const char *frame)
{
    return ev->outermost != NULL && (!pthread_equal(ev->dispatcher, pthread_self()) || frame < ev->outermost);
}

static void free_loop(mln_event_t *ev, const char *frame)
{
    const struct engine_table *go;

    if (ev == NULL)
        return;
    go = engine_loaded();
    if (ev->generation == engine_generation() && (go != NULL || !loop_is_bound(ev))) {
        if (inside_dispatch(ev, frame)) { /* one of its handlers asks */
            ev->doomed = 1;
            mln_event_break_set(ev);
            return;
        }
        if (ev->serves) {
            worker_loop_gone(ev);
            channel_loop_gone(ev);
        }
        unlink_loop(ev, go);
    }
    loop_signals_forget(ev);
    free(ev);
}

void mln_event_free(mln_event_t *ev)
{
    free_loop(ev, __builtin_frame_address(0));
}

void mln_event_destroy(mln_event_t *ev)
{
    free_loop(ev, __builtin_frame_address(0));
}

int loop_handles_messages(void)
{
    for (const mln_event_t *ev = loops; ev != NULL; ev = ev->next)
        if (__atomic_load_n(&ev->step.handling, __ATOMIC_RELAXED) > 0)
            return 1;
    return 0;
}

void loop_after_fork_child(void)
{
    mln_event_t *ev, *next;

    for (ev = loops; ev != NULL; ev = next) {
        next = ev->next;
        for (size_t i = 0; i < sizeof ev->fds / sizeof ev->fds[0]; ++i) {
            close(ev->fds[i]);
            ev->fds[i] = -1;
        }
        ev->step.sleeping = 0; /* a break of it must not write to whatever has the number by then */
        ev->prev = ev->next = NULL;
        ev->unsent = NULL;
    }
    loops = NULL;
}

/* ---- registrations ---- */

/* Without a word about it a descriptor becomes blocking, as the interface has it. */
static int set_blocking(int fd, mln_u32_t flag, int append_to_known)
{
    int flags, wanted;

    if (!(flag & (M_EV_NONBLOCK | M_EV_BLOCK)) && append_to_known)
        return 0;
    if ((flags = fcntl(fd, F_GETFL)) < 0)
        return -1;
    wanted = flag & M_EV_NONBLOCK ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return wanted == flags ? 0 : fcntl(fd, F_SETFL, wanted);
}

static int result(int code)
{
    if (code >= 0)
        return 0;
    errno = -code;
    return -1;
}

int mln_event_fd_set(mln_event_t *ev, int fd, mln_u32_t flag, int timeout_ms, void *data, ev_fd_handler fd_handler)
{
    const struct engine_table *go = loop_engine(ev);
    struct interest interest;
    int known;

    if (go == NULL)
        return -1;
    if (fd < 0 || (flag & ~M_EV_FD_MASK) || ((flag & M_EV_CLR) && flag != M_EV_CLR) ||
        (flag & (M_EV_NONBLOCK | M_EV_BLOCK)) == (M_EV_NONBLOCK | M_EV_BLOCK)) {
        errno = EINVAL;
        return -1;
    }
    if (flag == M_EV_CLR)
        return result(go->fd_clear(ev->handle, fd));
    known = flag & M_EV_APPEND && go->fd_known(ev->handle, fd);
    if (set_blocking(fd, flag, known) != 0)
        return -1;
    interest = (struct interest){
        .directions = flag & M_EV_RSE_MASK,
        .one_shot = (flag & M_EV_ONESHOT) != 0,
        .append = (flag & M_EV_APPEND) != 0,
        .timeout = timeout_ms >= 0 ? timeout_ms
                   : timeout_ms == M_EV_UNMODIFIED ? ENGINE_KEEP_TIMEOUT : ENGINE_NO_TIMEOUT,
        .fn = (uintptr_t)fd_handler,
        .data = (uintptr_t)data,
    };
    return result(go->fd_set(ev->handle, fd, &interest));
}

int mln_event_set_fd(mln_event_t *ev, int fd, mln_u32_t flag, int timeout_ms, void *data, ev_fd_handler fd_handler)
{
    return mln_event_fd_set(ev, fd, flag, timeout_ms, data, fd_handler);
}

void mln_event_fd_timeout_handler_set(mln_event_t *ev, int fd, void *data, ev_fd_handler timeout_handler)
{
    const struct engine_table *go = loop_engine(ev);

    if (go != NULL)
        (void)go->fd_on_timeout(ev->handle, fd, (uintptr_t)timeout_handler, (uintptr_t)data);
}

void mln_event_set_fd_timeout_handler(mln_event_t *ev, int fd, void *data, ev_fd_handler timeout_handler)
{
    mln_event_fd_timeout_handler_set(ev, fd, data, timeout_handler);
}

mln_event_timer_t *mln_event_timer_set(mln_event_t *ev, mln_u32_t msec, void *data, ev_tm_handler tm_handler)
{
    const struct engine_table *go = loop_engine(ev);

    if (go == NULL)
        return NULL;
    return (mln_event_timer_t *)(uintptr_t)go->timer_set(ev->handle, msec, (uintptr_t)tm_handler, (uintptr_t)data);
}

int mln_event_set_timer(mln_event_t *ev, mln_u32_t msec, void *data, ev_tm_handler tm_handler)
{
    return mln_event_timer_set(ev, msec, data, tm_handler) == NULL ? -1 : 0;
}

void mln_event_timer_cancel(mln_event_t *ev, mln_event_timer_t *timer)
{
    const struct engine_table *go = loop_engine(ev);

    if (go != NULL)
        (void)go->timer_cancel(ev->handle, (uint64_t)(uintptr_t)timer);
}

/* Whether this thread is inside of a dispatch of the loop. */
static int dispatches(const mln_event_t *ev)
{
    return __atomic_load_n(&ev->outermost, __ATOMIC_ACQUIRE) != NULL &&
           pthread_equal(__atomic_load_n(&ev->dispatcher, __ATOMIC_RELAXED), pthread_self());
}

void mln_event_callback_set(mln_event_t *ev, dispatch_callback dc, void *dc_data)
{
    if (loop_engine(ev) == NULL)
        return;
    pthread_mutex_lock(&ev->callback_lock);
    ev->callback_data = dc_data;
    ev->callback = dc;
    __atomic_store_n(&ev->step.rounds, dc != NULL, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&ev->callback_lock);
    if (dc != NULL && !dispatches(ev))
        loop_notify(ev); /* a loop that sleeps begins an iteration for it */
}

void mln_event_set_callback(mln_event_t *ev, dispatch_callback dc, void *dc_data)
{
    mln_event_callback_set(ev, dc, dc_data);
}

/* ---- breaking ---- */

void loop_notify(mln_event_t *ev)
{
    static const uint64_t one = 1;
    int saved;

    __atomic_store_n(&ev->step.pending, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&ev->step.sleeping, __ATOMIC_SEQ_CST))
        return;
    saved = errno;
    /* Full: it is about to wake anyway. Not by write(), where a thread that was interrupted anywhere by a signal could be cancelled. */
    (void)!syscall(SYS_write, ev->fds[1], &one, sizeof one);
    errno = saved;
}

void mln_event_set_break(mln_event_t *ev)
{
    atomic_store(&ev->broken, BREAK_ONCE);
    loop_notify(ev);
}

void mln_event_break_set(mln_event_t *ev)
{
    atomic_store(&ev->broken, BREAK_KEPT);
    loop_notify(ev);
}

void mln_event_break_reset(mln_event_t *ev)
{
    atomic_store(&ev->broken, 0);
}

int loop_finished(const mln_event_t *ev, uint64_t generation)
{
    /* In a child the loop may be freed already: the generation is asked first. */
    return generation != engine_generation() || atomic_load_explicit(&ev->broken, memory_order_relaxed) != 0;
}

/* ---- dispatch ---- */

static void fail(mln_event_t *ev)
{
    ev->failed = 1;
    mln_event_break_set(ev);
}

static void wait_outside(mln_event_t *ev)
{
    int n;

    engine_rest();
    n = epoll_wait(ev->fds[0], ev->step.events, STEP_EVENTS_MAX, -1);
    __atomic_store_n(&ev->step.sleeping, 0, __ATOMIC_SEQ_CST);
    ev->step.collected = n > 0 ? n : 0;
    if (n < 0 && errno != EINTR) {
        log_line(error, "the loop cannot go on: the kernel refuses to wait for events: %s; the program must not close descriptors "
                 "that it has not opened", strerror(errno));
        fail(ev);
    }
}

/*
 * Waits after a step with which the engine allowed it: that saves a call of the engine. From the moment at which `sleeping`
 * is set, whoever has something for the loop wakes it.
 */
static void wait_at_once(mln_event_t *ev, uint64_t generation)
{
    __atomic_store_n(&ev->step.sleeping, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ev->step.pending, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&ev->step.sleeping, 0, __ATOMIC_SEQ_CST);
    } else {
        wait_outside(ev);
        if (channel_receive_directly(ev, generation))
            return;
    }
    ev->step.may_wait = 0;
}

/* The callback and its data are read together: another thread may be setting both. */
static void call_back(mln_event_t *ev)
{
    dispatch_callback callback;
    void *data;

    pthread_mutex_lock(&ev->callback_lock);
    callback = ev->callback;
    data = ev->callback_data;
    pthread_mutex_unlock(&ev->callback_lock);
    if (callback != NULL)
        callback(ev, data);
}

static void call_handler(mln_event_t *ev, const struct call *call)
{
    if (call->fn != 0)
        ((ev_fd_handler)call->fn)(ev, call->fd, (void *)call->data);
}

/* Takes one of the calls that the engine has offered, if one is left. See Batch in core/event. */
static int take_call(struct step *step, struct call *call)
{
    uint64_t state = __atomic_load_n(&step->batch, __ATOMIC_ACQUIRE);

    do {
        if ((uint32_t)state == state >> 32)
            return 0;
    } while (!__atomic_compare_exchange_n(&step->batch, &state, state + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    *call = step->calls[(uint32_t)state]; /* a dispatch in the handler brings others */
    return 1;
}

/* Whether one is left. */
static int has_call(const struct step *step)
{
    uint64_t state = __atomic_load_n(&step->batch, __ATOMIC_RELAXED);

    return (uint32_t)state != state >> 32;
}

/* Whether the engine allowed to wait, and nothing of what it offered was withdrawn. */
static int may_wait(const struct step *step)
{
    return step->may_wait && (uint32_t)__atomic_load_n(&step->batch, __ATOMIC_ACQUIRE) == (uint32_t)step->offered;
}

static int has_callback(const mln_event_t *ev)
{
    return __atomic_load_n(&ev->step.rounds, __ATOMIC_RELAXED);
}

/* Does what the engine asks. */
static void perform(mln_event_t *ev, uint64_t generation)
{
    struct step *step = &ev->step;

    switch (step->kind) {
    case STEP_IDLE:
        wait_outside(ev);
        break;
    case STEP_FD:
        call_handler(ev, &(struct call){step->fn, step->data, step->fd});
        break;
    case STEP_TIMER:
        if (step->fn != 0)
            ((ev_tm_handler)step->fn)(ev, (void *)step->data);
        break;
    case STEP_FRAMES:
        channel_deliver(ev, generation);
        break;
    case STEP_WRITABLE:
        channel_writable(ev, (mln_fork_t *)step->target);
        break;
    case STEP_CLOSED:
        channel_closed(ev, (mln_fork_t *)step->target, step->text);
        break;
    case STEP_EXITED:
        worker_exited((struct worker *)step->target, step->text, (int)step->count, step->again, step->delay);
        break;
    case STEP_START:
        worker_start_again(ev, (struct worker *)step->target);
        break;
    case STEP_DRAIN:
        worker_drain(ev, (struct worker *)step->target);
        break;
    case STEP_TELL:
        worker_tell((struct worker *)step->target, step->text);
        break;
    case STEP_STOPPED:
        if (step->again)
            fail(ev);
        else
            mln_event_break_set(ev);
        break;
    case STEP_FAILED:
        log_line(error, "%s", step->text);
        fail(ev);
        break;
    default:
        break;
    }
}

/* Under the lock, so that a fork in another thread finds both of its descriptors, or none. */
static void open_poller(mln_event_t *ev, const struct engine_table *go)
{
    (void)standard_occupy();
    lock_acquire(loops_lock);
    go->poller_open();
    lock_release(loops_lock);
    ev->step.poller = 0;
}

/*
 * One step after another until the loop is broken, or this process is another one: a handler forked. Then nothing of ev
 * may be touched, since the child may have freed it.
 */
static void run(mln_event_t *ev, const struct engine_table *go, uint64_t generation, int nested)
{
    struct step *step = &ev->step;

    /* Also where the loop is broken already. */
    if (has_callback(ev)) {
        call_back(ev);
        if (generation != engine_generation())
            return;
    }
    channel_announce(ev);
    /* What a break left behind comes first. */
    __atomic_store_n(&step->pending, 1, __ATOMIC_SEQ_CST);
    channel_deliver(ev, generation);
    while (!loop_finished(ev, generation)) {
        if (__atomic_load_n(&step->pending, __ATOMIC_RELAXED)) {
            __atomic_store_n(&step->pending, 0, __ATOMIC_SEQ_CST);
            loop_signals_deliver(ev, generation);
            if (loop_finished(ev, generation))
                return;
            channel_flush(ev);
        }
        /* Messages that a dispatch inside a handler left behind when it was broken: the next step would take their place. */
        if (ev->sender != NULL || ev->next_frame != 0) {
            channel_deliver(ev, generation);
            continue;
        }
        struct call call;
        int waited = 0;
        if (take_call(step, &call)) {
            call_handler(ev, &call);
            if (generation != engine_generation())
                return;
        } else if (may_wait(step) && !has_callback(ev)) {
            waited = 1;
            wait_at_once(ev, generation);
            if (generation != engine_generation())
                return;
        } else {
            go->loop_next(ev->handle);
            if (step->poller)
                open_poller(ev, go);
            waited = step->waited;
            perform(ev, generation);
            if (generation != engine_generation())
                return;
        }
        if (waited && has_callback(ev) && !loop_finished(ev, generation)) {
            call_back(ev);
            if (generation != engine_generation())
                return;
        }
        /* Answers leave at once when nothing else is ready; otherwise together, before the loop waits. */
        if (!step->more && !has_call(step) && __atomic_load_n(&ev->unsent, __ATOMIC_RELAXED) != NULL)
            channel_flush(ev);
        if (!nested)
            channel_bury(ev);
    }
}

/* Ends so many of this thread's dispatches. */
static void leave(mln_event_t *ev, int dispatches)
{
    ev->depth -= dispatches;
    while (dispatches-- > 0)
        pthread_mutex_unlock(&ev->turn);
}

void mln_event_dispatch(mln_event_t *ev)
{
    const struct engine_table *go;
    uint64_t generation = engine_generation();
    char *frame = __builtin_frame_address(0);
    int nested, doomed;

    /* What a worker has sent so far leaves before its engine starts, which takes long. */
    if (loop_is_ours(ev) && !loop_is_bound(ev))
        channel_flush(ev);
    if ((go = loop_engine(ev)) == NULL) {
        /* What could not be had when a worker's engine was to be started; a loop of the parent's is no failure. */
        if (ev != NULL && ev->generation == engine_generation())
            log_line(error, "the event loop cannot run: %s", strerror(errno));
        return;
    }
    channel_bind(ev);
    pthread_mutex_lock(&ev->turn);
    nested = inside_dispatch(ev, frame);
    if (!nested) {
        leave(ev, ev->depth); /* those that never returned */
        __atomic_store_n(&ev->dispatcher, pthread_self(), __ATOMIC_RELAXED);
        __atomic_store_n(&ev->outermost, frame, __ATOMIC_RELEASE); /* then the other is sound, for dispatches() */
        ev->step.handling = 0;
        ev->watches_walked = 0;
    }
    ++ev->depth;
    run(ev, go, generation, nested);
    if (generation != engine_generation())
        return; /* the child's: the loop is its parent's */
    if (__atomic_load_n(&ev->unsent, __ATOMIC_RELAXED) != NULL) /* what the last handler sent before it broke the loop */
        channel_flush(ev);
    if (atomic_load(&ev->broken) == BREAK_ONCE)
        atomic_store(&ev->broken, 0);
    doomed = ev->doomed && !nested;
    if (!nested)
        __atomic_store_n(&ev->outermost, NULL, __ATOMIC_RELEASE);
    leave(ev, nested ? 1 : ev->depth);
    if (doomed)
        mln_event_free(ev);
}
