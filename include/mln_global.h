/**
 * @file mln_global.h
 * Exists because message files of the seed era include it for the configuration.
 */
#ifndef __MLN_GLOBAL_H
#define __MLN_GLOBAL_H

#include "mln_types.h"
#include "mln_conf.h"

#endif
