/*
 * Pools, strings, lists, locks, watched functions, times and paths are used in random order, several of each at a time, while plain
 * arrays keep what must come of it: all bytes are where they were put, and a pool counts what was taken and not given back. A child
 * that is forked meanwhile has a copy of everything, and gives it back.
 *
 * For the arguments see random.h.
 *
 * deadline: 60s
 */
#define MLN_FUNC_FLAG
#include "random.h"

#include "bytes.h"

#include <errno.h>
#include <limits.h>
#include <sys/wait.h>

#include "mln_alloc.h"
#include "mln_path.h"
#include "mln_string.h"
#include "mln_tools.h"
#include "mln_utils.h"

enum {
    POOLS = 6,
    BLOCKS = 64,
    TEXTS = 24,
    LONGEST = 300, /* text that is made; those that are joined may be longer */
    ITEMS = 12
};

/* ---- pools ---- */

struct pool {
    mln_alloc_t *pool; /* NULL: there is none */
    struct pool *parent;
    size_t capacity; /* 0: no limit */
    size_t used;
};

struct block {
    unsigned char *at; /* NULL: there is none */
    size_t size;
    uint64_t content;
    struct pool *pool;
};

static struct pool pools[POOLS]; /* the first is there from the beginning to the end, and has a capacity */
static struct block blocks[BLOCKS];

static void drop_texts_of(const struct pool *p);

static struct pool *some_pool(void)
{
    struct pool *p;

    do {
        p = &pools[pick(POOLS)];
    } while (p->pool == NULL);
    return p;
}

static int is_within(const struct pool *p, const struct pool *outer)
{
    while (p != NULL && p != outer)
        p = p->parent;
    return p != NULL;
}

static int has_children(const struct pool *p)
{
    for (int i = 0; i < POOLS; ++i)
        if (pools[i].pool != NULL && pools[i].parent == p)
            return 1;
    return 0;
}

/* What may be left for blocks at most. */
static size_t left_in(const struct pool *p)
{
    return p->capacity != 0 ? p->capacity - p->used : SIZE_MAX;
}

/* Whether a pool, or one that it takes from, can have less left, because of what others that take from it have for themselves. */
static int shares(const struct pool *p)
{
    if (p->capacity != 0 && has_children(p))
        return 1;
    return p->parent != NULL && (p->parent->capacity != 0 || shares(p->parent));
}

static void check_pool(const struct pool *p)
{
    size_t left = mln_alloc_available_capacity(p->pool);

    if (p->capacity != 0 && has_children(p))
        CHECK(left <= left_in(p));
    else
        CHECK(left == left_in(p));
}

/* Whether a pool refused so many bytes more: it must not if it has them, and must if it has not. */
static int refused(const struct pool *p, const void *got, size_t more)
{
    int has = more <= PTRDIFF_MAX / 2 && more <= left_in(p);

    if (got != NULL)
        CHECK(has);
    else
        CHECK(errno == ENOMEM && (!has || shares(p)));
    return got == NULL;
}

static void make_pool(void)
{
    struct pool *p = &pools[pick(POOLS)], *parent = pick(2) ? some_pool() : NULL;
    size_t capacity = pick(4) == 0 ? 0 : (1 + (size_t)pick(100)) << pick(14);

    if (p->pool != NULL)
        return;
    if (parent != NULL)
        p->pool = capacity == 0 ? mln_alloc_init(parent->pool) : mln_alloc_init(parent->pool, capacity);
    else
        p->pool = capacity == 0 ? mln_alloc_init() : mln_alloc_init(NULL, capacity);
    CHECK(p->pool != NULL || (parent != NULL && (parent->capacity != 0 || shares(parent))));
    *p = (struct pool){.pool = p->pool, .parent = parent, .capacity = capacity};
}

/* With all that is in it. */
static void end_pool(struct pool *p)
{
    drop_texts_of(p);
    for (int i = 0; i < BLOCKS; ++i)
        if (blocks[i].at != NULL && is_within(blocks[i].pool, p))
            blocks[i].at = NULL;
    mln_alloc_destroy(p->pool);
    for (int i = POOLS - 1; i > 0; --i)
        if (&pools[i] != p && pools[i].pool != NULL && is_within(&pools[i], p))
            pools[i].pool = NULL;
    p->pool = NULL;
}

static void destroy_pool(void)
{
    struct pool *p = &pools[1 + pick(POOLS - 1)];

    if (p->pool != NULL)
        end_pool(p);
}

static size_t some_size(void)
{
    switch (pick(8)) {
    case 0:
        return ((size_t)1 << pick(18)) + pick(3) - 1;
    case 1:
        return pick(20000);
    case 2:
        return pick(4) ? pick(200000) : SIZE_MAX / (1 + pick(2)) - pick(4000);
    default:
        return pick(600);
    }
}

