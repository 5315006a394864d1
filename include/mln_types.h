/**
 * @file mln_types.h
 * The integer types that all other headers use. They are the same in both eras.
 */
#ifndef __MLN_TYPES
#define __MLN_TYPES

#include <sys/types.h>
#include <unistd.h>

typedef unsigned char mln_u8_t;   /**< Unsigned, 8 bits. */
typedef char mln_s8_t;            /**< A plain char: its sign is the machine's. */
typedef unsigned short mln_u16_t; /**< Unsigned, 16 bits. */
typedef short mln_s16_t;          /**< Signed, 16 bits. */
typedef unsigned int mln_u32_t;   /**< Unsigned, 32 bits. */
typedef int mln_s32_t;            /**< Signed, 32 bits. */
#ifdef __LP64__
typedef unsigned long mln_u64_t; /**< Unsigned, 64 bits. */
typedef long mln_s64_t;          /**< Signed, 64 bits. */
#else
typedef unsigned long long mln_u64_t;
typedef long long mln_s64_t;
#endif

typedef mln_u8_t *mln_u8ptr_t;   /**< Bytes. */
typedef mln_s8_t *mln_s8ptr_t;   /**< Characters. */
typedef mln_u16_t *mln_u16ptr_t; /**< Pointer to mln_u16_t. */
typedef mln_s16_t *mln_s16ptr_t; /**< Pointer to mln_s16_t. */
typedef mln_u32_t *mln_u32ptr_t; /**< Pointer to mln_u32_t. */
typedef mln_s32_t *mln_s32ptr_t; /**< Pointer to mln_s32_t. */
typedef mln_u64_t *mln_u64ptr_t; /**< Pointer to mln_u64_t. */
typedef mln_s64_t *mln_s64ptr_t; /**< Pointer to mln_s64_t. */

typedef size_t mln_size_t;         /**< A size in bytes. */
typedef off_t mln_off_t;           /**< An offset in a file. */
typedef unsigned long mln_uptr_t;  /**< Unsigned, as wide as a pointer. */
typedef long mln_sptr_t;           /**< Signed, as wide as a pointer. */
typedef unsigned long mln_uauto_t; /**< Unsigned machine word. */
typedef long mln_sauto_t;          /**< Signed machine word. */

typedef long mln_lock_t; /**< A spin lock, for MLN_LOCK() and its kin. Seed era's name. */
typedef long mln_spin_t; /**< A spin lock, for mln_spin_lock() and its kin. Today's name. */

#include "mln_utils.h"
#include "mln_path.h"

#endif
