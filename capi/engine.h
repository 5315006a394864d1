/*
 * engine.h - how the C side reaches the Go side.
 *
 * A process has one engine: the Go half of one loaded copy of this library. The first process uses the copy that the
 * loader mapped; a process made by fork cannot use it any more (the runtime's threads are gone) and gets a pristine
 * second copy. C code therefore never calls a Go function by name: it goes through the table of the copy in force.
 *
 * Go decides, C calls: an entry computes and returns, it never calls back. What it wants done (a handler called, a
 * worker started) it says in a struct step.
 *
 * Results: 0 or more is success; a negative number is -errno.
 */
#ifndef MLN_ENGINE_H
#define MLN_ENGINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

/* Directions of readiness; the values of core/event. */
enum { ENGINE_READ = 1, ENGINE_WRITE = 2, ENGINE_ERROR = 4 };

/* Special values of a descriptor's timeout, in milliseconds. */
enum { ENGINE_NO_TIMEOUT = -1, ENGINE_KEEP_TIMEOUT = -2 };

/* What a step asks of the C side. */
enum step_kind {
    STEP_NONE,     /* nothing: look at the loop's flags and ask again */
    STEP_IDLE,     /* wait in epoll_wait, outside Go, and report what came in `collected` */
    STEP_FD,       /* fn(ev, fd, data) */
    STEP_TIMER,    /* fn(ev, data) */
    STEP_FRAMES,   /* `count` messages of the channel `target` (mln_fork_t *) are in `frames` */
    STEP_WRITABLE, /* the channel `target` takes bytes again */
    STEP_CLOSED,   /* the channel `target` is at its end; `text`, if not empty, says what its peer did wrong */
    STEP_EXITED,   /* the process of `target` (struct worker *) is gone and reaped; `text` says how, `count` by what signal; if `again`, another
                      is started after `delay` */
    STEP_START,    /* start a process for `target` (struct worker *) now */
    STEP_DRAIN,    /* ask `target` (struct worker *) to end: it gets what is queued for it, then the end of its channel */
    STEP_TELL,     /* `text` is what is to be said about `target` (struct worker *), or about the master, if that is NULL */
    STEP_STOPPED,  /* no worker is left, and none will be started; `again`: because too many have failed */
    STEP_FAILED    /* the loop cannot go on; `text` says why */
};

/*
 * One received message. `data` is aligned to 8 bytes and valid until the step after the one that brought it. It is a
 * number: Go's garbage collector looks at the old value of a pointer that is overwritten, here of memory long gone.
 */
struct frame {
    uint32_t type;
    uint32_t length;
    uintptr_t data;
};

/* A handler of a descriptor, to be called like that of a STEP_FD. */
struct call {
    uintptr_t fn;
    uintptr_t data;
    int32_t fd;
};

/*
 * A channel of which the next message may be received and delivered without the engine, if it comes whole and alone: `data` is what epoll
 * reports when it can be read, 0 where there is no such channel. Atomic.
 */
struct direct {
    uint64_t data;
    uintptr_t channel;
};

/* How many descriptors a loop has for itself. */
enum { ENGINE_LOOP_DESCRIPTORS = 3 };

enum { STEP_FRAMES_MAX = 256, STEP_EVENTS_MAX = 128, STEP_TEXT_MAX = 240 };

/* Of messages without the engine: how many channels, by descriptor, and how many bytes with the header. */
enum { STEP_DIRECT_MAX = 256, STEP_MESSAGE_MAX = 4096 };

