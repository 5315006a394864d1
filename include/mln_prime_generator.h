/**
 * @file mln_prime_generator.h
 * Exists because programs and message files include it by its name in the original, where it declares prime numbers. This
 * library has no use for them, and offers none.
 */
#ifndef __MLN_PRIME_GENERATOR_H
#define __MLN_PRIME_GENERATOR_H

#include "mln_types.h"

#endif
