/*
 * Loads a configuration, changes it and shows what is in it, as a fuzz test asks: a request is a letter, see act(), and what belongs
 * to it. The only argument is the path of the configuration file.
 */
#include "driver.h"

#include <malloc.h>

#include "mln_conf.h"

static char *file;

static char *file_hook(void)
{
    return file;
}

static const char *take_name(void)
{
    size_t n = strlen(at) + 1;

    CHECK((size_t)(request + size - at) >= n);
    return take(n);
}

/* The library writes its messages past the stream. */
static void print_result(int (*call)(void))
{
    int result;

    CHECK_INT(fflush(stdout), 0);
    result = call();
    printf("%d\n", result);
}

/* ---- what is in the tree ---- */

static void show_text(const mln_string_t *text)
{
    CHECK_INT(text->data[text->len], '\0');
    printf("%lu:", (unsigned long)text->len);
    CHECK_INT(fwrite(text->data, 1, text->len, stdout), text->len);
}

static void show_item(const mln_conf_item_t *item)
{
    uint32_t bits;

    CHECK(item != NULL);
    printf(" %d=", (int)item->type);
    switch (item->type) {
    case CONF_NONE:
        break;
    case CONF_STR:
        show_text(item->val.s);
        break;
    case CONF_CHAR:
        printf("%d", (unsigned char)item->val.c);
        break;
    case CONF_BOOL:
        printf("%d", item->val.b);
        break;
    case CONF_INT:
        printf("%ld", item->val.i);
        break;
    case CONF_FLOAT:
        memcpy(&bits, &item->val.f, sizeof bits);
        printf("%u", bits);
        break;
    }
}

static void show_domain(const char *name)
{
    mln_conf_t *cf = mln_conf();
    mln_conf_domain_t *cd = cf->search(cf, name);
    mln_u32_t count = mln_conf_cmd_num(cf, name), items;
    mln_conf_cmd_t **cmds = malloc((count + 1) * sizeof *cmds), *found;

    CHECK(cmds != NULL);
    cmds[count] = (mln_conf_cmd_t *)cmds; /* nothing may be written behind the last */
    mln_conf_cmds(cf, name, cmds);
    CHECK_PTR(cmds[count], cmds);
    if (cd == NULL) {
        CHECK_INT(count, 0);
        printf("no domain\n");
    } else {
        CHECK_STR((char *)cd->domain_name->data, name);
        printf("domain ");
        show_text(cd->domain_name);
        printf("\n");
    }
    for (mln_u32_t i = 0; i < count; ++i) {
        items = mln_conf_arg_num(cmds[i]);
        found = cd->search(cd, (char *)cmds[i]->cmd_name->data);
        printf("%s ", found == cmds[i] ? "first" : "again");
        show_text(cmds[i]->cmd_name);
        for (mln_u32_t index = 1; index <= items; ++index)
            show_item(cmds[i]->search(cmds[i], index));
        printf("\n");
        CHECK_PTR(cmds[i]->search(cmds[i], 0), NULL);
        CHECK_PTR(cmds[i]->search(cmds[i], items + 1), NULL);
    }
    free(cmds);
}

/* The domains that the request names, and everything as it is printed for people. */
static void show(void)
{
    printf("empty: %d\n", mln_conf_is_empty(mln_conf()));
    if (mln_conf() == NULL)
        printf("no configuration\n");
    while (at < request + size && mln_conf() != NULL)
        show_domain(take_name());
    printf("dump:\n");
    mln_conf_dump();
}

/* ---- changes ---- */

static mln_conf_domain_t *take_domain(void)
{
    mln_conf_t *cf = mln_conf();

    return cf->search(cf, take_name());
}

static mln_conf_cmd_t *take_command(void)
{
    mln_conf_domain_t *cd = take_domain();

    return cd->search(cd, take_name());
}

/* The type of the item is followed by eight bytes with its value, which is the length for a string, whose bytes follow. */
static mln_conf_item_t take_item(mln_string_t *string)
{
    mln_conf_item_t item = {.type = (mln_conf_item_type_t)*(const unsigned char *)take(1)};
    uint64_t value;
    uint32_t bits;

    memcpy(&value, take(sizeof value), sizeof value);
    bits = (uint32_t)value;
    switch (item.type) {
    case CONF_STR:
        if (value == UINT64_MAX)
            break; /* no string at all, which is refused */
        /* There is no NUL behind it, and nowhere to point to if there is nothing in it. */
        *string = (mln_string_t){.data = value != 0 ? (mln_u8ptr_t)(uintptr_t)take(value) : NULL, .len = value};
        item.val.s = string;
        break;
    case CONF_CHAR:
        item.val.c = (mln_s8_t)value;
        break;
    case CONF_BOOL:
        item.val.b = (mln_u8_t)value;
        break;
    case CONF_FLOAT:
        memcpy(&item.val.f, &bits, sizeof bits);
        break;
    default:
        item.val.i = (mln_sauto_t)value;
    }
    return item;
}

