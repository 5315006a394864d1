/**
 * @file mln_fheap.h
 * Exists because programs and message files include it by its name in the original, where it declares Fibonacci heaps. This
 * library has no use for them, and offers none.
 */
#ifndef __MLN_FHEAP_H
#define __MLN_FHEAP_H

#include "mln_types.h"

#endif
