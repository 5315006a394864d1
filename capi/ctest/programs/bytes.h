/*
 * bytes.h - bytes as they should be, for a program to compare with.
 */
#ifndef BYTES_H
#define BYTES_H

#include "check.h"

struct bytes {
    unsigned char *at;
    size_t n;
};

static inline void add_bytes(struct bytes *bytes, const void *more, size_t n)
{
    if (n == 0)
        return;
    CHECK((bytes->at = realloc(bytes->at, bytes->n + n)) != NULL);
    memcpy(bytes->at + bytes->n, more, n);
    bytes->n += n;
}

static inline struct bytes copy_bytes(const void *of, size_t n)
{
    struct bytes bytes = {NULL, 0};

    add_bytes(&bytes, of, n);
    return bytes;
}

static inline void drop_bytes(struct bytes *bytes)
{
    free(bytes->at);
    *bytes = (struct bytes){NULL, 0};
}

static inline void check_bytes(const void *actual, const void *expected, size_t n)
{
    CHECK(n == 0 || memcmp(actual, expected, n) == 0);
}

#endif
