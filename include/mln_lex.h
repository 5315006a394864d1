/**
 * @file mln_lex.h
 * Exists because programs and message files include it by its name in the original, where it declares the lexer. This
 * library has no use for them, and offers none.
 */
#ifndef __MLN_LEX_H
#define __MLN_LEX_H

#include "mln_types.h"

#endif
