/*
 * channel.h - the two ends of a socket pair: a master's for each worker (the mln_fork_t of its list), and a worker's one
 * to its master.
 */
#ifndef MLN_CHANNEL_H
#define MLN_CHANNEL_H

#include <stdbool.h>

#include "loop.h"

struct worker;

struct mln_fork_private_s {
    struct worker *worker;    /* whose channel it is; NULL: this process's own to its master */
    mln_event_t *ev;          /* the loop that writes it, and reads it if `watched`; or NULL */
    mln_fork_t *next_unsent;  /* in the list of the loop that is going to write it */
    mln_fork_t *next_buried;  /* in the list of those to be freed */
    mln_buf_t *tail;          /* a block that the loop's thread puts further frames into while it is the last of the send
                                 queue; it needs no lock for that, since nobody else writes there */
    mln_buf_t *others_tail;   /* the same for other threads, which hold the lock */
    mln_chain_t *spare;       /* `spares` empty blocks for the next frames */
    unsigned spares;
    mln_size_t queued;        /* bytes in the send queue */
    void *rest;               /* what its last loop received and no handler has seen, `rest_size` bytes; or NULL */
    mln_size_t rest_size;
    mln_u64_t serial;         /* orders the workers of a process */
    int end_refused;          /* the kernel did not let the other end be told that nothing more is sent */
    unsigned watched : 1;     /* its loop reads it */
    unsigned unsent : 1;      /* it is in a list of unsent ones */
    unsigned blocked : 1;     /* its loop writes when the kernel takes more */
    unsigned gone : 1;        /* closed: nothing may be done with it any more */
    unsigned finishing : 1;   /* nothing more is sent, and the other end is told so when the queue is written */
    unsigned is_short : 1;    /* of memory was the kernel when it was last written, and that was told */
    unsigned deaf : 1;        /* the other end takes nothing any more; it may still have sent something */
};

/* A new end on descriptor fd, which becomes its own. NULL with errno when that cannot be had; fd stays the caller's then. */
mln_fork_t *channel_new(int fd);

/* Makes a loop read it, or stop. */
int channel_attach(mln_event_t *ev, mln_fork_t *f);
void channel_detach(mln_fork_t *f);

/* Attaches what was to be attached while the engine did not know the loop yet. */
void channel_bind(mln_event_t *ev);

/* Closes it and has it freed when nobody can be using it. */
void channel_close(mln_fork_t *f);

/* The variable by which an executed program finds its channel: "index:descriptor:inode:master:files:heartbeat". See
   core/spawn. */
#define CHANNEL_VARIABLE "MELON_WORKER"

/* This process's channel to its master. */
mln_fork_t *channel_self(void);
/* In a child: fd leads to the master. */
int channel_self_set(int fd);

/* Sends are refused while more than this is queued for one channel; 0: never. */
void channel_set_queue_limit(mln_size_t bytes);

/* Steps of the dispatch loop; see enum step_kind. */
void channel_deliver(mln_event_t *ev, uint64_t generation);
/* After a wait. Returns whether all that came were messages which needed no engine. They are delivered, and this may be another process. */
int channel_receive_directly(mln_event_t *ev, uint64_t generation);
void channel_writable(mln_event_t *ev, mln_fork_t *f);
void channel_closed(mln_event_t *ev, mln_fork_t *f, const char *cause);

/* Sends nothing more, and has the other end see that once it has got what is queued. */
void channel_finish(mln_event_t *ev, mln_fork_t *f);

/* Tells the master that this process is ready, if it wants to know, and that it lives, as often as it wants to know. */
void channel_announce(mln_event_t *ev);

/* Writes what was sent since the last time. */
void channel_flush(mln_event_t *ev);
/* Frees the loop's closed ones, unless this thread goes through the list of workers. In an outermost dispatch, between handlers. */
void channel_bury(mln_event_t *ev);
/* Around a walk through the list, by the frame address of the function that makes it: the second may never come. */
void channel_walk_begin(const char *frame);
void channel_walk_end(const char *frame);

void channel_loop_gone(mln_event_t *ev);

/* In a child made by fork: it has no master until it is told otherwise. */
void channel_after_fork_child(void);

#endif
