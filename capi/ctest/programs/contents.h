/*
 * contents.h - numbers that look random, and bytes to send that can be told from others.
 */
#ifndef CONTENTS_H
#define CONTENTS_H

#include "check.h"

#include <stdint.h>

/* A sequence of numbers that look random; any state will do. */
CHECK_UNUSED static inline uint64_t random_number(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/*
 * What this run of a test begins its random choices with. It is printed; SEED=number in the environment repeats a run, as far as its
 * choices go.
 */
CHECK_UNUSED static inline uint64_t seed_of_run(void)
{
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();

    printf("SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

/* Bytes that can be told from those of any other state. */
CHECK_UNUSED static inline void fill(void *bytes, size_t size, uint64_t state)
{
    char *at = (char *)bytes;

    for (; size > 0; at += sizeof state) {
        uint64_t word = random_number(&state);
        size_t n = size < sizeof word ? size : sizeof word;

        memcpy(at, &word, n);
        size -= n;
    }
}

/* Whether they are those bytes. */
CHECK_UNUSED static inline int filled(const void *bytes, size_t size, uint64_t state)
{
    const char *at = (const char *)bytes;

    for (; size > 0; at += sizeof state) {
        uint64_t word = random_number(&state);
        size_t n = size < sizeof word ? size : sizeof word;

        if (memcmp(at, &word, n) != 0)
            return 0;
        size -= n;
    }
    return 1;
}

/* A numbered message has the usual size, or one of so many any size up to the largest. */
enum { USUAL_SIZE = 1000, LARGEST_SIZE = 200000 };

CHECK_UNUSED static inline size_t numbered_size(unsigned number, unsigned large_one_of)
{
    uint64_t state = number, choice = random_number(&state);

    return USUAL_SIZE + (choice % large_one_of != 0 ? 0 : choice / large_one_of % (LARGEST_SIZE - USUAL_SIZE + 1));
}

/* What is in it, valid until the next call. */
CHECK_UNUSED static inline unsigned char *numbered_message(unsigned number, size_t size)
{
    static unsigned char bytes[LARGEST_SIZE];

    fill(bytes, size, number);
    return bytes;
}

#endif
