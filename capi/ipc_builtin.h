/*
 * ipc_builtin.h - the messages compiled into the library.
 *
 * cmd/mlnipc turns every message file into a C unit that ends in one entry, and writes the table of all entries. The
 * entry stands in the unit of its message because the handlers may be static there.
 */
#ifndef MLN_IPC_BUILTIN_H
#define MLN_IPC_BUILTIN_H

#include <stddef.h>

#include "mln_types.h"
#include "mln_fork.h"

/* One message: its type, and what runs when it arrives in the master and in a worker. Neither handler is NULL. */
struct ipc_builtin {
    mln_u32_t   type;
    ipc_handler master;
    ipc_handler worker;
};

/* All messages, with a NULL after the last one. No two entries have the same type. */
extern const struct ipc_builtin *const ipc_builtins[];

#endif
