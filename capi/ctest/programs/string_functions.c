/*
 * string_functions.c - strings are made, shared, compared, searched and split as mln_string.h says.
 */
#include "check.h"

#include <errno.h>

#include "mln_string.h"

static void check_bytes(const mln_string_t *s, const char *bytes, size_t len)
{
    CHECK(s != NULL);
    CHECK_INT(s->len, len);
    CHECK_INT(memcmp(s->data, bytes, len), 0);
    CHECK_INT(s->data[len], 0);
}

static void check_text(const mln_string_t *s, const char *text)
{
    check_bytes(s, text, strlen(text));
}

static void strings_refer_to_bytes_without_a_copy(void)
{
    static mln_string_t literal = mln_string("literal\0more");
    char text[] = "text";
    mln_string_t s;

    CHECK_INT(literal.len, 12);
    CHECK_INT(literal.data_ref == 1 && literal.pool == 0 && literal.ref == 1, 1);
    CHECK_PTR(mln_string_set(&s, text), &s);
    CHECK_PTR(s.data, text);
    CHECK_INT(s.len, 4);
    CHECK_INT(s.data_ref == 1 && s.pool == 0 && s.ref == 1, 1);
    CHECK_PTR(mln_string_nset(&s, text + 1, 2), &s);
    CHECK_PTR(s.data, text + 1);
    CHECK_INT(s.len, 2);
    mln_string_set(&s, NULL);
    CHECK_INT(s.len, 0);

    /* Shared, it may be freed as often. */
    CHECK_PTR(mln_string_ref(&literal), &literal);
    CHECK_INT(literal.ref, 2);
    mln_string_free(&literal);
    CHECK_INT(literal.ref, 1);
}

static void strings_are_made_on_the_heap(void)
{
    mln_string_t binary = mln_string("a\0b");
    mln_string_t *s, *t;

    s = mln_string_new("hello");
    check_text(s, "hello");
    CHECK_INT(s->data_ref == 0 && s->pool == 0 && s->ref == 1, 1);
    t = mln_string_dup(s);
    s->data[0] = 'j';
    check_text(t, "hello");
    mln_string_free(t);

    t = mln_string_ref(s);
    CHECK_PTR(t, s);
    mln_string_free(t);
    check_text(s, "jello");

    t = mln_string_ref_dup(s);
    CHECK_PTR(t->data, s->data);
    mln_string_free(t);
    mln_string_free(s);

    t = mln_string_dup(&binary);
    check_bytes(t, "a\0b", 3);
    mln_string_free(t);
    t = mln_string_new(NULL);
    check_text(t, "");
    mln_string_free(t);
    t = mln_string_dup(NULL);
    check_text(t, "");
    mln_string_free(t);
    t = mln_string_const_ref_dup("constant");
    check_text(t, "constant");
    mln_string_free(t);
    t = mln_string_const_ref_dup(NULL);
    check_text(t, "");
    mln_string_free(t);

    t = mln_string_const_ndup("abcdef", 3);
    check_text(t, "abc");
    mln_string_free(t);
    t = mln_string_const_ndup("abcdef", 0);
    check_text(t, "");
    mln_string_free(t);
    CHECK_PTR(mln_string_const_ndup("abcdef", -1), NULL);
    CHECK_INT(errno, EINVAL);

    t = mln_string_alloc(3);
    memcpy(t->data, "xyz", 3);
    check_text(t, "xyz");
    mln_string_free(t);
    CHECK_PTR(mln_string_alloc(-1), NULL);

    t = mln_string_buf_new((mln_u8ptr_t)calloc(1, 5), 4);
    check_bytes(t, "\0\0\0\0", 4);
    mln_string_free(t);
    mln_string_free(NULL);
}