static void set_block(struct block *b, unsigned char *at, size_t size, struct pool *p)
{
    CHECK_INT((uintptr_t)at % 16, 0);
    *b = (struct block){.at = at, .size = size, .content = random_number(&whims), .pool = p};
    fill(at, size, b->content);
}

/* 0: the pool has no more. */
static int take(struct block *b, struct pool *p, size_t size)
{
    unsigned how = pick(3);
    unsigned char *at;

    errno = 0;
    at = how == 0 ? mln_alloc_m(p->pool, size) : how == 1 ? mln_alloc_c(p->pool, size) : mln_alloc_re(p->pool, NULL, size);
    if (refused(p, at, size))
        return 0;
    for (size_t i = 0; how == 1 && i < size; ++i)
        CHECK_INT(at[i], 0);
    p->used += size;
    set_block(b, at, size, p);
    return 1;
}

/* One, or many of a size. */
static void take_block(void)
{
    struct block *b = &blocks[pick(BLOCKS)], *end = pick(8) ? b + 1 : blocks + BLOCKS;
    struct pool *p = some_pool();
    size_t size = pick(16) == 0 && left_in(p) < 100000 ? left_in(p) + pick(2) : some_size(); /* all that there is, or a byte more */

    for (; b < end; ++b)
        if (b->at == NULL && !take(b, p, size))
            break;
    CHECK_PTR(mln_alloc_m(NULL, size), NULL);
    CHECK_INT(errno, EINVAL);
    CHECK_INT(mln_alloc_available_capacity(NULL), 0);
}

static void check_block(const struct block *b)
{
    CHECK(filled(b->at, b->size, b->content));
}

static void resize_block(void)
{
    struct block *b = &blocks[pick(BLOCKS)];
    struct pool *p = pick(4) == 0 ? some_pool() : b->pool;
    size_t size = pick(2) ? b->size + pick(pick(2) ? 2 : 100) : pick(8) ? some_size() : 0;
    unsigned char *at;

    if (b->at == NULL)
        return;
    check_block(b);
    errno = 0;
    at = mln_alloc_re(p->pool, b->at, size);
    if (size <= b->size) {
        CHECK_PTR(at, size > 0 ? b->at : NULL);
    } else if (p == b->pool) {
        if (refused(p, at, size - b->size))
            return;
    } else if (at == NULL) { /* where it is, or where it would be */
        CHECK(errno == ENOMEM && (size - b->size > left_in(b->pool) || refused(p, at, size)));
        return;
    } else if (at != b->at) {
        CHECK(!refused(p, at, size));
    } else {
        CHECK(size - b->size <= left_in(b->pool));
    }
    if (at == b->at)
        p = b->pool;
    b->pool->used -= b->size;
    p->used += size;
    if (at == NULL) {
        b->at = NULL;
        return;
    }
    CHECK(filled(at, size < b->size ? size : b->size, b->content));
    set_block(b, at, size, p);
}

static void release_block(struct block *b)
{
    check_block(b);
    mln_alloc_free(b->at);
    b->pool->used -= b->size;
    b->at = NULL;
}

/* One, or all of a pool. */
static void free_block(void)
{
    struct block *b = &blocks[pick(BLOCKS)], *end = pick(8) ? b + 1 : blocks + BLOCKS;
    const struct pool *p = b->pool;

    for (; b < end; ++b)
        if (b->at != NULL && b->pool == p)
            release_block(b);
    mln_alloc_free(NULL);
    mln_alloc_destroy(NULL);
}

/* ---- strings ---- */

struct text {
    mln_string_t *s; /* NULL: there is none */
    struct bytes bytes;
    unsigned users;
    int unterminated;
    int refers;         /* its bytes are not its own */
    struct text *owner; /* of its bytes, if that is another string */
    struct pool *pool;  /* NULL: the heap */
    size_t charge;      /* what it takes of the pool */
};

static struct text texts[TEXTS];
static const char constant[] = "a constant, and not a short one: abababab";

static struct text *some_text(void)
{
    struct text *t = &texts[pick(TEXTS)];

    return t->s != NULL ? t : NULL;
}

static struct text *free_text(void)
{
    struct text *t = &texts[pick(TEXTS)];

    return t->s == NULL ? t : NULL;
}

static mln_string_t *string_of(const struct text *t)
{
    return t != NULL ? t->s : NULL;
}

static struct bytes bytes_of(const struct text *t)
{
    return t != NULL ? t->bytes : (struct bytes){NULL, 0};
}

