/*
 * conf_tree.c - the configuration in memory.
 *
 * The tree is plain malloc memory and every method works from its arguments alone, so that a forked worker goes on with
 * the tree that it inherited.
 */
#include "conf.h"
#include "log.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mln_conf.h"

_Static_assert((int)CONF_BLOB_STR == (int)CONF_STR && (int)CONF_BLOB_CHAR == (int)CONF_CHAR
    && (int)CONF_BLOB_BOOL == (int)CONF_BOOL && (int)CONF_BLOB_INT == (int)CONF_INT
    && (int)CONF_BLOB_REAL == (int)CONF_FLOAT, "the tags of the blob are the types of the API");

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* ---- named nodes in the order of the file ---- */

struct node {
    struct node *next;
    mln_string_t *name;
};

struct list {
    struct node *first;
    struct node *last;
    mln_u32_t count;
};

struct cmd_node {
    struct node node;
    mln_conf_cmd_t cmd;
};

struct domain_node {
    struct node node;
    mln_conf_domain_t domain;
    struct list cmds; /* domain.cmd points here */
};

struct tree {
    mln_conf_t conf;
    struct list domains; /* conf.domain points here */
};

/* The first node of that name, *prev the one before it; NULL when there is none. */
static struct node *list_find(const struct list *list, const char *name, struct node **prev)
{
    *prev = NULL;
    if (name == NULL)
        return NULL;
    for (struct node *node = list->first; node != NULL; *prev = node, node = node->next) {
        if (strcmp((const char *)node->name->data, name) == 0)
            return node;
    }
    return NULL;
}

static void list_append(struct list *list, struct node *node)
{
    if (list->last != NULL)
        list->last->next = node;
    else
        list->first = node;
    list->last = node;
    list->count++;
}

/* Takes the first node of that name out of the list. */
static struct node *list_take(struct list *list, const char *name)
{
    struct node *prev, *node = list_find(list, name, &prev);
    if (node == NULL)
        return NULL;
    if (prev != NULL)
        prev->next = node->next;
    else
        list->first = node->next;
    if (list->last == node)
        list->last = prev;
    list->count--;
    return node;
}

/* A copy of n bytes; NULL with errno. */
static mln_string_t *string_copy(const void *bytes, size_t n)
{
    if (n > INT_MAX) {
        errno = EINVAL;
        return NULL;
    }
    mln_string_t *copy = mln_string_const_ndup((char *)bytes, (mln_s32_t)n);
    if (copy == NULL)
        errno = ENOMEM;
    return copy;
}

/* ---- items and commands ---- */

static void items_free(mln_conf_item_t *items, mln_u32_t count)
{
    for (mln_u32_t i = 0; i < count; i++) {
        if (items[i].type == CONF_STR)
            mln_string_free(items[i].val.s);
    }
    free(items);
}

static mln_conf_item_t *cmd_search(mln_conf_cmd_t *cc, mln_u32_t index)
{
    return index != 0 && index <= cc->n_args ? &cc->arg_tbl[index - 1] : NULL;
}

static int item_copy(mln_conf_item_t *to, const mln_conf_item_t *from)
{
    if ((unsigned)from->type > CONF_FLOAT || (from->type == CONF_STR && from->val.s == NULL)) {
        errno = EINVAL;
        return -1;
    }
    *to = *from;
    if (from->type == CONF_STR) {
        to->val.s = string_copy(from->val.s->data, from->val.s->len);
        if (to->val.s == NULL)
            return -1;
    }
    return 0;
}

/* The new items are complete before the old ones go: a failure changes nothing, and the new may be copies of the old. */
static int cmd_update(mln_conf_cmd_t *cc, mln_conf_item_t *items, mln_u32_t nitems)
{
    mln_conf_item_t *copies = NULL;
    if (nitems != 0) {
        if (items == NULL) {
            errno = EINVAL;
            return -1;
        }
        copies = calloc(nitems, sizeof(*copies));
        if (copies == NULL)
            return -1;
        for (mln_u32_t i = 0; i < nitems; i++) {
            if (item_copy(&copies[i], &items[i]) < 0) {
                items_free(copies, i);
                return -1;
            }
        }
    }
    items_free(cc->arg_tbl, cc->n_args);
    cc->arg_tbl = copies;
    cc->n_args = nitems;
    return 0;
}

