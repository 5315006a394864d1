/*
 * poller.h - the descriptors that the Go runtime has for itself.
 */
#ifndef MLN_POLLER_H
#define MLN_POLLER_H

struct copy;

/* Around a fork, by a process whose engine is in this copy: the child closes what it has of them. */
void poller_before_fork(const struct copy *copy);
void poller_after_fork_child(void);

#endif