static void check_text(const struct text *t)
{
    CHECK_INT(t->s->len, t->bytes.n);
    check_bytes(t->s->data, t->bytes.at, t->bytes.n);
    CHECK(t->unterminated || t->s->data[t->s->len] == '\0');
    CHECK_INT(t->s->ref, t->users);
    CHECK_INT(t->s->pool, t->pool != NULL);
    CHECK_INT(t->s->data_ref, t->refers);
}

/* Of few different bytes, so that some are in others. The result is terminated. */
static size_t make_up(char bytes[LONGEST + 1], int any)
{
    static const char *const alphabets[] = {"ab", "abAB", "aZ,; ", "\x01\x80\xff"};
    size_t n = pick(3) ? pick(12) : pick(LONGEST);
    unsigned alphabet = pick(5);

    for (size_t i = 0; i < n; ++i)
        bytes[i] = alphabet == 4 ? (char)(pick(255) + 1) : alphabets[alphabet][pick((unsigned)strlen(alphabets[alphabet]))];
    if (any && n > 0 && pick(2))
        bytes[pick((unsigned)n)] = '\0';
    bytes[n] = '\0';
    return n;
}

/* NULL, and an empty text, too. */
static const char *some_c_string(char bytes[LONGEST + 1])
{
    make_up(bytes, 0);
    return pick(10) ? bytes : NULL;
}

/* Keeps a string that was made with so many bytes left in the pool, if it is of one. */
static void keep_text(struct text *t, mln_string_t *s, const void *bytes, size_t n, struct pool *p, size_t left)
{
    if (p != NULL && s == NULL) {
        CHECK_INT(errno, ENOMEM);
        CHECK(shares(p) || n + 1 + sizeof *s > left);
        CHECK(mln_alloc_available_capacity(p->pool) == left);
        return;
    }
    CHECK(s != NULL);
    *t = (struct text){.s = s, .bytes = copy_bytes(bytes, n), .users = 1, .pool = p};
    if (p != NULL)
        p->used += t->charge = left - mln_alloc_available_capacity(p->pool);
    CHECK(p == NULL || p->capacity == 0 || t->charge >= n + sizeof *s);
}

static void make_string(void)
{
    struct text *t = free_text(), *from = some_text();
    struct pool *p = pick(2) ? some_pool() : NULL;
    mln_alloc_t *pool = p != NULL ? p->pool : NULL;
    size_t left = p != NULL ? mln_alloc_available_capacity(pool) : 0, n;
    unsigned how = pick(6);
    char bytes[LONGEST + 1];
    const char *text;
    mln_u8ptr_t block;
    mln_string_t *s;

    if (t == NULL)
        return;
    n = make_up(bytes, how > 0);
    switch (how) {
    case 0:
        text = pick(10) ? bytes : NULL;
        s = p == NULL ? mln_string_new(text) : mln_string_pool_new(pool, text);
        keep_text(t, s, text, text != NULL ? n : 0, p, left);
        break;
    case 1:
        s = p == NULL ? mln_string_const_ndup(bytes, (mln_s32_t)n) : mln_string_pool_const_ndup(pool, bytes, (mln_s32_t)n);
        keep_text(t, s, bytes, n, p, left);
        CHECK_PTR(p == NULL ? mln_string_const_ndup(bytes, -1) : mln_string_pool_const_ndup(pool, bytes, -(mln_s32_t)n - 1), NULL);
        CHECK_INT(errno, EINVAL);
        break;
    case 2:
        s = p == NULL ? mln_string_alloc((mln_s32_t)n) : mln_string_pool_alloc(pool, (mln_s32_t)n);
        keep_text(t, s, bytes, n, p, left);
        if (s != NULL)
            memcpy(s->data, bytes, n);
        CHECK_PTR(p == NULL ? mln_string_alloc(INT_MIN) : mln_string_pool_alloc(pool, -1), NULL);
        CHECK_INT(errno, EINVAL);
        break;
    case 3:
        if ((block = p == NULL ? malloc(n + 1) : mln_alloc_m(pool, n + 1)) == NULL)
            return;
        memcpy(block, bytes, n);
        s = p == NULL ? mln_string_buf_new(block, n) : mln_string_pool_buf_new(pool, block, n);
        if (s == NULL)
            mln_alloc_free(block);
        keep_text(t, s, bytes, n, p, left);
        t->unterminated = 1;
        break;
    case 4:
        s = p == NULL ? mln_string_dup(string_of(from)) : mln_string_pool_dup(pool, string_of(from));
        keep_text(t, s, bytes_of(from).at, bytes_of(from).n, p, left);
        break;
    default:
        text = pick(10) ? constant : NULL;
        keep_text(t, mln_string_const_ref_dup(text), text, text != NULL ? strlen(text) : 0, NULL, 0);
        t->refers = 1;
    }
}

