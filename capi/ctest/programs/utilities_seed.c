/*
 * utilities_seed.c - a program that says that it is of the seed era gets that era's order of the arguments of MLN_CHAIN_FUNC_*.
 */
#define MLN_ERA_SEED
#include "check.h"

#include "mln_defs.h"

typedef struct item_s {
    struct item_s *before, *behind;
} item_t;

MLN_CHAIN_FUNC_DECLARE(item, item_t, static inline void, __NONNULL3(1, 2, 3))
MLN_CHAIN_FUNC_DEFINE(item, item_t, static inline void, before, behind)

int main(void)
{
    item_t a, b;
    item_t *head = NULL, *tail = NULL;

    item_chain_add(&head, &tail, &a);
    item_chain_add(&head, &tail, &b);
    CHECK(head == &a && tail == &b && a.behind == &b && b.before == &a && a.before == NULL && b.behind == NULL);
    item_chain_del(&head, &tail, &a);
    CHECK(head == &b && tail == &b && b.before == NULL);
    return 0;
}
