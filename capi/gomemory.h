/*
 * gomemory.h - the memory of a Go runtime, which a child made by fork does without.
 */
#ifndef MLN_GOMEMORY_H
#define MLN_GOMEMORY_H

#include <stddef.h>
#include <stdint.h>

enum { GOMEMORY_RANGES_MAX = 64 };

/* A function of Go's package runtime/cgo, by which C calls Go. */
typedef void cross_to_go(void (*)(void *), void *, int, size_t);

/* What a copy of this library knows of its Go runtime for that. */
struct gomemory {
    uint32_t changing; /* a lock of `ranges` */
    struct {
        uintptr_t begin, end; /* empty: not used; atomic */
    } ranges[GOMEMORY_RANGES_MAX];
    cross_to_go **end_thread; /* what is called when a thread ends that the runtime has met */
};

/*
 * Around a fork. The child gets that memory nevertheless if it goes on with something that lies there: if the caller knows of
 * something, or its stack does. In the child, nothing enters the dead runtime any more.
 */
void gomemory_before_fork(struct gomemory *m, int used);
void gomemory_after_fork_parent(struct gomemory *m);
void gomemory_after_fork_child(struct gomemory *m);

/* errno, if the last fork of this thread could not pass on what its child goes on with; else 0. In both processes. */
int gomemory_withheld(void);

#endif