static void share_string(void)
{
    static mln_string_t literal = mln_string("literal\0 and more");
    struct text *t = some_text(), *other = free_text();
    struct bytes bytes = bytes_of(t);
    mln_string_t *s, part;
    size_t from = bytes.n > 0 ? pick((unsigned)bytes.n) : 0;

    CHECK_PTR(mln_string_ref(&literal), &literal);
    mln_string_free(&literal); /* which others have left */
    CHECK_INT(literal.len, 17);
    CHECK_PTR(mln_string_set(&part, constant), &part);
    CHECK_INT(part.len, strlen(constant));
    if (t == NULL)
        return;
    CHECK_PTR(mln_string_nset(&part, t->s->data + from, bytes.n - from), &part);
    CHECK_PTR(part.data, t->s->data + from);
    CHECK_INT(part.len, bytes.n - from);
    CHECK(part.data_ref && !part.pool && part.ref == 1);
    if (pick(2)) {
        CHECK_PTR(mln_string_ref(t->s), t->s);
        t->users++;
    } else if (other != NULL) {
        CHECK((s = mln_string_ref_dup(t->s)) != NULL);
        CHECK_PTR(s->data, t->s->data);
        keep_text(other, s, bytes.at, bytes.n, NULL, 0);
        other->refers = 1;
        other->unterminated = t->unterminated;
        other->owner = t->refers ? t->owner : t;
    }
}

static void let_go(struct text *t)
{
    check_text(t);
    if (t->users == 1 && t->pool != NULL)
        t->pool->used -= t->charge;
    mln_string_free(t->s);
    if (--t->users > 0)
        return;
    drop_bytes(&t->bytes);
    t->s = NULL;
}

/* Those that share the bytes of this one must not see them go. */
static void release_sharers(const struct text *t)
{
    for (int i = 0; i < TEXTS; ++i)
        while (texts[i].s != NULL && texts[i].owner == t)
            let_go(&texts[i]);
}

static void free_string(void)
{
    struct text *t = some_text();

    mln_string_free(NULL);
    if (t == NULL)
        return;
    if (t->users == 1)
        release_sharers(t);
    if (faulty("keep"))
        mln_string_ref(t->s);
    let_go(t);
}

/* Without freeing them: their pool is about to end. */
static void drop_texts_of(const struct pool *p)
{
    for (struct text *t = texts; t < texts + TEXTS; ++t) {
        if (t->s == NULL || t->pool == NULL || !is_within(t->pool, p))
            continue;
        release_sharers(t);
        check_text(t);
        drop_bytes(&t->bytes);
        t->s = NULL;
    }
}

static void join_strings(void)
{
    struct text *t = free_text(), *a = some_text(), *b = some_text(), *separator = pick(3) ? some_text() : NULL;
    struct pool *p = pick(2) ? some_pool() : NULL;
    size_t left = p != NULL ? mln_alloc_available_capacity(p->pool) : 0;
    struct bytes joined = copy_bytes(bytes_of(a).at, bytes_of(a).n);
    mln_string_t *s;

    if (t == NULL || joined.n > 10 * LONGEST) {
        drop_bytes(&joined);
        return;
    }
    add_bytes(&joined, bytes_of(separator).at, bytes_of(separator).n);
    add_bytes(&joined, bytes_of(b).at, bytes_of(b).n);
    if (p != NULL)
        s = mln_string_pool_concat(p->pool, string_of(a), string_of(b), string_of(separator));
    else if (separator != NULL)
        s = mln_string_concat(string_of(a), string_of(b), string_of(separator));
    else
        s = mln_string_strcat(string_of(a), string_of(b));
    keep_text(t, s, joined.at, joined.n, p, left);
    drop_bytes(&joined);
}

static int sign(long difference)
{
    return (difference > 0) - (difference < 0);
}

static int small(int c, int fold)
{
    return fold && c >= 'A' && c <= 'Z' ? c + 32 : c;
}

/* As a dictionary does. */
static int order(struct bytes a, struct bytes b, int fold)
{
    for (size_t i = 0; i < a.n && i < b.n; ++i)
        if (small(a.at[i], fold) != small(b.at[i], fold))
            return sign(small(a.at[i], fold) - small(b.at[i], fold));
    return sign((long)a.n - (long)b.n);
}

/* The shorter one first. */
static int order_by_length(struct bytes a, struct bytes b, int fold)
{
    return a.n != b.n ? sign((long)a.n - (long)b.n) : order(a, b, fold);
}

static struct bytes first(struct bytes bytes, size_t n)
{
    return (struct bytes){bytes.at, bytes.n < n ? bytes.n : n};
}

