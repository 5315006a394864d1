/*
 * string.c - strings (mln_string.h).
 *
 * Structure and bytes are separate blocks: programs replace the bytes of a string they own.
 */
#include "mln_string.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* Any string, C string or NULL, as bytes to read. */
struct bytes {
    const unsigned char *data;
    size_t len;
};

static struct bytes of_string(const mln_string_t *s)
{
    return s != NULL ? (struct bytes){s->data, s->len} : (struct bytes){NULL, 0};
}

static struct bytes of_text(const char *text)
{
    return (struct bytes){(const unsigned char *)text, text != NULL ? strlen(text) : 0};
}

static struct bytes first(struct bytes bytes, size_t n)
{
    if (bytes.len > n)
        bytes.len = n;
    return bytes;
}

/* The first n bytes of a C string, which need not end within them. */
static struct bytes of_text_first(const char *text, size_t n)
{
    return (struct bytes){(const unsigned char *)text, text != NULL ? strnlen(text, n) : 0};
}

/* ---- making and freeing; a NULL pool is the heap ---- */

static void *take(mln_alloc_t *pool, size_t size)
{
    return pool != NULL ? mln_alloc_m(pool, size) : malloc(size);
}

static void give(bool pool, void *ptr)
{
    if (pool)
        mln_alloc_free(ptr);
    else
        free(ptr);
}

static mln_string_t *wrap(mln_alloc_t *pool, void *data, size_t len, bool data_ref)
{
    mln_string_t *s = take(pool, sizeof *s);

    if (s != NULL)
        *s = (mln_string_t){.data = data, .len = len, .data_ref = data_ref, .pool = pool != NULL, .ref = 1};
    return s;
}

