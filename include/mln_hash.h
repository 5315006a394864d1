/**
 * @file mln_hash.h
 * Exists because programs and message files include it by its name in the original, where it declares hash tables. This
 * library has no use for them, and offers none.
 */
#ifndef __MLN_HASH_H
#define __MLN_HASH_H

#include "mln_types.h"

#endif