/* A C string as bytes, without a copy. */
static struct bytes view(const char *text)
{
    return (struct bytes){(unsigned char *)text, text != NULL ? strlen(text) : 0};
}

static void compare_strings(void)
{
    const struct text *ta = some_text(), *tb = pick(4) ? some_text() : ta;
    const mln_string_t *sa = string_of(ta), *sb = string_of(tb);
    struct bytes a = bytes_of(ta), b = bytes_of(tb), c;
    char text[LONGEST + 1];
    const char *sc = some_c_string(text);
    mln_u32_t n = pick(8) ? pick(20) : UINT_MAX;
    mln_string_t beginning;

    if (a.n > 0 && pick(4) == 0) { /* one that begins where the other does */
        b = first(a, pick((unsigned)a.n));
        sb = mln_string_nset(&beginning, sa->data, b.n);
    }
    if (pick(2) && a.n > 0 && a.n <= LONGEST) { /* the same, but for letters */
        memcpy(text, a.at, a.n);
        text[a.n] = '\0';
        text[pick((unsigned)a.n)] ^= pick(2) ? 32 : 0;
        sc = text;
    }
    c = view(sc);
    CHECK_INT(mln_string_strcmp(sa, sb), order_by_length(a, b, 0));
    CHECK_INT(mln_string_strcasecmp(sa, sb), order_by_length(a, b, 1));
    CHECK_INT(mln_string_strncmp(sa, sb, n), order_by_length(first(a, n), first(b, n), 0));
    CHECK_INT(mln_string_strncasecmp(sa, sb, n), order_by_length(first(a, n), first(b, n), 1));
    CHECK_INT(mln_string_strseqcmp(sa, sb), order(a, b, 0));
    CHECK_INT(mln_string_const_strcmp(sa, sc), order_by_length(a, c, 0));
    CHECK_INT(mln_string_const_strcasecmp(sa, sc), order_by_length(a, c, 1));
    CHECK_INT(mln_string_const_strncmp(sa, sc, n), order_by_length(first(a, n), first(c, n), 0));
    CHECK_INT(mln_string_const_strncasecmp(sa, sc, n), order_by_length(first(a, n), first(c, n), 1));
}

/* Where the pattern begins, or -1. */
static long find(struct bytes in, struct bytes pattern)
{
    for (size_t i = 0; i + pattern.n <= in.n; ++i)
        if (order(first((struct bytes){in.at + i, in.n - i}, pattern.n), pattern, 0) == 0)
            return (long)i;
    return -1;
}

static void search_string(void)
{
    const struct text *t = some_text(), *p = some_text();
    struct bytes in = bytes_of(t), pattern = bytes_of(p);
    mln_string_t part, *s = string_of(t), *looked_for = string_of(p);
    char text[LONGEST + 1], *at;
    const char *c = some_c_string(text);
    long place;

    if (pick(2) && in.n > 0) { /* something that is there */
        size_t from = pick((unsigned)in.n);

        pattern = first((struct bytes){in.at + from, in.n - from}, pick(pick(4) ? 5 : (unsigned)in.n + 1));
        looked_for = mln_string_nset(&part, pattern.at, pattern.n);
    }
    place = find(in, pattern);
    at = place >= 0 && s != NULL ? (char *)s->data + place : NULL;
    CHECK_PTR(mln_string_strstr(s, looked_for), at);
    CHECK_PTR(mln_string_kmp(s, looked_for), at);
    if (pick(2) && pattern.n <= LONGEST && pattern.n > 0) {
        memcpy(text, pattern.at, pattern.n);
        text[pattern.n] = '\0';
        c = text;
    }
    place = find(in, view(c));
    at = place >= 0 && s != NULL ? (char *)s->data + place : NULL;
    CHECK_PTR(mln_string_const_strstr(s, c), at);
    CHECK_PTR(mln_string_const_kmp(s, c), at);
}

static void slice_string(void)
{
    const struct text *t = some_text();
    struct bytes bytes = bytes_of(t);
    char text[LONGEST + 1];
    const char *separators = pick(2) ? some_c_string(text) : pick(2) ? "a" : ",; ";
    mln_string_t *slice = mln_string_slice(string_of(t), separators), *part = slice;

    CHECK(slice != NULL);
    for (size_t i = 0, begin = 0; i <= bytes.n; ++i) {
        if (i < bytes.n && (bytes.at[i] == '\0' || separators == NULL || strchr(separators, bytes.at[i]) == NULL))
            continue;
        if (i > begin) {
            CHECK_INT(part->len, i - begin);
            check_bytes(part->data, bytes.at + begin, i - begin);
            CHECK_INT(part->data[part->len], 0);
            ++part;
        }
        begin = i + 1;
    }
    CHECK_INT(part->len, 0);
    mln_string_slice_free(slice);
    mln_string_slice_free(NULL);
}

