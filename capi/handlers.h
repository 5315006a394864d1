/*
 * handlers.h - which function handles which message, in the master and in a worker.
 */
#ifndef MLN_HANDLERS_H
#define MLN_HANDLERS_H

#include "mln_fork.h"
#include "mln_ipc.h"

/* The two roles of a process: towards its workers, towards its master. */
enum handlers_role { HANDLERS_MASTER, HANDLERS_WORKER, HANDLERS_ROLES };

struct handler {
    struct handler *next;
    mln_u32_t type;
    mln_u64_t order;      /* when it was set: what was set later wins */
    ipc_handler function; /* NULL: messages are dropped */
    void **slot;          /* the program's, or `own` */
    void *own;
};

/* The handler of a type of message, or NULL. */
struct handler *handlers_find(enum handlers_role role, mln_u32_t type);

/* Takes over the messages that are compiled in and those that are registered. 0, or -1 with errno. */
int handlers_collect(void);

/* In a child: it has no workers. */
void handlers_drop_master(void);

#endif
