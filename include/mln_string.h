/**
 * @file mln_string.h
 * Strings of known length, which may contain any bytes.
 *
 * A string has no lock; it belongs to one thread at a time, in any process. All functions take NULL for an empty string,
 * if a string is asked for.
 */
#ifndef __MLN_STRING_H
#define __MLN_STRING_H

#include <stdlib.h>
#include <string.h>

#include "mln_types.h"
#include "mln_alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A string. Those that this library makes have a terminating NUL behind their bytes, unless said otherwise. */
typedef struct {
    mln_u8ptr_t data;        /**< The bytes. */
    mln_u64_t len;           /**< Their number, without the terminating NUL. */
    mln_uauto_t data_ref:1;  /**< The bytes belong to somebody else and are not freed with the string. */
    mln_uauto_t pool:1;      /**< Structure and bytes come from a pool. */
    mln_uauto_t ref:30;      /**< How many times mln_string_free() has to be called. */
} mln_string_t;

/** Initialises a mln_string_t from a string literal, without a copy. Both eras. */
#define mln_string(literal) {(mln_u8ptr_t)(literal), sizeof(literal) - 1, 1, 0, 1}

/**
 * Makes a string of the program's own refer to bytes, without a copy. It must not be passed to mln_string_free(). Both eras.
 *
 * @param s    the string. What it had before is not freed.
 * @param data the bytes, which stay the caller's and have to last as long as they are used.
 * @param len  their number.
 * @return s.
 */
static inline mln_string_t *mln_string_refer(mln_string_t *s, const void *data, mln_u64_t len)
{
    s->data = (mln_u8ptr_t)data;
    s->len = len;
    s->data_ref = 1;
    s->pool = 0;
    s->ref = 1;
    return s;
}

/** As mln_string_refer(), for text that ends with a NUL. NULL is an empty string. */
static inline mln_string_t *mln_string_refer_text(mln_string_t *s, const void *text)
{
    return mln_string_refer(s, text, text == NULL ? 0 : strlen((const char *)text));
}

/** Makes *p refer to the bytes of a C string, without a copy. An expression with the value p. Both eras. */
#define mln_string_set(p, text) mln_string_refer_text((p), (text))
/** Makes *p refer to n bytes at ptr, without a copy. An expression with the value p. Both eras. */
#define mln_string_nset(p, ptr, n) mln_string_refer((p), (ptr), (mln_u64_t)(n))

/** Counts one more user of a string, who will call mln_string_free() too. Both eras. @return s. */
static inline mln_string_t *mln_string_ref(mln_string_t *s)
{
    ++s->ref;
    return s;
}

/**
 * Counts one user of a string less, and frees the string after the last. Both eras.
 *
 * @param s a string that a function of this header returned; NULL is allowed. A string that was made by mln_string() or
 *          mln_string_set() must have been counted by mln_string_ref() before.
 */
void mln_string_free(mln_string_t *s);

/**
 * Copies a C string to the heap. Both eras.
 *
 * @param text the text; NULL gives an empty string.
 * @return the string, for mln_string_free(); NULL with errno ENOMEM.
 */
mln_string_t *mln_string_new(const char *text);

/** As mln_string_new(), from a pool. Both eras. */
mln_string_t *mln_string_pool_new(mln_alloc_t *pool, const char *text);

/** Copies a string to the heap. Both eras. @return the string, for mln_string_free(); NULL with errno ENOMEM. */
mln_string_t *mln_string_dup(const mln_string_t *s);

/** As mln_string_dup(), from a pool. Both eras. */
mln_string_t *mln_string_pool_dup(mln_alloc_t *pool, const mln_string_t *s);

/**
 * Copies n bytes to the heap. Both eras.
 *
 * @param bytes the bytes; NULL gives an empty string.
 * @param n     their number.
 * @return the string, for mln_string_free(); NULL with errno EINVAL when n is negative, ENOMEM when memory is short.
 */
mln_string_t *mln_string_const_ndup(const char *bytes, mln_s32_t n);

/** As mln_string_const_ndup(), from a pool. Today's era. */
mln_string_t *mln_string_pool_const_ndup(mln_alloc_t *pool, const char *bytes, mln_s32_t n);

/**
 * Makes a string of n bytes on the heap, to be filled in. Today's era.
 *
 * @param n the length; the bytes are undefined, the NUL behind them is there.
 * @return the string, for mln_string_free(); NULL with errno EINVAL when n is negative, ENOMEM when memory is short.
 */
mln_string_t *mln_string_alloc(mln_s32_t n);

/** As mln_string_alloc(), from a pool. Today's era. */
mln_string_t *mln_string_pool_alloc(mln_alloc_t *pool, mln_s32_t n);