/* A program may write to a string that it owns, and give it other bytes. */
static void change_string(void)
{
    struct text *t = some_text();
    struct pool *p = t != NULL ? t->pool : NULL;
    mln_u8ptr_t block;

    if (t == NULL || t->refers || t->bytes.n == 0)
        return;
    if (pick(2)) {
        size_t i = pick((unsigned)t->bytes.n);
        unsigned char c = (unsigned char)('a' + pick(3));

        t->s->data[i] = c;
        for (int k = 0; k < TEXTS; ++k)
            if (&texts[k] == t || (texts[k].s != NULL && texts[k].owner == t))
                texts[k].bytes.at[i] = c;
        return;
    }
    release_sharers(t);
    if ((block = p != NULL ? mln_alloc_m(p->pool, t->bytes.n + 1) : malloc(t->bytes.n + 1)) == NULL)
        return;
    memcpy(block, t->bytes.at, t->bytes.n);
    block[t->bytes.n] = '\0';
    if (p != NULL)
        mln_alloc_free(t->s->data);
    else
        free(t->s->data);
    t->s->data = block;
}

/* ---- lists, locks, numbers, characters ---- */

typedef struct item {
    struct item *before, *behind;
    int in; /* which list; 0: none */
} item_t;

MLN_CHAIN_FUNC_DECLARE(static inline, todays, item_t, )
MLN_CHAIN_FUNC_DEFINE(static inline, todays, item_t, before, behind)
MLN_CHAIN_FUNC_DECLARE(seed_eras, item_t, static inline void, )
MLN_CHAIN_FUNC_DEFINE(seed_eras, item_t, static inline void, before, behind)

static item_t items[ITEMS];
static struct list {
    item_t *head, *tail;
    item_t *expected[ITEMS];
    int n;
} lists[2];

static void change_list(void)
{
    item_t *item = &items[pick(ITEMS)], *last = NULL;
    int n = item->in != 0 ? item->in - 1 : (int)pick(2), i = 0;
    struct list *l = &lists[n];

    if (item->in == 0) {
        (n == 0 ? todays_chain_add : seed_eras_chain_add)(&l->head, &l->tail, item);
        l->expected[l->n++] = item;
        item->in = n + 1;
    } else {
        (n == 0 ? todays_chain_del : seed_eras_chain_del)(&l->head, &l->tail, item);
        while (l->expected[i] != item)
            ++i;
        memmove(l->expected + i, l->expected + i + 1, (size_t)(--l->n - i) * sizeof *l->expected);
        CHECK(item->before == NULL && item->behind == NULL);
        item->in = 0;
    }
    i = 0;
    for (item_t *at = l->head; at != NULL; last = at, at = at->behind) {
        CHECK_PTR(at, l->expected[i++]);
        CHECK_PTR(at->before, last);
        CHECK_PTR(mln_container_of(&at->behind, item_t, behind), at);
    }
    CHECK_INT(i, l->n);
    CHECK_PTR(l->tail, last);
}

static mln_spin_t spin_lock;
static int locked;

static void use_lock(void)
{
    if (locked) {
        CHECK(EITHER(mln_spin_trylock(&spin_lock), MLN_TRYLOCK(&spin_lock)) != 0);
        EITHER(mln_spin_unlock(&spin_lock), MLN_UNLOCK(&spin_lock));
    } else if (pick(3)) {
        EITHER(mln_spin_lock(&spin_lock), MLN_LOCK(&spin_lock));
    } else {
        CHECK_INT(EITHER(mln_spin_trylock(&spin_lock), MLN_TRYLOCK(&spin_lock)), 0);
    }
    locked = !locked;
}