/* What passes between a loop's C side and its Go side; one a loop, in C memory. */
struct step {
    /* Set by the C side when it has something to do before the loop may sleep; any thread; atomic. */
    uint32_t pending;
    /* Set while the loop sleeps or is about to: who sets `pending` writes to the eventfd then. Atomic. */
    uint32_t sleeping;
    /* in */
    int32_t collected; /* how many of `events` the C side filled by waiting itself */
    int32_t rounds;    /* return after each wait, with STEP_NONE, for the callback's sake */
    int32_t handling;  /* how many handlers of messages are running: theirs stay valid whatever is read meanwhile */
    int32_t outermost; /* the least `handling` with which one of `frames` was delivered */
    int32_t arrived;   /* how many bytes of `message` are the engine's to take over, which were received from `arrived_from` */
    uintptr_t arrived_from;
    /* out */
    int32_t kind;      /* enum step_kind */
    int32_t waited;    /* this call has waited: a new iteration begins */
    int32_t more;      /* more is known to be ready: the next call will not wait */
    int32_t poller;    /* it is time for poller_open */
    int32_t may_wait;  /* nothing is: when this and all `calls` are done, the C side may wait as for STEP_IDLE, without asking first */
    int32_t offered;   /* how many `calls` there were, after this */
    int32_t fd;
    uint32_t count;
    int32_t again;
    int64_t delay; /* milliseconds */
    uintptr_t fn;     /* a function, as a number like all that Go only passes on: */
    uintptr_t data;   /* programs pass small integers for pointers, which its runtime does not tolerate */
    uintptr_t target;
    /* How many of `calls` were taken, and, from bit 32 on, how many may be: fewer than offered where some were withdrawn. Atomic. */
    uint64_t batch;
    struct call calls[STEP_EVENTS_MAX];
    struct direct direct[STEP_DIRECT_MAX];
    uint64_t direct_limit; /* of the payload */
    char message[STEP_MESSAGE_MAX]; /* after a number of 64 bits: aligned to 8 bytes */
    char text[STEP_TEXT_MAX];
    struct frame frames[STEP_FRAMES_MAX];
    struct epoll_event events[STEP_EVENTS_MAX];
};

/* What a descriptor is registered for. */
struct interest {
    uint32_t directions;
    uint32_t one_shot;
    uint32_t append;
    int32_t timeout; /* milliseconds, or one of the special values */
    uintptr_t fn;
    uintptr_t data;
};

struct copy_orders;

/* What the engine is told once, before anything else. */
struct engine_settings {
    uint32_t max_payload;    /* bytes */
    uint32_t all_processors; /* it was started with one, and is to use all from now on */
    /* How workers are supervised; times in milliseconds. See core/fork, Policy. */
    int64_t backoff_min, backoff_max, backoff_reset;
    int64_t backoff_jitter; /* percent */
    int64_t failure_limit, failure_window;
    int64_t start_timeout, heartbeat;
    int64_t drain_timeout, kill_timeout;
};

/* What a worker is, to its supervisor. */
enum {
    ENGINE_WORKER_ONCE = 1, /* it is not started again */
    ENGINE_WORKER_MUTE = 2  /* it does not tell when it is ready, and gives no signs of life */
};

/* The Go entry points of one copy of the library. */
struct engine_table {
    /* Tells builds apart: a process must not mix two. */
    const char *build;

    /* Orders for this copy's C part; see copy.h. */
    struct copy_orders *orders;

    void (*configure)(struct engine_settings *settings);

    /*
     * Reads and parses the configuration file `path`. Returns 0 and a malloc'ed, flat description of the tree in
     * *blob (*len bytes), or -1 and a malloc'ed, NUL-terminated sentence (file, line, column, cause) in *blob.
     */
    int (*conf_parse)(char *path, char **blob, size_t *len);

    /* A loop; its descriptors (epoll first, then the eventfd that wakes it) are put into fds. */
    int64_t (*loop_new)(struct step *step, int *fds);
    void (*loop_free)(int64_t loop);
    /* What to do next, in loop->step. */
    void (*loop_next)(int64_t loop);

    /* Opens the descriptors of the runtime's poller, if they can be had. No fork may be under way. */
    void (*poller_open)(void);
    int (*fd_set)(int64_t loop, int fd, struct interest *interest);
    int (*fd_known)(int64_t loop, int fd);
    int (*fd_clear)(int64_t loop, int fd);
    int (*fd_on_timeout)(int64_t loop, int fd, uintptr_t fn, uintptr_t data);
    uint64_t (*timer_set)(int64_t loop, uint32_t msec, uintptr_t fn, uintptr_t data);
    int (*timer_cancel)(int64_t loop, uint64_t timer);