static void cmd_free(struct cmd_node *node)
{
    items_free(node->cmd.arg_tbl, node->cmd.n_args);
    mln_string_free(node->node.name);
    free(node);
}

/* Appends a command without items. */
static mln_conf_cmd_t *cmd_append(struct list *cmds, const void *name, size_t len)
{
    struct cmd_node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return NULL;
    node->node.name = string_copy(name, len);
    if (node->node.name == NULL) {
        free(node);
        return NULL;
    }
    node->cmd.cmd_name = node->node.name;
    node->cmd.search = cmd_search;
    node->cmd.update = cmd_update;
    list_append(cmds, &node->node);
    return &node->cmd;
}

/* ---- domains ---- */

static mln_conf_cmd_t *domain_search(mln_conf_domain_t *cd, const char *name)
{
    struct node *prev, *node = list_find(cd->cmd, name, &prev);
    return node != NULL ? &container_of(node, struct cmd_node, node)->cmd : NULL;
}

static mln_conf_cmd_t *domain_insert(mln_conf_domain_t *cd, const char *name)
{
    if (name == NULL) {
        errno = EINVAL;
        return NULL;
    }
    return cmd_append(cd->cmd, name, strlen(name));
}

/* Has the result that its type promises, so that a program that looks at it finds something defined. */
static mln_conf_cmd_t *domain_remove(mln_conf_domain_t *cd, const char *name)
{
    struct node *node = list_take(cd->cmd, name);
    if (node != NULL)
        cmd_free(container_of(node, struct cmd_node, node));
    return NULL;
}

static void domain_free(struct domain_node *node)
{
    for (struct node *cmd = node->cmds.first, *next; cmd != NULL; cmd = next) {
        next = cmd->next;
        cmd_free(container_of(cmd, struct cmd_node, node));
    }
    mln_string_free(node->node.name);
    free(node);
}

/* Appends an empty domain. */
static mln_conf_domain_t *domain_append(struct list *domains, const void *name, size_t len)
{
    struct domain_node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return NULL;
    node->node.name = string_copy(name, len);
    if (node->node.name == NULL) {
        free(node);
        return NULL;
    }
    node->domain.domain_name = node->node.name;
    node->domain.search = domain_search;
    node->domain.insert = domain_insert;
    node->domain.remove = domain_remove;
    node->domain.cmd = &node->cmds;
    list_append(domains, &node->node);
    return &node->domain;
}

/* ---- the tree ---- */

static mln_conf_domain_t *tree_search(mln_conf_t *cf, const char *name)
{
    struct node *prev, *node = list_find(cf->domain, name, &prev);
    return node != NULL ? &container_of(node, struct domain_node, node)->domain : NULL;
}

static mln_conf_domain_t *tree_insert(mln_conf_t *cf, const char *name)
{
    if (name == NULL) {
        errno = EINVAL;
        return NULL;
    }
    return domain_append(cf->domain, name, strlen(name));
}

static mln_conf_domain_t *tree_remove(mln_conf_t *cf, const char *name)
{
    struct node *node = list_take(cf->domain, name);
    if (node != NULL)
        domain_free(container_of(node, struct domain_node, node));
    return NULL;
}

static struct tree *tree_alloc(void)
{
    struct tree *tree = calloc(1, sizeof(*tree));
    if (tree == NULL)
        return NULL;
    tree->conf.domain = &tree->domains;
    tree->conf.search = tree_search;
    tree->conf.insert = tree_insert;
    tree->conf.remove = tree_remove;
    return tree;
}

mln_conf_t *conf_tree_new(void)
{
    struct tree *tree = tree_alloc();
    if (tree == NULL)
        return NULL;
    if (tree_insert(&tree->conf, "main") == NULL) {
        free(tree);
        return NULL;
    }
    return &tree->conf;
}

void conf_tree_free(mln_conf_t *cf)
{
    if (cf == NULL)
        return;
    struct tree *tree = container_of(cf, struct tree, conf);
    for (struct node *node = tree->domains.first, *next; node != NULL; node = next) {
        next = node->next;
        domain_free(container_of(node, struct domain_node, node));
    }
    free(tree);
}

/* ---- questions about a tree ---- */

int mln_conf_is_empty(mln_conf_t *cf)
{
    if (cf == NULL)
        return 1;
    const struct list *domains = cf->domain;
    return domains->count <= 1 && mln_conf_cmd_num(cf, "main") == 0;
}