static void use_macros(void)
{
    mln_u64_t number = random_number(&whims), read = 0;
    size_t n = pick(9);
    unsigned char bytes[9] = {0}, *at = bytes;
    int c = (int)pick(300) - 20;

    mln_bigendian_encode(number, at, n);
    CHECK_PTR(at, bytes + n);
    for (size_t i = 0; i < n; ++i)
        CHECK_INT(bytes[i], number >> 8 * (n - 1 - i) & 0xff);
    CHECK_INT(bytes[n], 0);
    at = bytes;
    mln_bigendian_decode(read, at, n);
    CHECK_PTR(at, bytes + n);
    CHECK(read == (n == 8 ? number : number & (((mln_u64_t)1 << 8 * n) - 1)));
    CHECK_INT(!!mln_isalpha(c), (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
    CHECK_INT(!!mln_isdigit(c), c >= '0' && c <= '9');
    CHECK_INT(!!mln_isprint(c), c >= ' ' && c <= '~');
    CHECK_INT(!!mln_isascii(c), c >= 0 && c <= 127);
    CHECK_INT(!!mln_iswhitespace(c), c == ' ' || (c >= '\t' && c <= '\r'));
}

/* ---- functions that are watched ---- */

static int entered, left;

static void on_entry(const char *file, const char *func, int line)
{
    CHECK_STR(file, __FILE__);
    CHECK(strcmp(func, "count_down") == 0 || strcmp(func, "change_watchers") == 0);
    CHECK(line > 0);
    ++entered;
}

static void on_exit_of(const char *file, const char *func, int line)
{
    on_entry(file, func, line);
    --entered;
    ++left;
}

MLN_FUNC_VOID_CUSTOM(on_entry, NULL, static, void, change_watchers, (void), (), {
    mln_func_entry_callback_set(pick(2) ? on_entry : NULL);
    mln_func_exit_callback_set(pick(2) ? on_exit_of : NULL);
})

MLN_FUNC(static, int, count_down, (int n, int change_at), (n, change_at), {
    if (n == change_at)
        change_watchers();
    return n == 0 ? 0 : 1 + count_down(n - 1, change_at);
})

static void set_watchers(void)
{
    int before = entered;

    change_watchers();
    CHECK_INT(entered, before + 1);
}

static void call_watched(void)
{
    int n = (int)pick(10), change_at = (int)pick(20), changes = change_at <= n;
    int entries = mln_func_entry_callback_get() != NULL ? n + 1 - (changes ? change_at : 0) : 0;

    entered = left = 0;
    CHECK_INT(count_down(n, change_at), n);
    if (changes)
        entries += 1 + (mln_func_entry_callback_get() != NULL ? change_at : 0);
    CHECK_INT(entered, entries);
    CHECK_INT(left, mln_func_exit_callback_get() != NULL ? n + 1 : 0);
}

/* ---- times ---- */

static void check_time(const struct utctime *u, time_t t)
{
    struct tm tm;

    CHECK(gmtime_r(&t, &tm) != NULL);
    CHECK_INT(u->year, tm.tm_year + 1900L);
    CHECK_INT(u->month, tm.tm_mon + 1);
    CHECK_INT(u->day, tm.tm_mday);
    CHECK_INT(u->hour, tm.tm_hour);
    CHECK_INT(u->minute, tm.tm_min);
    CHECK_INT(u->second, tm.tm_sec);
    CHECK_INT(u->week, tm.tm_wday);
}

static time_t time_of(const struct utctime *u)
{
    struct tm tm = {.tm_year = (int)u->year - 1900, .tm_mon = (int)u->month - 1, .tm_mday = (int)u->day, .tm_hour = (int)u->hour,
                    .tm_min = (int)u->minute, .tm_sec = (int)u->second};

    return timegm(&tm);
}

/* Mostly a small number of either sign. */
static long some_number(void)
{
    long n = pick(4) ? (long)pick(70) : (long)pick(100000);

    return pick(3) ? n : -n;
}

static void convert_time(void)
{
    time_t t = (time_t)(random_number(&whims) >> (9 + pick(40))) * (pick(2) ? 1 : -1);
    struct utctime u, extreme = {.year = pick(2) ? LONG_MAX : LONG_MIN, .month = some_number()};
    long year = pick(2) ? 1900 + some_number() : 100 * some_number(), month = pick(2) ? 2 : some_number() % 14;

    mln_time2utc(t, &u);
    check_time(&u, t);
    CHECK_INT(mln_utc2time(&u), t);
    mln_utc_adjust(&u);
    check_time(&u, t);
    u = (struct utctime){1970 + some_number(), some_number(), some_number(), some_number(), some_number(), some_number(), -1};
    t = time_of(&u);
    CHECK_INT(mln_utc2time(&u), t);
    mln_utc_adjust(&u);
    check_time(&u, t);
    CHECK_INT(mln_utc2time(&extreme), extreme.year);
    mln_time2utc(extreme.year, &u);
    CHECK_INT(mln_utc2time(&u), extreme.year);
    if (month < 1 || month > 12)
        CHECK_INT(mln_month_days(year, month), -1);
    else
        CHECK_INT(mln_month_days(year, month), (time_of(&(struct utctime){.year = year, .month = month + 1, .day = 1}) -
                                                time_of(&(struct utctime){.year = year, .month = month, .day = 1})) / 86400);
}

/* A text with another byte, or of another length, is no time. */
static void read_time(void)
{
    int form = pick(2) ? M_TOOLS_TIME_UTC : M_TOOLS_TIME_GENERALIZEDTIME, short_form = form == M_TOOLS_TIME_UTC, is_time;
    struct utctime u = {short_form ? 1950 + (long)pick(100) : (long)pick(10000), 1 + pick(13), 1 + pick(31), pick(25), pick(61), pick(61),
                        0};
    time_t t = time_of(&u), got = 4711;
    struct utctime same;
    size_t n = short_form ? 13 : 15;
    char text[64], *begin = text + 15 - n;
    mln_string_t s;

    mln_time2utc(t, &same);
    is_time = same.month == u.month && same.day == u.day && same.hour == u.hour && same.minute == u.minute && same.second == u.second;
    snprintf(text, sizeof text, "%04ld%02ld%02ld%02ld%02ld%02ldZ", u.year, u.month, u.day, u.hour, u.minute, u.second);
    if (pick(4) == 0) {
        is_time = 0;
        if (pick(2))
            begin[pick((unsigned)n)] = "z /:"[pick(4)];
        else
            n += pick(2) ? 1 : -1;
    }
    mln_string_nset(&s, begin, n);
    CHECK_INT(mln_s2time(&got, &s, 2), -1);
    CHECK_INT(mln_s2time(&got, NULL, form), -1);
    CHECK_INT(mln_s2time(&got, &s, form), is_time ? 0 : -1);
    CHECK_INT(got, is_time ? t : 4711);
}

/* ---- paths ---- */

static char *(*const paths[])(void) = { /* by mln_path_type_t */
    mln_path, mln_path_conf, mln_path_tmpfile, mln_path_pid, mln_path_log, mln_path_null, mln_path_melang_lib, mln_path_melang_dylib,
};

enum { PATHS = sizeof paths / sizeof *paths };

static const char *own_paths[PATHS];
static int hooked[PATHS];
static char *hooks_path;

static char *hook(void)
{
    return hooks_path;
}

static void change_path(void)
{
    static char places[][16] = {"/tmp", "/nowhere", ""};
    unsigned type = pick(PATHS), place = pick(4);

    hooks_path = place < 3 ? places[place] : NULL;
    hooked[type] = !hooked[type];
    mln_path_hook_set((mln_path_type_t)type, hooked[type] ? hook : NULL);
    for (unsigned i = 0; i < PATHS; ++i)
        CHECK_STR(paths[i](), hooked[i] && place < 2 ? hooks_path : own_paths[i]);
    CHECK_STR(mln_null_path(), mln_path_null());
    CHECK_STR(mln_melang_lib_path(), mln_path_melang_lib());
    CHECK_STR(mln_melang_dylib_path(), mln_path_melang_dylib());
}

/* ---- everything ---- */

/* After every step: all that is cheap to look at, and something of the rest. */
static void look(void)
{
    const struct block *b = &blocks[pick(BLOCKS)];
    const struct text *t = some_text();

    for (int i = 0; i < POOLS; ++i)
        if (pools[i].pool != NULL)
            check_pool(&pools[i]);
    if (b->at != NULL)
        check_block(b);
    if (t != NULL)
        check_text(t);
}

static void release_everything(void)
{
    for (struct text *t = texts; t < texts + TEXTS; ++t)
        if (t->s != NULL)
            release_sharers(t);
    for (struct text *t = texts; t < texts + TEXTS; ++t)
        while (t->s != NULL)
            let_go(t);
    for (struct block *b = blocks; b < blocks + BLOCKS; ++b)
        if (b->at != NULL)
            release_block(b);
    for (struct pool *p = pools + POOLS; p-- > pools;) /* those that take from others have gone when the first one does */
        if (p->pool != NULL) {
            CHECK_INT(p->used, 0);
            check_pool(p);
            end_pool(p);
        }
}

/* In a child, which has a copy of everything. */
static void release_copies(void)
{
    pid_t child = fork();
    int status;

    CHECK(child >= 0);
    if (child == 0) {
        release_everything();
        _exit(0);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
}

/* The bit of a kind in the mask is that of its place. */
static void (*const kinds[])(void) = {
    make_pool, destroy_pool, take_block, resize_block, free_block, make_string, share_string, free_string, join_strings,
    compare_strings, search_string, slice_string, change_string, change_list, use_lock, use_macros, set_watchers, call_watched,
    convert_time, read_time, change_path, release_copies,
};

int main(int argc, char **argv)
{
    begin_random(argc, argv, 1000, sizeof kinds / sizeof *kinds);
    for (int i = 0; i < PATHS; ++i)
        own_paths[i] = paths[i]();
    pools[0].capacity = 64 << 20;
    CHECK((pools[0].pool = mln_alloc_init(NULL, pools[0].capacity)) != NULL);
    while (steps > 0) {
        kinds[next_kind()]();
        look();
    }
    release_everything();
    CHECK_INT(child_count(), 0);
    return 0;
}