static void strings_are_made_from_a_pool(void)
{
    mln_alloc_t *pool = mln_alloc_init(NULL, 1000);
    mln_string_t binary = mln_string("a\0b");
    mln_string_t dash = mln_string("-");
    mln_string_t *strings[6];
    int i;

    strings[0] = mln_string_pool_new(pool, "hello");
    check_text(strings[0], "hello");
    strings[1] = mln_string_pool_dup(pool, &binary);
    check_bytes(strings[1], "a\0b", 3);
    strings[2] = mln_string_pool_const_ndup(pool, "hello", 2);
    check_text(strings[2], "he");
    strings[3] = mln_string_pool_alloc(pool, 10);
    CHECK_INT(strings[3]->len, 10);
    strings[4] = mln_string_pool_concat(pool, strings[0], strings[2], &dash);
    check_text(strings[4], "hello-he");
    strings[5] = mln_string_pool_buf_new(pool, (mln_u8ptr_t)mln_alloc_c(pool, 5), 4);
    check_bytes(strings[5], "\0\0\0\0", 4);
    CHECK(mln_alloc_available_capacity(pool) < 1000);
    for (i = 0; i < 6; i++) {
        CHECK_INT(strings[i]->pool, 1);
        mln_string_free(strings[i]);
    }
    CHECK_INT(mln_alloc_available_capacity(pool), 1000);

    /* The bytes fit and the structure does not: nothing is left behind. */
    CHECK_PTR(mln_string_pool_alloc(pool, 990), NULL);
    CHECK_INT(errno, ENOMEM);
    CHECK_INT(mln_alloc_available_capacity(pool), 1000);
    CHECK_PTR(mln_string_pool_new(NULL, "x"), NULL);
    mln_alloc_destroy(pool);
}

static void strings_are_joined(void)
{
    mln_string_t hello = mln_string("hello"), world = mln_string("world"), space = mln_string(" ");
    mln_string_t *s;

    s = mln_string_strcat(&hello, &world);
    check_text(s, "helloworld");
    mln_string_free(s);
    s = mln_string_concat(&hello, &world, &space);
    check_text(s, "hello world");
    mln_string_free(s);
    s = mln_string_concat(&hello, NULL, NULL);
    check_text(s, "hello");
    mln_string_free(s);
}

static void order_is_by_length_first(void)
{
    char text[] = "abcabc";
    mln_string_t abc = mln_string("abc"), abd = mln_string("abd"), b = mln_string("b"), empty = mln_string("");
    mln_string_t upper = mln_string("ABD"), high = mln_string("\xff"), nul = mln_string("ab\0");
    mln_string_t whole, half;

    CHECK_INT(mln_string_strcmp(&abc, &abc), 0);
    CHECK_INT(mln_string_strcmp(&abc, &abd), -1);
    CHECK_INT(mln_string_strcmp(&abd, &abc), 1);
    CHECK_INT(mln_string_strcmp(&b, &abc), -1);
    CHECK_INT(mln_string_strcmp(&abc, &b), 1);
    CHECK_INT(mln_string_strcmp(&empty, &b), -1);
    CHECK_INT(mln_string_strcmp(&empty, NULL), 0);
    CHECK_INT(mln_string_strcmp(&high, &b), 1);
    CHECK_INT(mln_string_strcmp(&nul, &abc), -1);

    /* Two strings that begin at the same address. */
    mln_string_nset(&whole, text, 6);
    mln_string_nset(&half, text, 3);
    CHECK_INT(mln_string_strcmp(&whole, &half), 1);
    CHECK_INT(mln_string_strcasecmp(&half, &whole), -1);
    CHECK_INT(mln_string_strseqcmp(&half, &whole), -1);
    CHECK_INT(mln_string_strncmp(&half, &whole, 3), 0);
    CHECK_INT(mln_string_strncmp(&half, &whole, 4), -1);

    CHECK_INT(mln_string_const_strcmp(&abc, "abc"), 0);
    CHECK_INT(mln_string_const_strcmp(&abc, "abcd"), -1);
    CHECK_INT(mln_string_const_strcmp(&abd, "abc"), 1);
    CHECK_INT(mln_string_const_strcmp(&nul, "ab"), 1);
    CHECK_INT(mln_string_const_strcmp(&empty, NULL), 0);
    CHECK_INT(mln_string_strncmp(&abc, &abd, 2), 0);
    CHECK_INT(mln_string_strncmp(&abc, &abd, 3), -1);
    CHECK_INT(mln_string_strncmp(&abc, &abd, 0), 0);
    CHECK_INT(mln_string_const_strncmp(&abc, "abx", 2), 0);
    CHECK_INT(mln_string_const_strncmp(&abc, "abx", 100), -1);
    CHECK_INT(mln_string_const_strncmp(&abc, "ab", 3), 1);

    CHECK_INT(mln_string_strcasecmp(&abd, &upper), 0);
    CHECK_INT(mln_string_strcasecmp(&abc, &upper), -1);
    CHECK_INT(mln_string_strcasecmp(&upper, &abc), 1);
    CHECK_INT(mln_string_strcmp(&abd, &upper), 1);
    CHECK_INT(mln_string_const_strcasecmp(&upper, "aBd"), 0);
    CHECK_INT(mln_string_const_strcasecmp(&upper, "aBda"), -1);
    CHECK_INT(mln_string_strncasecmp(&abc, &upper, 2), 0);
    CHECK_INT(mln_string_const_strncasecmp(&upper, "abx", 2), 0);
    CHECK_INT(mln_string_const_strncasecmp(&upper, "abx", 3), -1);
}

