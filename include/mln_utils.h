/**
 * @file mln_utils.h
 * Macros: attributes, spin locks, linked lists, byte order, characters. The seed era's name of this header is mln_defs.h.
 *
 * All of this is code of the program that includes it and may be used in any process and thread.
 */
#ifndef __MLN_DEFS_H
#define __MLN_DEFS_H

#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "mln_func.h"

#ifdef __DEBUG__
#include <assert.h>
/** Ends the process if x is false. Does nothing, and does not evaluate x, unless __DEBUG__ is defined. Today's era. */
#define ASSERT(x) assert(x)
#else
#define ASSERT(x) ((void)0)
#endif

/** Who wrote the library. */
#define MLN_AUTHOR "The libmln authors"

/*
 * Marks parameters, by number from 1, that must not be NULL, so that the compiler warns about a NULL it can see. For the
 * declarations of programs. This library's own are not marked: the compiler would then remove the checks for NULL from it.
 */
#define __NONNULL1(a) __attribute__((__nonnull__(a)))
#define __NONNULL2(a, b) __attribute__((__nonnull__(a, b)))
#define __NONNULL3(a, b, c) __attribute__((__nonnull__(a, b, c)))
#define __NONNULL4(a, b, c, d) __attribute__((__nonnull__(a, b, c, d)))
#define __NONNULL5(a, b, c, d, e) __attribute__((__nonnull__(a, b, c, d, e)))

/** Closes a socket. */
#define mln_socket_close close

/** Makes a spin lock that nobody holds. Today's name. @return 0. */
static inline int mln_spin_init(volatile long *lock)
{
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
    return 0;
}

/** Ends the use of a spin lock. It holds no resources. Today's name. @return 0. */
static inline int mln_spin_destroy(volatile long *lock)
{
    return mln_spin_init(lock);
}

/** Takes a spin lock if nobody holds it. Today's name. @return 0 if it was taken, non-zero if it is busy. */
static inline int mln_spin_trylock(volatile long *lock)
{
    return __atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE) != 0;
}

/** Takes a spin lock, giving up the processor while somebody else holds it. Not recursive. Today's name. */
static inline void mln_spin_lock(volatile long *lock)
{
    while (mln_spin_trylock(lock)) {
        while (__atomic_load_n(lock, __ATOMIC_RELAXED) != 0)
            (void)sched_yield();
    }
}