static mln_string_t *with_room(mln_alloc_t *pool, size_t len)
{
    unsigned char *data;
    mln_string_t *s;

    if (len == SIZE_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    if ((data = take(pool, len + 1)) == NULL)
        return NULL;
    if ((s = wrap(pool, data, len, false)) == NULL) {
        give(pool != NULL, data);
        return NULL;
    }
    data[len] = '\0';
    return s;
}

static void *put(void *to, struct bytes bytes)
{
    if (bytes.len > 0) /* memcpy must not be given NULL, not even for nothing */
        memcpy(to, bytes.data, bytes.len);
    return (char *)to + bytes.len;
}

static mln_string_t *copy(mln_alloc_t *pool, struct bytes bytes)
{
    mln_string_t *s = with_room(pool, bytes.len);

    if (s != NULL)
        put(s->data, bytes);
    return s;
}

static mln_string_t *copy_n(mln_alloc_t *pool, const char *bytes, mln_s32_t n)
{
    if (n < 0) {
        errno = EINVAL;
        return NULL;
    }
    return copy(pool, (struct bytes){(const unsigned char *)bytes, bytes != NULL ? (size_t)n : 0});
}

static mln_string_t *alloc_n(mln_alloc_t *pool, mln_s32_t n)
{
    if (n < 0) {
        errno = EINVAL;
        return NULL;
    }
    return with_room(pool, (size_t)n);
}

static mln_string_t *join(mln_alloc_t *pool, struct bytes a, struct bytes b, struct bytes c)
{
    size_t len;
    mln_string_t *s;

    if (__builtin_add_overflow(a.len, b.len, &len) || __builtin_add_overflow(len, c.len, &len)) {
        errno = ENOMEM;
        return NULL;
    }
    if ((s = with_room(pool, len)) != NULL)
        put(put(put(s->data, a), b), c);
    return s;
}

/* A pool function must not turn to the heap for want of a pool: nobody would free what it returned. */
static bool no_pool(const mln_alloc_t *pool)
{
    if (pool == NULL)
        errno = EINVAL;
    return pool == NULL;
}

void mln_string_free(mln_string_t *s)
{
    if (s == NULL)
        return;
    if (s->ref > 1) {
        s->ref--;
        return;
    }
    if (!s->data_ref)
        give(s->pool, s->data);
    give(s->pool, s);
}

mln_string_t *mln_string_new(const char *text)
{
    return copy(NULL, of_text(text));
}

mln_string_t *mln_string_pool_new(mln_alloc_t *pool, const char *text)
{
    return no_pool(pool) ? NULL : copy(pool, of_text(text));
}

mln_string_t *mln_string_dup(const mln_string_t *s)
{
    return copy(NULL, of_string(s));
}

mln_string_t *mln_string_pool_dup(mln_alloc_t *pool, const mln_string_t *s)
{
    return no_pool(pool) ? NULL : copy(pool, of_string(s));
}

mln_string_t *mln_string_const_ndup(const char *bytes, mln_s32_t n)
{
    return copy_n(NULL, bytes, n);
}

mln_string_t *mln_string_pool_const_ndup(mln_alloc_t *pool, const char *bytes, mln_s32_t n)
{
    return no_pool(pool) ? NULL : copy_n(pool, bytes, n);
}

mln_string_t *mln_string_alloc(mln_s32_t n)
{
    return alloc_n(NULL, n);
}

mln_string_t *mln_string_pool_alloc(mln_alloc_t *pool, mln_s32_t n)
{
    return no_pool(pool) ? NULL : alloc_n(pool, n);
}

mln_string_t *mln_string_buf_new(mln_u8ptr_t buf, mln_u64_t len)
{
    return wrap(NULL, buf, len, false);
}

mln_string_t *mln_string_pool_buf_new(mln_alloc_t *pool, mln_u8ptr_t buf, mln_u64_t len)
{
    return no_pool(pool) ? NULL : wrap(pool, buf, len, false);
}

mln_string_t *mln_string_ref_dup(const mln_string_t *s)
{
    return s != NULL ? wrap(NULL, s->data, s->len, true) : mln_string_const_ref_dup("");
}

mln_string_t *mln_string_const_ref_dup(const char *text)
{
    return text != NULL ? wrap(NULL, (char *)text, strlen(text), true) : mln_string_const_ref_dup("");
}

mln_string_t *mln_string_strcat(const mln_string_t *s1, const mln_string_t *s2)
{
    return join(NULL, of_string(s1), of_string(NULL), of_string(s2));
}

mln_string_t *mln_string_concat(const mln_string_t *s1, const mln_string_t *s2, const mln_string_t *separator)
{
    return join(NULL, of_string(s1), of_string(separator), of_string(s2));
}

mln_string_t *mln_string_pool_concat(mln_alloc_t *pool, const mln_string_t *s1, const mln_string_t *s2,
                                     const mln_string_t *separator)
{
    return no_pool(pool) ? NULL : join(pool, of_string(s1), of_string(separator), of_string(s2));
}

/* ---- comparing ---- */

static int sign(int difference)
{
    return (difference > 0) - (difference < 0);
}

static int compare_len(struct bytes a, struct bytes b)
{
    return (a.len > b.len) - (a.len < b.len);
}

static int compare_bytes(const unsigned char *a, const unsigned char *b, size_t n)
{
    return n > 0 ? sign(memcmp(a, b, n)) : 0;
}

/* The shorter one comes first. That two strings begin at the same address says nothing about their lengths. */
static int compare(struct bytes a, struct bytes b)
{
    return a.len != b.len ? compare_len(a, b) : compare_bytes(a.data, b.data, a.len);
}

/* Of ASCII alone, whatever the locale. */
static int small_letter(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static int compare_case(struct bytes a, struct bytes b)
{
    if (a.len != b.len)
        return compare_len(a, b);
    for (size_t i = 0; i < a.len; i++) {
        int difference = small_letter(a.data[i]) - small_letter(b.data[i]);
        if (difference != 0)
            return sign(difference);
    }
    return 0;
}

int mln_string_strcmp(const mln_string_t *s1, const mln_string_t *s2)
{
    return compare(of_string(s1), of_string(s2));
}

int mln_string_const_strcmp(const mln_string_t *s1, const char *s2)
{
    return compare(of_string(s1), of_text(s2));
}

int mln_string_strncmp(const mln_string_t *s1, const mln_string_t *s2, mln_u32_t n)
{
    return compare(first(of_string(s1), n), first(of_string(s2), n));
}

int mln_string_const_strncmp(const mln_string_t *s1, const char *s2, mln_u32_t n)
{
    return compare(first(of_string(s1), n), of_text_first(s2, n));
}

int mln_string_strcasecmp(const mln_string_t *s1, const mln_string_t *s2)
{
    return compare_case(of_string(s1), of_string(s2));
}

int mln_string_const_strcasecmp(const mln_string_t *s1, const char *s2)
{
    return compare_case(of_string(s1), of_text(s2));
}

int mln_string_strncasecmp(const mln_string_t *s1, const mln_string_t *s2, mln_u32_t n)
{
    return compare_case(first(of_string(s1), n), first(of_string(s2), n));
}

int mln_string_const_strncasecmp(const mln_string_t *s1, const char *s2, mln_u32_t n)
{
    return compare_case(first(of_string(s1), n), of_text_first(s2, n));
}

int mln_string_strseqcmp(const mln_string_t *s1, const mln_string_t *s2)
{
    struct bytes a = of_string(s1), b = of_string(s2);
    int result = compare_bytes(a.data, b.data, a.len < b.len ? a.len : b.len);

    return result != 0 ? result : compare_len(a, b);
}

/* ---- finding and splitting ---- */

static char *find(struct bytes text, struct bytes pattern)
{
    if (pattern.len == 0)
        return (char *)text.data;
    return text.len > 0 ? memmem(text.data, text.len, pattern.data, pattern.len) : NULL;
}

char *mln_string_strstr(const mln_string_t *text, const mln_string_t *pattern)
{
    return find(of_string(text), of_string(pattern));
}

char *mln_string_const_strstr(const mln_string_t *text, const char *pattern)
{
    return find(of_string(text), of_text(pattern));
}

char *mln_string_kmp(const mln_string_t *text, const mln_string_t *pattern)
{
    return mln_string_strstr(text, pattern);
}

char *mln_string_const_kmp(const mln_string_t *text, const char *pattern)
{
    return mln_string_const_strstr(text, pattern);
}

/* Array and bytes are one block, the bytes behind the array. */
mln_string_t *mln_string_slice(const mln_string_t *s, const char *separators)
{
    struct bytes bytes = of_string(s);
    bool separates[256] = {false};
    size_t parts = 0, size;
    mln_string_t *slice, *part;
    mln_u8ptr_t at, end;

    for (const char *c = separators; c != NULL && *c != '\0'; c++)
        separates[(unsigned char)*c] = true;
    for (size_t i = 0; i < bytes.len; i++)
        parts += !separates[bytes.data[i]] && (i == 0 || separates[bytes.data[i - 1]]);

    if (__builtin_mul_overflow(parts + 1, sizeof *slice, &size) || __builtin_add_overflow(size, bytes.len, &size) ||
        __builtin_add_overflow(size, 1, &size)) {
        errno = ENOMEM;
        return NULL;
    }
    if ((slice = malloc(size)) == NULL)
        return NULL;
    at = (mln_u8ptr_t)(slice + parts + 1);
    end = put(at, bytes);
    *end = '\0';
    for (part = slice; part < slice + parts; part++) {
        while (separates[*at])
            at++;
        mln_string_nset(part, at, 0);
        while (at < end && !separates[*at])
            at++;
        part->len = (mln_u64_t)(at - part->data);
        *at++ = '\0';
    }
    mln_string_nset(part, NULL, 0);
    return slice;
}

void mln_string_slice_free(mln_string_t *slice)
{
    free(slice);
}
