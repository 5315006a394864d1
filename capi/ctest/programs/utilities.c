/*
 * utilities.c - the macros of mln_utils.h and mln_func.h: spin locks, lists, byte order, characters, functions that are watched.
 */
#define MLN_FUNC_FLAG
#include "check.h"

#include <pthread.h>

#include "mln_types.h"
#include "mln_utils.h"

typedef struct item {
    int value;
    struct item *older, *newer;
} item_t;

MLN_CHAIN_FUNC_DECLARE(static inline, item, item_t, )
MLN_CHAIN_FUNC_DEFINE(static inline, item, item_t, older, newer)

static void expect_items(item_t *head, item_t *tail, int decimal)
{
    int forward = 0, backward = 0, factor = 1;
    item_t *i;

    for (i = head; i != NULL; i = i->newer)
        forward = forward * 10 + i->value;
    for (i = tail; i != NULL; i = i->older, factor *= 10)
        backward += i->value * factor;
    CHECK_INT(forward, decimal);
    CHECK_INT(backward, decimal);
}

static void lists_are_doubly_linked(void)
{
    item_t items[5];
    item_t *head = NULL, *tail = NULL;
    int i;

    for (i = 1; i < 5; i++) {
        items[i].value = i;
        item_chain_add(&head, &tail, &items[i]);
    }
    expect_items(head, tail, 1234);
    item_chain_del(&head, &tail, &items[2]);
    expect_items(head, tail, 134);
    CHECK(items[2].older == NULL && items[2].newer == NULL);
    item_chain_del(&head, &tail, &items[1]);
    item_chain_del(&head, &tail, &items[4]);
    expect_items(head, tail, 3);
    item_chain_del(&head, &tail, &items[3]);
    CHECK(head == NULL && tail == NULL);
    item_chain_add(&head, &tail, &items[4]);
    expect_items(head, tail, 4);
}

static mln_spin_t spin;
static mln_lock_t lock;
static long spin_count, lock_count;

static void *count(void *unused)
{
    int i;

    (void)unused;
    for (i = 0; i < 100000; i++) {
        mln_spin_lock(&spin);
        spin_count++;
        mln_spin_unlock(&spin);
        MLN_LOCK(&lock);
        lock_count++;
        MLN_UNLOCK(&lock);
    }
    return NULL;
}

static void spin_locks_exclude(void)
{
    pthread_t threads[3];
    int i;

    CHECK_INT(mln_spin_init(&spin), 0);
    CHECK_INT(MLN_LOCK_INIT(&lock), 0);
    CHECK_INT(mln_spin_trylock(&spin), 0);
    CHECK(mln_spin_trylock(&spin) != 0);
    mln_spin_unlock(&spin);
    CHECK_INT(MLN_TRYLOCK(&lock), 0);
    CHECK(MLN_TRYLOCK(&lock) != 0);
    MLN_UNLOCK(&lock);
    for (i = 0; i < 3; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (i = 0; i < 3; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK_INT(spin_count, 300000);
    CHECK_INT(lock_count, 300000);
    mln_spin_destroy(&spin);
    MLN_LOCK_DESTROY(&lock);
}

static void numbers_are_written_highest_byte_first(void)
{
    mln_u8_t bytes[11];
    mln_u8ptr_t p = bytes;
    mln_u32_t word = 0;
    mln_u64_t large = 0;

    mln_bigendian_encode(0x01fe03u, p, 3);
    mln_bigendian_encode(0x8182838485868788ull, p, 8);
    CHECK_PTR(p, bytes + 11);
    CHECK_INT(memcmp(bytes, "\x01\xfe\x03\x81\x82\x83\x84\x85\x86\x87\x88", 11), 0);
    p = bytes;
    mln_bigendian_decode(word, p, 3);
    CHECK_INT(word, 0x01fe03);
    mln_bigendian_decode(large, p, 8);
    CHECK(large == 0x8182838485868788ull);
    CHECK_PTR(p, bytes + 11);
}

static void members_lead_to_their_structure(void)
{
    item_t item; /* of which nothing has a value, and compilers do not say that one is used */
    item_t **newer = &item.newer;
    int *none = NULL;

    CHECK_PTR(mln_container_of(newer, item_t, newer), &item);
    CHECK_PTR(mln_container_of(none, item_t, value), NULL);
    CHECK_INT(mln_offsetof(item_t, value), 0);
}

static void characters_are_ascii(void)
{
    int c, alphas = 0, digits = 0, prints = 0, whites = 0;

    for (c = -128; c < 256; c++) {
        alphas += mln_isalpha(c) ? 1 : 0;
        digits += mln_isdigit(c) ? 1 : 0;
        prints += mln_isprint(c) ? 1 : 0;
        whites += mln_iswhitespace(c) ? 1 : 0;
        CHECK_INT(mln_isascii(c), c >= 0 && c < 128);
    }
    CHECK_INT(alphas, 52);
    CHECK_INT(digits, 10);
    CHECK_INT(prints, 95);
    CHECK_INT(whites, 6);
    CHECK(mln_isalpha('a') && mln_isalpha('Z') && !mln_isalpha('@') && !mln_isalpha('['));
    CHECK(mln_isdigit('0') && mln_isdigit('9') && mln_isprint(' ') && mln_isprint('~') && mln_iswhitespace('\v'));
}

/* ---- functions that are watched ---- */

static char trace[200];

static void on_entry(const char *file, const char *func, int line)
{
    CHECK(strstr(file, "utilities.c") != NULL && line > 0);
    strcat(strcat(trace, ">"), func);
}

static void on_exit_of(const char *file, const char *func, int line)
{
    CHECK(strstr(file, "utilities.c") != NULL && line > 0);
    strcat(strcat(trace, "<"), func);
}

MLN_FUNC(static, int, factorial, (int n), (n), { return n < 2 ? 1 : n * factorial(n - 1); })
MLN_FUNC_VOID(static, void, set_both, (int *a, int *b), (a, b), {
    int x = 1, y = 2;
    *a = x, *b = y;
})
MLN_FUNC_CUSTOM(on_entry, NULL, static, int, entered, (void), (), { return 3; })
MLN_FUNC_VOID_CUSTOM(NULL, on_exit_of, static, void, left, (void), (), { strcat(trace, "!"); })

static void functions_are_watched(void)
{
    int a = 0, b = 0;

    CHECK(mln_func_entry_callback_get() == NULL && mln_func_exit_callback_get() == NULL);
    CHECK_INT(factorial(5), 120);
    set_both(&a, &b);
    CHECK(a == 1 && b == 2);
    CHECK_STR(trace, "");

    mln_func_entry_callback_set(on_entry);
    mln_func_exit_callback_set(on_exit_of);
    CHECK(mln_func_entry_callback_get() == on_entry && mln_func_exit_callback_get() == on_exit_of);
    CHECK_INT(factorial(2), 2);
    set_both(&a, &b);
    CHECK_STR(trace, ">factorial>factorial<factorial<factorial>set_both<set_both");
    mln_func_entry_callback_set(NULL);
    mln_func_exit_callback_set(NULL);

    trace[0] = '\0';
    CHECK_INT(entered(), 3);
    left();
    CHECK_STR(trace, ">entered!<left");
}

int main(void)
{
    lists_are_doubly_linked();
    spin_locks_exclude();
    numbers_are_written_highest_byte_first();
    members_lead_to_their_structure();
    characters_are_ascii();
    functions_are_watched();
    CHECK(strlen(MLN_AUTHOR) > 0);
    return 0;
}
