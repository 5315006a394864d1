/*
 * copy.h - copies of this library in the memory of this process.
 */
#ifndef MLN_COPY_H
#define MLN_COPY_H

#include <stdint.h>

#include "gomemory.h"
#include "gothread.h"

struct engine_table;

/* A copy of this library. */
struct copy {
    const struct engine_table *table; /* NULL: none */
    uintptr_t begin, end;             /* where it lies */
};

/* What the C part of a second copy is told, which only serves the Go code beside it; and what any copy's Go code tells. */
struct copy_orders {
    int second;                      /* it is one, and not what the program is linked with */
    gothread_creator *create_thread; /* what the first copy has found */
    int (*no_thread)(int);           /* the first copy's: tells why there is none, by errno; for how many ms to try it again */
    uint32_t polls;                  /* its Go runtime has opened its poller; see poller.c; atomic */
    struct monitor monitor;          /* of its Go runtime */
    struct gomemory memory;          /* likewise */
};

/* Those of the copy that this code belongs to. */
extern struct copy_orders engine_orders;

/* The longest reason that is given for a failure, in bytes. */
enum { COPY_REASON_MAX = 256 };

/* What the loader has passed to this library's own constructors, for those of its copies. Before anything else. */
void copy_note_arguments(int argc, char **argv);

/* Whether the runtimes of copies start with one processor (GOMAXPROCS), because the user does not say otherwise. */
int copy_has_one_processor(void);

/* The copy that the program is linked with, whose C code runs. */
struct copy copy_first(void);

/* Whether an address lies in it. */
int copy_holds(const struct copy *copy, const void *address);

/*
 * Loads one more copy, which does not run: its constructors have not been called, it has no threads and has touched
 * nothing. It may be started once, in this process or in any that is forked from it. 0, or -1 with errno and a reason.
 * Not by two threads at a time.
 */
int copy_load(struct copy *copy, char reason[COPY_REASON_MAX]);

/* Calls the constructors of a loaded copy. Needs neither the loader nor a file. */
void copy_start(const struct copy *copy);

#endif