mln_u32_t mln_conf_cmd_num(mln_conf_t *cf, const char *domain)
{
    mln_conf_domain_t *cd = cf != NULL ? tree_search(cf, domain) : NULL;
    return cd != NULL ? ((struct list *)cd->cmd)->count : 0;
}

void mln_conf_cmds(mln_conf_t *cf, const char *domain, mln_conf_cmd_t **cmds)
{
    mln_conf_domain_t *cd = cf != NULL ? tree_search(cf, domain) : NULL;
    if (cd == NULL)
        return;
    for (struct node *node = ((struct list *)cd->cmd)->first; node != NULL; node = node->next)
        *cmds++ = &container_of(node, struct cmd_node, node)->cmd;
}

mln_u32_t mln_conf_arg_num(mln_conf_cmd_t *cc)
{
    return cc != NULL ? cc->n_args : 0;
}

mln_u32_t mln_conf_get_ncmd(mln_conf_t *cf, const char *domain) { return mln_conf_cmd_num(cf, domain); }
void mln_conf_get_cmds(mln_conf_t *cf, const char *domain, mln_conf_cmd_t **cmds) { mln_conf_cmds(cf, domain, cmds); }
mln_u32_t mln_conf_get_narg(mln_conf_cmd_t *cc) { return mln_conf_arg_num(cc); }

/* ---- from a blob ---- */

struct reader {
    const char *next;
    size_t left;
};

/* The next n bytes; NULL with errno when there are fewer. */
static const void *read_bytes(struct reader *reader, size_t n)
{
    if (n > reader->left) {
        errno = EBADMSG;
        return NULL;
    }
    const void *bytes = reader->next;
    reader->next += n;
    reader->left -= n;
    return bytes;
}

static int read_into(struct reader *reader, void *value, size_t n)
{
    const void *bytes = read_bytes(reader, n);
    if (bytes == NULL)
        return -1;
    memcpy(value, bytes, n);
    return 0;
}

static const void *read_string(struct reader *reader, uint32_t *len)
{
    return read_into(reader, len, sizeof(*len)) == 0 ? read_bytes(reader, *len) : NULL;
}

static int read_item(struct reader *reader, mln_conf_item_t *item)
{
    uint8_t tag;
    uint32_t len;
    int64_t integer;
    double real;
    const void *bytes;

    if (read_into(reader, &tag, sizeof(tag)) < 0)
        return -1;
    switch (tag) {
        case CONF_BLOB_STR:
            if ((bytes = read_string(reader, &len)) == NULL || (item->val.s = string_copy(bytes, len)) == NULL)
                return -1;
            break;
        case CONF_BLOB_CHAR:
            if (read_into(reader, &item->val.c, 1) < 0)
                return -1;
            break;
        case CONF_BLOB_BOOL:
            if (read_into(reader, &item->val.b, 1) < 0)
                return -1;
            break;
        case CONF_BLOB_INT:
            if (read_into(reader, &integer, sizeof(integer)) < 0)
                return -1;
            item->val.i = (mln_sauto_t)integer;
            break;
        case CONF_BLOB_REAL:
            if (read_into(reader, &real, sizeof(real)) < 0)
                return -1;
            item->val.f = (float)real;
            break;
        default:
            errno = EBADMSG;
            return -1;
    }
    item->type = (mln_conf_item_type_t)tag;
    return 0;
}

/* The command gets each item as soon as it is complete, so that a failure frees what is there. */
static int read_cmd(struct reader *reader, struct list *cmds)
{
    uint32_t len, count;
    const void *name = read_string(reader, &len);
    if (name == NULL || read_into(reader, &count, sizeof(count)) < 0)
        return -1;
    mln_conf_cmd_t *cc = cmd_append(cmds, name, len);
    if (cc == NULL)
        return -1;
    if (count > reader->left) {
        errno = EBADMSG;
        return -1;
    }
    if (count != 0 && (cc->arg_tbl = calloc(count, sizeof(*cc->arg_tbl))) == NULL)
        return -1;
    for (; cc->n_args < count; cc->n_args++) {
        if (read_item(reader, &cc->arg_tbl[cc->n_args]) < 0)
            return -1;
    }
    return 0;
}

