/**
 * @file mln_rbtree.h
 * Exists because programs and message files include it by its name in the original, where it declares red-black trees. This
 * library has no use for them, and offers none.
 */
#ifndef __MLN_RBTREE_H
#define __MLN_RBTREE_H

#include "mln_types.h"

#endif