/** Gives a spin lock back. Today's name. */
static inline void mln_spin_unlock(volatile long *lock)
{
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

/** The seed era's names of the functions above. */
#define MLN_LOCK(lock_ptr) mln_spin_lock(lock_ptr)
#define MLN_UNLOCK(lock_ptr) mln_spin_unlock(lock_ptr)
#define MLN_TRYLOCK(lock_ptr) mln_spin_trylock(lock_ptr)
#define MLN_LOCK_INIT(lock_ptr) mln_spin_init(lock_ptr)
#define MLN_LOCK_DESTROY(lock_ptr) mln_spin_destroy(lock_ptr)

/**
 * Declares and defines the two functions of a doubly linked list of `type`:
 *
 *     void PREFIX_chain_add(type **head, type **tail, type *node);   appends a node
 *     void PREFIX_chain_del(type **head, type **tail, type *node);   takes a node out
 *
 * The eras order the arguments differently. Today:
 *
 *     MLN_CHAIN_FUNC_DECLARE(scope, prefix, type, func_attr)         MLN_CHAIN_FUNC_DEFINE(scope, prefix, type, prev, next)
 *     MLN_CHAIN_FUNC_DEFINE(static inline, item, item_t, prev, next)
 *
 * In the seed era, where ret_attr is the scope together with the return type:
 *
 *     MLN_CHAIN_FUNC_DECLARE(prefix, type, ret_attr, func_attr)      MLN_CHAIN_FUNC_DEFINE(prefix, type, ret_attr, prev, next)
 *     MLN_CHAIN_FUNC_DEFINE(item, item_t, static inline void, prev, next)
 *
 * Both are understood: a first argument that is empty or begins with `static`, `inline`, `extern` or `__attribute__` is a
 * scope, any other a prefix. `prev` and `next` are the names of the members of type that link the list; func_attr, which may
 * be empty, is appended to the declarations. No semicolon is needed behind either macro.
 */
#define MLN_CHAIN_FUNC_DECLARE(a, b, c, d) MLN_CHAIN_FUNC_ORDERED(MLN_CHAIN_FUNC_DECLARE, a)(a, b, c, d)
#define MLN_CHAIN_FUNC_DEFINE(a, b, c, d, e) MLN_CHAIN_FUNC_ORDERED(MLN_CHAIN_FUNC_DEFINE, a)(a, b, c, d, e)

/*
 * How the order is found: the first argument, pasted to a name, gives one of the macros below if it is a scope, and that
 * expands to a list whose second element is today's order. Otherwise the second element is the seed era's.
 */
#define MLN_CHAIN_SCOPE_ ~, _TODAY,
#define MLN_CHAIN_SCOPE_static ~, _TODAY,
#define MLN_CHAIN_SCOPE_inline ~, _TODAY,
#define MLN_CHAIN_SCOPE___inline ~, _TODAY,
#define MLN_CHAIN_SCOPE___inline__ ~, _TODAY,
#define MLN_CHAIN_SCOPE_extern ~, _TODAY,
#define MLN_CHAIN_SCOPE___attribute__ ~, _TODAY,
#define MLN_CHAIN_FUNC_ORDERED(macro, first) MLN_CHAIN_FUNC_PASTED(macro, first)
#define MLN_CHAIN_FUNC_PASTED(macro, first) MLN_CHAIN_FUNC_LISTED(macro, MLN_CHAIN_SCOPE_##first, _SEED, )
#define MLN_CHAIN_FUNC_LISTED(macro, ...) MLN_CHAIN_FUNC_NAMED(macro, __VA_ARGS__)
#define MLN_CHAIN_FUNC_NAMED(macro, unused, order, ...) macro##order

#define MLN_CHAIN_FUNC_DECLARE_TODAY(scope, prefix, type, func_attr) \
    MLN_CHAIN_FUNC_DECLARE_SEED(prefix, type, scope void, func_attr)
#define MLN_CHAIN_FUNC_DEFINE_TODAY(scope, prefix, type, prev, next) \
    MLN_CHAIN_FUNC_DEFINE_SEED(prefix, type, scope void, prev, next)

#define MLN_CHAIN_FUNC_DECLARE_SEED(prefix, type, ret, func_attr) \
    ret prefix##_chain_add(type **head, type **tail, type *node) func_attr; \
    ret prefix##_chain_del(type **head, type **tail, type *node) func_attr;

#define MLN_CHAIN_FUNC_DEFINE_SEED(prefix, type, ret, prev, next) \
    ret prefix##_chain_add(type **head, type **tail, type *node) \
    { \
        node->prev = *tail; \
        node->next = NULL; \
        if (*tail != NULL) \
            (*tail)->next = node; \
        else \
            *head = node; \
        *tail = node; \
    } \
    ret prefix##_chain_del(type **head, type **tail, type *node) \
    { \
        if (node->prev != NULL) \
            node->prev->next = node->next; \
        else \
            *head = node->next; \
        if (node->next != NULL) \
            node->next->prev = node->prev; \
        else \
            *tail = node->prev; \
        node->prev = node->next = NULL; \
    }

/**
 * Writes the n low bytes of num at buf, the highest first, and moves buf behind them. A block, not an expression: num is
 * evaluated n times; buf is a variable that points to bytes.
 */
#define mln_bigendian_encode(num, buf, n) \
    { \
        size_t mln_bigendian_left = (n); \
        while (mln_bigendian_left-- > 0) \
            *(buf)++ = (unsigned char)(((unsigned long long)(num) >> (mln_bigendian_left * 8)) & 0xff); \
    }

/** Reads n bytes at buf, the highest first, into the variable num and moves buf behind them. A block, not an expression. */
#define mln_bigendian_decode(num, buf, n) \
    { \
        size_t mln_bigendian_left = (n); \
        unsigned long long mln_bigendian_value = 0; \
        while (mln_bigendian_left-- > 0) \
            mln_bigendian_value = mln_bigendian_value << 8 | (unsigned char)*(buf)++; \
        (num) = mln_bigendian_value; \
    }

/** The offset of a member in its structure, in bytes. Today's era. */
#define mln_offsetof(type, member) offsetof(type, member)

/** The structure of which ptr is the address of a member; NULL for NULL. Today's era. */
#define mln_container_of(ptr, type, member) ((type *)mln_container_address((uintptr_t)(ptr), offsetof(type, member)))

/** What mln_container_of() uses, so that it evaluates its argument once. To pass on a pointer may count as using what it points at. */
static inline void *mln_container_address(uintptr_t member, size_t offset)
{
    return member == 0 ? NULL : (void *)(member - offset);
}

/** Kinds of ASCII characters, whatever the locale. Today's era. */
#define mln_isalpha(x) (((unsigned)(x) | 0x20u) - 'a' < 26u)
#define mln_isdigit(x) ((unsigned)(x) - '0' < 10u)
#define mln_isascii(x) ((unsigned)(x) < 128u)
#define mln_isprint(x) ((unsigned)(x) - 0x20u < 95u)
#define mln_iswhitespace(x) mln_character_is_whitespace((int)(x))

/** What mln_iswhitespace() uses, so that it evaluates its argument once. */
static inline int mln_character_is_whitespace(int x)
{
    return x == ' ' || (x >= '\t' && x <= '\r');
}

#endif