static void update(void)
{
    mln_conf_cmd_t *cc = take_command();
    mln_conf_item_t items[256];
    mln_string_t strings[256];
    mln_u32_t n = 0;

    for (; at < request + size; ++n)
        items[n] = take_item(&strings[n]);
    printf("%d\n", cc->update(cc, n != 0 ? items : NULL, n));
    memset(items, 0xff, sizeof items);
    memset(request, 0xff, size); /* copies were made of the strings */
}

/* A command's items in the opposite order. */
static void reverse(void)
{
    mln_conf_cmd_t *cc = take_command();
    mln_conf_item_t items[256];
    mln_u32_t n = mln_conf_arg_num(cc);

    CHECK(n <= 256);
    for (mln_u32_t i = 0; i < n; ++i)
        items[i] = *cc->search(cc, n - i);
    printf("%d\n", cc->update(cc, items, n));
}

/* ---- hooks ---- */

static struct hook {
    mln_conf_hook_t *handle; /* NULL: not set */
    char does;
    unsigned char to; /* another, or itself */
} hooks[256];

static int reloaded(void *data);

static void set_hook(unsigned char number, char does, unsigned char to)
{
    CHECK_PTR(hooks[number].handle, NULL);
    hooks[number] = (struct hook){mln_conf_hook_set(reloaded, &hooks[number]), does, to};
    CHECK(hooks[number].handle != NULL);
}

static void unset_hook(unsigned char number)
{
    mln_conf_hook_unset(hooks[number].handle);
    hooks[number].handle = NULL;
}

static int reloaded(void *data)
{
    const struct hook hook = *(struct hook *)data;

    CHECK(mln_conf() != NULL);
    printf("hook %d\n", (int)((struct hook *)data - hooks));
    CHECK_INT(fflush(stdout), 0);
    if (hook.does == 'u')
        unset_hook(hook.to);
    if (hook.does == 's' && hooks[hook.to].handle == NULL)
        set_hook(hook.to, 'p', 0);
    return hook.does == 'f' ? -1 : 1;
}

static void unset_all_hooks(void)
{
    mln_conf_hook_free();
    memset(hooks, 0, sizeof hooks);
}

/* Bytes of memory and descriptors; a descriptor that stays open makes the lowest free one a higher one. */
static void show_taken(void)
{
    int lowest = dup(printed);

    CHECK(lowest >= 0 && close(lowest) == 0);
    printf("%zu %d", mallinfo2().uordblks, lowest);
}

static void act(void)
{
    mln_conf_t *cf = mln_conf();
    mln_conf_domain_t *cd;
    const unsigned char *bytes;

    switch (*(const char *)take(1)) {
    case 'l':
        print_result(mln_conf_load);
        return;
    case 'r':
        print_result(mln_conf_reload);
        return;
    case 't':
        show_taken();
        return;
    case 'f':
        mln_conf_free();
        return;
    case 's':
        show();
        return;
    case 'D':
        CHECK(cf->insert(cf, take_name()) != NULL);
        return;
    case 'd':
        CHECK_PTR(cf->remove(cf, take_name()), NULL);
        return;
    case 'C':
        cd = take_domain();
        CHECK(cd->insert(cd, take_name()) != NULL);
        return;
    case 'c':
        cd = take_domain();
        CHECK_PTR(cd->remove(cd, take_name()), NULL);
        return;
    case 'u':
        update();
        return;
    case 'o':
        reverse();
        return;
    case 'H':
        bytes = take(3);
        set_hook(bytes[0], (char)bytes[1], bytes[2]);
        return;
    case 'h':
        unset_hook(*(const unsigned char *)take(1));
        return;
    case 'F':
        unset_all_hooks();
        return;
    }
    CHECK(!"a request that is known");
}

int main(int argc, char **argv)
{
    CHECK_INT(argc, 2);
    file = argv[1];
    mln_path_hook_set(m_p_conf, file_hook);
    /* Checks that fail are still seen. */
    CHECK((stderr = fdopen(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), "w")) != NULL);
    serve(act);
    mln_conf_free();
    unset_all_hooks();
    return 0;
}
