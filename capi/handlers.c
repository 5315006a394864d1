/*
 * handlers.c - the two tables of message handlers of a process, and the registrations that they are filled from.
 *
 * An entry is never moved or freed while its table lives: a running handler holds the address of its slot, also when it
 * replaces itself.
 */
#include "handlers.h"

#include "ipc_builtin.h"
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 256 }; /* types are mostly consecutive: one of them in a bucket */
enum { BUILTIN = 1 };   /* the order of what is compiled in: whatever the program sets wins over it */

static struct handler *tables[HANDLERS_ROLES][BUCKETS];
static mln_ipc_cb_t *first_registered, *last_registered;
static mln_u64_t orders = BUILTIN; /* of what was set last */

/* A registration with the moment when it was made. */
struct registration {
    mln_ipc_cb_t cb; /* must stand first */
    mln_u64_t order;
};

struct handler *handlers_find(enum handlers_role role, mln_u32_t type)
{
    struct handler *h = tables[role][type % BUCKETS];

    while (h != NULL && h->type != type)
        h = h->next;
    return h != NULL && h->function != NULL ? h : NULL;
}

static struct handler *entry(enum handlers_role role, mln_u32_t type)
{
    struct handler **bucket = &tables[role][type % BUCKETS], *h;

    for (h = *bucket; h != NULL; h = h->next)
        if (h->type == type)
            return h;
    if ((h = calloc(1, sizeof *h)) == NULL)
        return NULL;
    h->type = type;
    h->slot = &h->own;
    h->next = *bucket;
    return *bucket = h;
}

/* Sets a handler, unless one was set later than `order`. */
static int set(enum handlers_role role, mln_u32_t type, ipc_handler function, void *data, mln_u64_t order)
{
    struct handler *h = entry(role, type);

    if (h == NULL) {
        errno = ENOMEM;
        return -1;
    }
    if (h->order >= order) /* a later one, or this one, whose data the program may have changed since */
        return 0;
    h->order = order;
    h->function = function;
    h->own = data;
    h->slot = &h->own;
    return 0;
}

int mln_fork_master_ipc_handler_set(mln_u32_t type, ipc_handler handler, void *data)
{
    return set(HANDLERS_MASTER, type, handler, data, ++orders);
}

int mln_fork_worker_ipc_handler_set(mln_u32_t type, ipc_handler handler, void *data)
{
    return set(HANDLERS_WORKER, type, handler, data, ++orders);
}

static void set_by_caller(enum handlers_role role, mln_ipc_handler_t *ih)
{
    struct handler *h = entry(role, ih->type);

    if (h == NULL) {
        log_line(error, "cannot set the handler of message type %u: out of memory", ih->type);
        return;
    }
    if (h->function != NULL && h->order > BUILTIN) {
        log_line(error, "message type %u has a handler; the second one is refused", ih->type);
        return;
    }
    h->order = ++orders;
    h->function = ih->handler;
    h->slot = &ih->data;
}

void mln_set_master_ipc_handler(mln_ipc_handler_t *ih)
{
    set_by_caller(HANDLERS_MASTER, ih);
}

void mln_set_worker_ipc_handler(mln_ipc_handler_t *ih)
{
    set_by_caller(HANDLERS_WORKER, ih);
}

/* ---- registrations ---- */

mln_ipc_cb_t *mln_ipc_handler_register(mln_u32_t type, ipc_handler master, ipc_handler worker, void *master_data,
                                       void *worker_data)
{
    struct registration *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->cb = (mln_ipc_cb_t){.prev = last_registered,
                           .master_handler = master,
                           .worker_handler = worker,
                           .master_data = master_data,
                           .worker_data = worker_data,
                           .type = type};
    r->order = ++orders;
    if (last_registered != NULL)
        last_registered->next = &r->cb;
    else
        first_registered = &r->cb;
    last_registered = &r->cb;
    return &r->cb;
}

void mln_ipc_handler_unregister(mln_ipc_cb_t *cb)
{
    if (cb == NULL)
        return;
    if (cb->prev != NULL)
        cb->prev->next = cb->next;
    else
        first_registered = cb->next;
    if (cb->next != NULL)
        cb->next->prev = cb->prev;
    else
        last_registered = cb->prev;
    free((struct registration *)cb);
}

/* Sets both handlers of a registration, as `set` does, or says why not. */
static int set_registered(const mln_ipc_cb_t *cb, mln_u64_t order)
{
    if (set(HANDLERS_MASTER, cb->type, cb->master_handler, cb->master_data, order) == 0 &&
        set(HANDLERS_WORKER, cb->type, cb->worker_handler, cb->worker_data, order) == 0)
        return 0;
    log_line(error, "cannot set the handlers of message type %u: %s", cb->type, strerror(errno));
    return -1;
}

static int set_builtin(void)
{
    for (const struct ipc_builtin *const *at = ipc_builtins; *at != NULL; ++at) {
        mln_ipc_cb_t cb = {.type = (*at)->type, .master_handler = (*at)->master, .worker_handler = (*at)->worker};

        if (set_registered(&cb, BUILTIN) != 0)
            return -1;
    }
    return 0;
}

void mln_set_ipc_handlers(void)
{
    (void)set_builtin();
}

int mln_ipc_set_process_handlers(void)
{
    for (mln_ipc_cb_t *cb = first_registered; cb != NULL; cb = cb->next)
        if (set_registered(cb, ((struct registration *)cb)->order) != 0)
            return -1;
    return 0;
}

int handlers_collect(void)
{
    return set_builtin() != 0 ? -1 : mln_ipc_set_process_handlers();
}

void handlers_drop_master(void)
{
    for (int i = 0; i < BUCKETS; ++i) {
        struct handler *next;

        /* The handler that is running may be one of them, and its slot is read when it returns: the memory stays. */
        for (struct handler *h = tables[HANDLERS_MASTER][i]; h != NULL; h = next) {
            next = h->next;
            h->function = NULL;
            h->order = 0;
        }
    }
}
