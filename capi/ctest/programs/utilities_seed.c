/*
 * utilities_seed.c - MLN_CHAIN_FUNC_* with the seed era's order of arguments, and with every scope that today's order knows, in one
 * program.
 */
#include "check.h"

#include "mln_defs.h"

typedef struct item_s {
    struct item_s *before, *behind;
} item_t;

#define OWN_SCOPE static
#define NO_SCOPE
#define UNUSED __attribute__((unused)) static

MLN_CHAIN_FUNC_DECLARE(item, item_t, static inline void, __NONNULL3(1, 2, 3))
MLN_CHAIN_FUNC_DEFINE(item, item_t, static inline void, before, behind)

MLN_CHAIN_FUNC_DECLARE(seed_exported, item_t, void, )
MLN_CHAIN_FUNC_DEFINE(seed_exported, item_t, void, before, behind)

MLN_CHAIN_FUNC_DECLARE(, exported, item_t, )
MLN_CHAIN_FUNC_DEFINE(, exported, item_t, before, behind)

MLN_CHAIN_FUNC_DECLARE(extern, global, item_t, __NONNULL3(1, 2, 3))
MLN_CHAIN_FUNC_DEFINE(NO_SCOPE, global, item_t, before, behind)

MLN_CHAIN_FUNC_DECLARE(static inline, inlined, item_t, __NONNULL3(1, 2, 3))
MLN_CHAIN_FUNC_DEFINE(static inline, inlined, item_t, before, behind)

MLN_CHAIN_FUNC_DECLARE(inline static, inlined_too, item_t, )
MLN_CHAIN_FUNC_DEFINE(inline static, inlined_too, item_t, before, behind)

MLN_CHAIN_FUNC_DEFINE(OWN_SCOPE, named, item_t, before, behind)
MLN_CHAIN_FUNC_DEFINE(UNUSED, attributed, item_t, before, behind)

static void expect_list(void (*add)(item_t **, item_t **, item_t *), void (*del)(item_t **, item_t **, item_t *))
{
    item_t a, b;
    item_t *head = NULL, *tail = NULL;

    add(&head, &tail, &a);
    add(&head, &tail, &b);
    CHECK(head == &a && tail == &b && a.behind == &b && b.before == &a && a.before == NULL && b.behind == NULL);
    del(&head, &tail, &a);
    CHECK(head == &b && tail == &b && b.before == NULL);
}

int main(void)
{
    expect_list(item_chain_add, item_chain_del);
    expect_list(seed_exported_chain_add, seed_exported_chain_del);
    expect_list(exported_chain_add, exported_chain_del);
    expect_list(global_chain_add, global_chain_del);
    expect_list(inlined_chain_add, inlined_chain_del);
    expect_list(inlined_too_chain_add, inlined_too_chain_del);
    expect_list(named_chain_add, named_chain_del);
    expect_list(attributed_chain_add, attributed_chain_del);
    return 0;
}
