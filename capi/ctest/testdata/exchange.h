/*
 * exchange.h - what masters and workers in C and in Go have to say to each other; see exchange_test.go. The Go side of it is
 * exchange/main.go.
 */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include "check.h"

#include "mln_event.h"
#include "mln_fork.h"
#include "mln_ipc.h"

enum {
    ADD_ONE = 1, /* bytes; the answer has each of them one larger */
    SUM,         /* a request {"A":number,"B":number}, behind eight bytes as package core has them; the answer is the sum */
    COUNT        /* nothing; the answer is how many of these have come, a mln_u32_t */
};

enum { REQUEST, REPLY }; /* the second number of a request */

enum { WORKERS = 2, COUNTS = 100, SIZES = 5 };

static const mln_size_t exchange_sizes[SIZES] = {0, 1, 1000, 65536, 3 << 20};

#endif