/**
 * Makes a string out of bytes that were taken with malloc(), without a copy. No NUL is added. Today's era.
 *
 * @param buf the bytes; they belong to the string if there is one, else they stay the caller's.
 * @param len their number.
 * @return the string, for mln_string_free(); NULL with errno ENOMEM.
 */
mln_string_t *mln_string_buf_new(mln_u8ptr_t buf, mln_u64_t len);

/** As mln_string_buf_new(), for bytes that were taken from a pool. Today's era. */
mln_string_t *mln_string_pool_buf_new(mln_alloc_t *pool, mln_u8ptr_t buf, mln_u64_t len);

/**
 * Makes a second string on the heap that refers to the bytes of the first. Both eras.
 *
 * @param s the first, whose bytes have to last longer.
 * @return the second, for mln_string_free(); NULL with errno ENOMEM.
 */
mln_string_t *mln_string_ref_dup(const mln_string_t *s);

/** Makes a string on the heap that refers to a C string, which has to last longer; otherwise as mln_string_ref_dup(). */
mln_string_t *mln_string_const_ref_dup(const char *text);

/** Joins two strings to a new one on the heap. Both eras. @return the string, for mln_string_free(); NULL with errno ENOMEM. */
mln_string_t *mln_string_strcat(const mln_string_t *s1, const mln_string_t *s2);

/** Joins two strings with a third between them, to a new one on the heap; otherwise as mln_string_strcat(). Today's era. */
mln_string_t *mln_string_concat(const mln_string_t *s1, const mln_string_t *s2, const mln_string_t *separator);

/** As mln_string_concat(), from a pool. Today's era. */
mln_string_t *mln_string_pool_concat(mln_alloc_t *pool, const mln_string_t *s1, const mln_string_t *s2,
                                     const mln_string_t *separator);

/**
 * Compares two strings: the shorter one comes first, strings of one length in the order of their bytes. Both eras.
 *
 * @return 0 if they are equal, -1 if s1 comes first, 1 if s2 does.
 */
int mln_string_strcmp(const mln_string_t *s1, const mln_string_t *s2);

/** As mln_string_strcmp(), with a C string. Both eras. */
int mln_string_const_strcmp(const mln_string_t *s1, const char *s2);

/** As mln_string_strcmp(), of the first n bytes of each string: of less, if a string is shorter. Both eras. */
int mln_string_strncmp(const mln_string_t *s1, const mln_string_t *s2, mln_u32_t n);

/** As mln_string_strncmp(), with a C string. Both eras. */
int mln_string_const_strncmp(const mln_string_t *s1, const char *s2, mln_u32_t n);

/** As mln_string_strcmp(), taking ASCII capitals for small letters. Both eras. */
int mln_string_strcasecmp(const mln_string_t *s1, const mln_string_t *s2);

/** As mln_string_strcasecmp(), with a C string. Both eras. */
int mln_string_const_strcasecmp(const mln_string_t *s1, const char *s2);

/** As mln_string_strncmp(), taking ASCII capitals for small letters. Both eras. */
int mln_string_strncasecmp(const mln_string_t *s1, const mln_string_t *s2, mln_u32_t n);

/** As mln_string_strncasecmp(), with a C string. Both eras. */
int mln_string_const_strncasecmp(const mln_string_t *s1, const char *s2, mln_u32_t n);

/**
 * Compares two strings in the order of a dictionary: byte by byte, and a string comes after its own beginning. Both eras.
 *
 * @return 0 if they are equal, -1 if s1 comes first, 1 if s2 does.
 */
int mln_string_strseqcmp(const mln_string_t *s1, const mln_string_t *s2);

/**
 * Finds a string in another, in linear time. Both eras.
 *
 * @param text    where to look.
 * @param pattern what to look for.
 * @return where its first occurrence begins, inside text->data; NULL if there is none. An empty pattern is found at once.
 */
char *mln_string_strstr(const mln_string_t *text, const mln_string_t *pattern);

/** As mln_string_strstr(), with a C string as pattern. Both eras. */
char *mln_string_const_strstr(const mln_string_t *text, const char *pattern);

/** Another name of mln_string_strstr(). Both eras. */
char *mln_string_kmp(const mln_string_t *text, const mln_string_t *pattern);

/** Another name of mln_string_const_strstr(). Both eras. */
char *mln_string_const_kmp(const mln_string_t *text, const char *pattern);

/**
 * Splits a string. Both eras.
 *
 * @param s          the string, which is copied.
 * @param separators the characters that separate its parts, as a C string. Empty parts are left out.
 * @return an array of the parts, on the heap, for mln_string_slice_free(); it ends with one whose length is 0. NULL with
 *         errno ENOMEM.
 */
mln_string_t *mln_string_slice(const mln_string_t *s, const char *separators);

/** Frees what mln_string_slice() returned. NULL is allowed. Both eras. */
void mln_string_slice_free(mln_string_t *slice);

#ifdef __cplusplus
}
#endif

#endif