static void order_of_a_dictionary(void)
{
    mln_string_t abc = mln_string("abc"), b = mln_string("b"), ab = mln_string("ab"), high = mln_string("\xff");

    CHECK_INT(mln_string_strseqcmp(&abc, &b), -1);
    CHECK_INT(mln_string_strseqcmp(&b, &abc), 1);
    CHECK_INT(mln_string_strseqcmp(&ab, &abc), -1);
    CHECK_INT(mln_string_strseqcmp(&abc, &ab), 1);
    CHECK_INT(mln_string_strseqcmp(&abc, &abc), 0);
    CHECK_INT(mln_string_strseqcmp(&high, &abc), 1);
    CHECK_INT(mln_string_strseqcmp(NULL, &abc), -1);
}

static void strings_are_found(void)
{
    mln_string_t text = mln_string("aabaabaaab\0tail"), aaab = mln_string("aaab"), none = mln_string("abb");
    mln_string_t empty = mln_string(""), tail = mln_string("\0tail");
    char *bytes = (char *)text.data;

    CHECK_PTR(mln_string_strstr(&text, &aaab), bytes + 6);
    CHECK_PTR(mln_string_kmp(&text, &aaab), bytes + 6);
    CHECK_PTR(mln_string_strstr(&text, &tail), bytes + 10);
    CHECK_PTR(mln_string_strstr(&text, &none), NULL);
    CHECK_PTR(mln_string_kmp(&text, &none), NULL);
    CHECK_PTR(mln_string_strstr(&text, &empty), bytes);
    CHECK_PTR(mln_string_strstr(&aaab, &text), NULL);
    CHECK_PTR(mln_string_const_strstr(&text, "baa"), bytes + 2);
    CHECK_PTR(mln_string_const_kmp(&text, "tail"), bytes + 11);
    CHECK_PTR(mln_string_const_strstr(&text, "z"), NULL);
}

static void strings_are_split(void)
{
    mln_string_t text = mln_string(",,one, two,three ,"), binary = mln_string("a\0b c"), empty = mln_string("");
    mln_string_t *slice;

    slice = mln_string_slice(&text, ", ");
    check_text(&slice[0], "one");
    check_text(&slice[1], "two");
    check_text(&slice[2], "three");
    CHECK_INT(slice[3].len, 0);
    mln_string_slice_free(slice);

    slice = mln_string_slice(&binary, " ");
    check_bytes(&slice[0], "a\0b", 3);
    check_text(&slice[1], "c");
    CHECK_INT(slice[2].len, 0);
    mln_string_slice_free(slice);

    slice = mln_string_slice(&text, "");
    check_text(&slice[0], ",,one, two,three ,");
    CHECK_INT(slice[1].len, 0);
    mln_string_slice_free(slice);

    slice = mln_string_slice(&empty, " ");
    CHECK_INT(slice[0].len, 0);
    mln_string_slice_free(slice);
    slice = mln_string_slice(NULL, NULL);
    CHECK_INT(slice[0].len, 0);
    mln_string_slice_free(slice);
    mln_string_slice_free(NULL);
}

int main(void)
{
    strings_refer_to_bytes_without_a_copy();
    strings_are_made_on_the_heap();
    strings_are_made_from_a_pool();
    strings_are_joined();
    order_is_by_length_first();
    order_of_a_dictionary();
    strings_are_found();
    strings_are_split();
    return 0;
}