    /*
     * A channel (mln_fork_t *) of a worker (struct worker *, or NULL) on this loop: it is read, its frames come as steps.
     * `rest` is what another loop received and handed to nobody.
     */
    int (*channel_attach)(int64_t loop, int fd, uintptr_t channel, uintptr_t worker, void *rest, size_t size);
    /*
     * It is read no longer. What was received and no handler has seen is put into *rest, *size bytes, malloc'ed: the
     * frames of the step from `frame` on, if those are this channel's, and what follows them. NULL: it is of no use.
     */
    void (*channel_detach)(int64_t loop, int fd, uintptr_t channel, uint32_t frame, void **rest, size_t *size);
    /* Reads it now, whatever the loop knows, and puts what came into loop->step. */
    void (*channel_receive)(int64_t loop, int fd, uintptr_t channel);
    /* One STEP_WRITABLE, please; `scarce`: not at once, for the kernel is short of memory. */
    int (*channel_want_write)(int64_t loop, int fd, uintptr_t channel, int scarce);

    /* Watches the process of a worker, which was started just now or was there already. */
    int (*worker_watch)(int64_t loop, uintptr_t worker, int pid, int pidfd, int role);
    /* Its channel was closed from this side: end the process unless it ends by itself soon. */
    void (*worker_expire)(int64_t loop, uintptr_t worker);
    /* Its channel has ended. Its process may live on. */
    void (*worker_silent)(int64_t loop, uintptr_t worker);
    /* It has no process, or could not be started: a STEP_START comes now or later. */
    void (*worker_retry)(int64_t loop, uintptr_t worker, int role);
    /* The loop forgets it. */
    void (*worker_forget)(int64_t loop, uintptr_t worker);
    /* All workers of the loop are asked to end, and then made to; STEP_STOPPED comes when they have. */
    void (*workers_stop)(int64_t loop);
};

/* The type of messages by which a worker tells its master how it is, and what it tells, in one byte; see core/ipc. */
#define ENGINE_CONTROL UINT32_MAX
enum { ENGINE_CONTROL_READY = 1, ENGINE_CONTROL_BEAT = 2 };

/* The largest payload of a message where nothing is configured. */
#define ENGINE_DEFAULT_MAX_PAYLOAD ((uint32_t)64 << 20)

/* The largest payload of a message, in bytes. */
uint32_t engine_max_payload(void);

/* What the engine of this process, and those of its children, are told. */
const struct engine_settings *engine_settings(void);
void engine_set(const struct engine_settings *all);

/* The engine of this process, loaded when needed; NULL, with errno set and a line in the log, when it cannot be had. */
const struct engine_table *engine(void);

/* The same without loading one: for what is only worth doing where an engine is. */
const struct engine_table *engine_loaded(void);

/*
 * Tells processes apart: differs in every process that has an engine, and is 0 before the first. What belongs to one
 * process (a loop, say) remembers it.
 */
uint64_t engine_generation(void);

/*
 * Makes sure that a child of this process can have an engine of its own: a copy of the library is loaded for it, and there is
 * address space for a second runtime. 0, or -1 with errno and the cause in words.
 */
enum { ENGINE_REASON_MAX = 384 };
int engine_prepare_fork(char reason[ENGINE_REASON_MAX]);

/* A worker may have ended since it got no thread: the next fork is prepared only where there is room for those of another. */
void engine_doubt_threads(void);

/* Loads that copy now, if it can be had, and not at the first fork: the loader may be busy by then. */
void engine_expect_forks(void);

/*
 * In a child made by fork: forgets the parent's engine and starts a fresh one. 0, or -1 with errno and a line in the log.
 */
int engine_renew(void);

/*
 * Whether this process was forked and has not started its engine yet, which can be done at any time: starting a runtime takes
 * long, compared with what a worker may have to do before it needs one.
 */
int engine_awaits(void);

/* Before a loop waits: what a runtime does beside its loops can rest, if there is but one. */
void engine_rest(void);

/*
 * Parts of the hooks that run before every fork(), and after it in the parent and in the child. `memory_used`: the child goes on
 * with something that lies in memory of Go.
 */
void engine_before_fork(int memory_used);
void engine_after_fork_parent(void);
void engine_after_fork_child(void);

/* errno, if the child of this thread's last fork cannot go on, for memory that it needs could not be passed on; else 0. In both. */
int engine_withheld(void);

#endif
