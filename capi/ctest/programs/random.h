/*
 * random.h - for programs that make random steps, which random_test.go runs, and shrinks when they fail.
 *
 * The arguments are a seed, how many steps are made, a mask of the kinds of steps to leave out, and the name of a fault to plant, so that
 * finding it can be tested. All have defaults, and the seed is printed.
 */
#ifndef RANDOM_H
#define RANDOM_H

#include "contents.h"

static uint64_t seed, whims; /* whims: the state of all choices, which begins with the seed */
static int steps;            /* that are left to be made */
static const char *planted;
static unsigned kept[31], n_kept; /* kinds of steps that are not left out */

static inline unsigned pick(unsigned n)
{
    return (unsigned)(random_number(&whims) % n);
}

/* Whether this fault is planted. */
static inline int faulty(const char *fault)
{
    return strcmp(planted, fault) == 0;
}

/* Reads the arguments of a program that makes so many steps by default, of so many kinds: at most 31. */
static inline void begin_random(int argc, char **argv, int usual_steps, unsigned kinds)
{
    unsigned left_out = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 0;

    seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
    whims = seed;
    steps = argc > 2 ? atoi(argv[2]) : usual_steps;
    planted = argc > 4 ? argv[4] : "";
    CHECK(kinds <= sizeof kept / sizeof *kept && left_out >> kinds == 0);
    for (unsigned kind = 0; kind < kinds; ++kind)
        if ((left_out >> kind & 1) == 0)
            kept[n_kept++] = kind;
    if (n_kept == 0)
        steps = 0;
    printf("seed %llu, %d steps, without 0x%x\n", (unsigned long long)seed, steps, left_out);
    fflush(stdout);
}

/* The kind of the next step, which its bit in the mask is for. To be called while there are steps left. */
static inline unsigned next_kind(void)
{
    --steps;
    return kept[pick(n_kept)];
}

#endif
