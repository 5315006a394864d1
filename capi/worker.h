/*
 * worker.h - the processes of a master.
 */
#ifndef MLN_WORKER_H
#define MLN_WORKER_H

#include "loop.h"

struct worker {
    struct worker *prev, *next;
    mln_fork_t *channel; /* NULL while it has none: it is ending, or waits to be started again */
    mln_event_t *ev;     /* the loop that watches it, or NULL */
    int watched;         /* that loop knows of the process, or of its absence */
    pid_t pid;           /* 0: no process */
    int pidfd;           /* -1: no process */
    int refusal;         /* why it could not be killed when all were to end, an errno; 0: it was, or had ended */
    enum proc_exec_type etype;
    enum proc_state_type stype;
    mln_s8ptr_t *args; /* of an exec'ed program */
    mln_u32_t n_args;
    int owns_strings; /* args and the strings in it are the library's */
};

/* Makes a loop receive the worker's messages and notice its end. 0, or -1 with errno. */
int worker_watch(struct worker *w, mln_event_t *ev);

/* Steps of the dispatch loop; see enum step_kind. */
void worker_exited(struct worker *w, const char *how, int signo, int again, int64_t delay);
void worker_start_again(mln_event_t *ev, struct worker *w);
void worker_drain(mln_event_t *ev, struct worker *w);
void worker_tell(const struct worker *w, const char *what);

void worker_loop_gone(mln_event_t *ev);

/* Its channel has come to an end, for a reason of this side if `force`: the process is given a second then. */
void worker_channel_closed(struct worker *w, int force);

/* It is there, and nothing can be sent to it any more: it is asked to end, and made to. */
void worker_deaf(struct worker *w);

/* Forks a worker that is to be there: if that fails, the loop that comes to watch the workers tries again. As mln_fork_restart(). */
int worker_fork(void);

/* Starts a program of the configuration, likewise if it is supervised: args and its strings become the library's. */
int worker_start_program(enum proc_state_type stype, mln_s8ptr_t *args, mln_u32_t n_args);

/* Closes every channel, which ends plain workers, gives the processes a second, kills the rest, and forgets them all. */
void worker_end_all(void);

/* Asks all workers of the loop to end, and sees to it that they do. The loop is broken when they have. */
void worker_stop_all(mln_event_t *ev);

/* This process ignores the signal from now on, unless the program handles it. The programs that it starts do not. */
void worker_silence(int signo);

/* Plain workers ignore this signal, too, from their first instruction on, unless the program handles it. */
void worker_ignore_signal(int signo);

/* Around a fork. */
void worker_after_fork_child(void);

#endif
