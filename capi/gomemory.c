/*
 * gomemory.c - the memory of a Go runtime, which a child made by fork does without.
 *
 * A child cannot use its parent's Go runtime. Copying that one's heap, stacks and tables would be half of what a fork costs: the
 * kernel copies page tables, the parent meets a fault for every page that it writes to afterwards, and the child frees all of it.
 * So this memory is marked not to be inherited (MADV_DONTFORK) as the runtime maps it, which it does by functions of the C library.
 *
 * One thing of a thread that has called Go leads there: what is called when it ends. The child takes it away.
 *
 * And two things can be in use in the child: messages whose handlers are running, and the stack itself where a handler of a signal
 * forks that has interrupted Go code. Then the memory is inherited like any other.
 */
#include "gomemory.h"

#include "copy.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* What Go returns for a failure is errno. */
enum { ERRNO_END = 4096 };

static int inherited;         /* by the fork under way; under the locks that are held around one */
static __thread int withheld; /* errno, if the last fork of this thread could not pass on all that its child needs */

static uintptr_t get(const uintptr_t *at)
{
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void put(uintptr_t *at, uintptr_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELAXED);
}

/* A handler of a signal that has interrupted the holder must not wait for ever. What it does then is to miss a change. */
static void begin_change(struct gomemory *m)
{
    enum { TRIES = 10000 };

    for (int i = 0; i < TRIES && __atomic_exchange_n(&m->changing, 1, __ATOMIC_ACQUIRE) != 0; ++i)
        (void)sched_yield();
}

static void end_change(struct gomemory *m)
{
    __atomic_store_n(&m->changing, 0, __ATOMIC_RELEASE);
}

/* Notes a range. 0 if there is no room: it is inherited. */
static int add(struct gomemory *m, uintptr_t begin, uintptr_t end)
{
    int empty = -1;

    for (int i = 0; i < GOMEMORY_RANGES_MAX; ++i) {
        uintptr_t from = get(&m->ranges[i].begin), to = get(&m->ranges[i].end);

        if (from == to) {
            empty = empty < 0 ? i : empty;
            continue;
        }
        if (begin > to || end < from)
            continue;
        put(&m->ranges[i].begin, begin < from ? begin : from);
        put(&m->ranges[i].end, end > to ? end : to);
        return 1;
    }
    if (empty < 0)
        return 0;
    put(&m->ranges[empty].end, end);
    put(&m->ranges[empty].begin, begin);
    return 1;
}

/* Forgets a range, or a part of one. */
static void drop(struct gomemory *m, uintptr_t begin, uintptr_t end)
{
    for (int i = 0; i < GOMEMORY_RANGES_MAX; ++i) {
        uintptr_t from = get(&m->ranges[i].begin), to = get(&m->ranges[i].end);

        if (from == to || end <= from || begin >= to)
            continue;
        if (begin <= from) {
            put(&m->ranges[i].begin, end < to ? end : to);
            continue;
        }
        put(&m->ranges[i].end, begin);
        if (end < to)
            (void)add(m, end, to);
    }
}

/* ---- what the runtime calls to map and unmap memory, in the place of its own functions (see the linker's --wrap) ---- */

uintptr_t __real_x_cgo_mmap(void *, uintptr_t, int32_t, int32_t, int32_t, uint32_t) __attribute__((weak));
void __real_x_cgo_munmap(void *, uintptr_t) __attribute__((weak));
uintptr_t __wrap_x_cgo_mmap(void *where, uintptr_t size, int32_t protection, int32_t flags, int32_t fd, uint32_t offset);
void __wrap_x_cgo_munmap(void *where, uintptr_t size);

/*
 * Valgrind searches all memory for leaks that it knows of when a child ends, and does not know what is missing there. The first call
 * is that of a runtime that starts: later the program may be changing its environment.
 */
static int under_valgrind(void)
{
    static int known = -1;

    if (known < 0) {
        const char *preloaded = secure_getenv("LD_PRELOAD");

        known = preloaded != NULL && strstr(preloaded, "/vgpreload_") != NULL;
    }
    return known;
}

uintptr_t __wrap_x_cgo_mmap(void *where, uintptr_t size, int32_t protection, int32_t flags, int32_t fd, uint32_t offset)
{
    struct gomemory *m = &engine_orders.memory;
    uintptr_t begin = __real_x_cgo_mmap(where, size, protection, flags, fd, offset);

    if (begin < ERRNO_END || (flags & MAP_ANONYMOUS) == 0 || under_valgrind())
        return begin;
    begin_change(m);
    if (add(m, begin, begin + size))
        (void)madvise((void *)begin, size, MADV_DONTFORK);
    end_change(m);
    return begin;
}

void __wrap_x_cgo_munmap(void *where, uintptr_t size)
{
    struct gomemory *m = &engine_orders.memory;

    begin_change(m); /* which also keeps others from marking what is mapped there next */
    drop(m, (uintptr_t)where, (uintptr_t)where + size);
    __real_x_cgo_munmap(where, size);
    end_change(m);
}

/* ---- around a fork ---- */

static int holds(const struct gomemory *m, const void *address)
{
    for (int i = 0; i < GOMEMORY_RANGES_MAX; ++i)
        if ((uintptr_t)address >= get(&m->ranges[i].begin) && (uintptr_t)address < get(&m->ranges[i].end))
            return 1;
    return 0;
}

/*
 * Returns errno of what the kernel has refused for good, or 0. ENOMEM tells of a hole in a range, behind which it goes on. What it refuses
 * otherwise was memory for merging areas at first, which there may be now, and then memory for splitting them.
 */
static int advise_all(const struct gomemory *m, int advice)
{
    int refused = 0;

    for (int i = 0; i < GOMEMORY_RANGES_MAX; ++i) {
        uintptr_t begin = get(&m->ranges[i].begin), end = get(&m->ranges[i].end);

        if (begin < end && madvise((void *)begin, end - begin, advice) != 0 && madvise((void *)begin, end - begin, advice) != 0 &&
            errno != ENOMEM)
            refused = errno;
    }
    return refused;
}

void gomemory_before_fork(struct gomemory *m, int used)
{
    withheld = 0;
    inherited = used || holds(m, __builtin_frame_address(0));
    if (!inherited)
        return;
    begin_change(m);
    withheld = advise_all(m, MADV_DOFORK);
    end_change(m);
}

int gomemory_withheld(void)
{
    return withheld;
}

void gomemory_after_fork_parent(struct gomemory *m)
{
    if (!inherited)
        return;
    begin_change(m);
    (void)advise_all(m, MADV_DONTFORK);
    end_change(m);
}

void gomemory_after_fork_child(struct gomemory *m)
{
    if (m->end_thread != NULL)
        *m->end_thread = NULL;
    memset(m->ranges, 0, sizeof m->ranges); /* something else may be mapped there from now on */
    m->changing = 0;
}