static int read_domain(struct reader *reader, struct list *domains)
{
    uint32_t len, count;
    const void *name = read_string(reader, &len);
    if (name == NULL || read_into(reader, &count, sizeof(count)) < 0)
        return -1;
    mln_conf_domain_t *cd = domain_append(domains, name, len);
    if (cd == NULL)
        return -1;
    while (count-- > 0) {
        if (read_cmd(reader, cd->cmd) < 0)
            return -1;
    }
    return 0;
}

static int read_tree(struct reader *reader, struct list *domains)
{
    uint32_t count;
    if (read_into(reader, &count, sizeof(count)) < 0)
        return -1;
    while (count-- > 0) {
        if (read_domain(reader, domains) < 0)
            return -1;
    }
    if (reader->left != 0) {
        errno = EBADMSG;
        return -1;
    }
    return 0;
}

mln_conf_t *conf_tree_from_blob(const char *blob, size_t len)
{
    struct reader reader = {blob, len};
    struct tree *tree = tree_alloc();
    if (tree == NULL)
        return NULL;
    if (read_tree(&reader, &tree->domains) < 0) {
        int cause = errno;
        conf_tree_free(&tree->conf);
        errno = cause;
        return NULL;
    }
    return &tree->conf;
}

/* ---- dump ---- */

static void dump_text(const mln_u8_t *bytes, mln_u64_t len, char quote)
{
    static const char values[] = "\n\t\b\a\f\r\v\x1b", letters[] = "ntbafrve";

    mln_u64_t plain = 0; /* bytes before this one that mean themselves */

    putchar(quote);
    for (mln_u64_t i = 0; i < len; i++) {
        const char *control = bytes[i] != '\0' ? strchr(values, bytes[i]) : NULL;
        if (control == NULL && bytes[i] != (mln_u8_t)quote && bytes[i] != '\\') {
            plain++;
            continue;
        }
        log_print_escaped(stdout, (const char *)bytes + i - plain, plain);
        printf("\\%c", control != NULL ? letters[control - values] : bytes[i]);
        plain = 0;
    }
    log_print_escaped(stdout, (const char *)bytes + len - plain, plain);
    putchar(quote);
}

static void dump_name(const char *name)
{
    log_print_escaped(stdout, name, strlen(name));
}

/*
 * With as many digits as it takes for the parser, which reads a double first, to come to the same float. The language has no
 * exponents, and one decimal point in every locale.
 */
static void dump_real(float real)
{
    char text[208]; /* at most 39 digits before the point and 149 behind it */
    int digits = 1;

    if (!isfinite(real)) {
        printf("%f", real);
        return;
    }
    snprintf(text, sizeof(text), "%.1f", real);
    while ((float)strtod(text, NULL) != real && digits < 149)
        snprintf(text, sizeof(text), "%.*f", ++digits, real);
    printf("%.*s.%s", (int)strspn(text, "-0123456789"), text, text + strlen(text) - digits);
}

static void dump_item(const mln_conf_item_t *item)
{
    putchar(' ');
    switch (item->type) {
        case CONF_STR:
            dump_text(item->val.s->data, item->val.s->len, '"');
            break;
        case CONF_CHAR:
            dump_text((const mln_u8_t *)&item->val.c, 1, '\'');
            break;
        case CONF_BOOL:
            fputs(item->val.b ? "on" : "off", stdout);
            break;
        case CONF_INT:
            printf("%ld", item->val.i);
            break;
        case CONF_FLOAT:
            dump_real(item->val.f);
            break;
        case CONF_NONE:
            fputs("none", stdout);
            break;
    }
}

static void dump_cmds(const struct list *cmds, const char *indent)
{
    for (const struct node *node = cmds->first; node != NULL; node = node->next) {
        const mln_conf_cmd_t *cc = &container_of(node, const struct cmd_node, node)->cmd;
        fputs(indent, stdout);
        dump_name((const char *)node->name->data);
        for (mln_u32_t i = 0; i < cc->n_args; i++)
            dump_item(&cc->arg_tbl[i]);
        puts(";");
    }
}

void conf_tree_dump(const mln_conf_t *cf)
{
    for (const struct node *node = ((const struct list *)cf->domain)->first; node != NULL; node = node->next) {
        const char *name = (const char *)node->name->data;
        const struct list *cmds = &container_of(node, const struct domain_node, node)->cmds;
        if (strcmp(name, "main") == 0) {
            dump_cmds(cmds, "");
        } else {
            dump_name(name);
            puts(" {");
            dump_cmds(cmds, "    ");
            puts("}");
        }
    }
}
