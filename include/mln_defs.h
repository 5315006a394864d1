/**
 * @file mln_defs.h
 * The seed era's name of mln_utils.h, which has the macros of both eras.
 */
#include "mln_utils.h"
