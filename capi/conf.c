/*
 * conf.c - the configuration in force, and its reload.
 *
 * A reload parses first and replaces afterwards: a slip in the file must not leave a running program without a
 * configuration.
 */
#include "conf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine.h"
#include "log.h"
#include "mln_conf.h"

/* The configuration in force. */
static mln_conf_t *current;
/* It was read from a file. */
static bool from_file;
/* It is the defaults, for want of a file, and nobody was told. */
static bool missing_untold;

struct hook {
    mln_conf_hook_t public;
    uint64_t number; /* ascending in the list */
};

static mln_conf_hook_t *first_hook, *last_hook;
static uint64_t next_hook_number;

/* ---- loading ---- */

/* The tree of a file; NULL after a message that ends in `consequence`. */
static mln_conf_t *read_file(char *path, const char *consequence)
{
    const struct engine_table *table = engine();
    if (table == NULL)
        return NULL;

    char *blob = NULL;
    size_t len = 0;
    mln_conf_t *cf = NULL;
    if (table->conf_parse(path, &blob, &len) < 0)
        log_line(error, "%s; %s", blob != NULL ? blob : strerror(ENOMEM), consequence);
    else if ((cf = conf_tree_from_blob(blob, len)) == NULL)
        log_line(error, "%s: cannot keep the configuration: %s; %s", path, strerror(errno), consequence);
    free(blob);
    return cf;
}

static bool is_missing(const char *path)
{
    struct stat info;
    return stat(path, &info) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

static void replace(mln_conf_t *cf, bool file, bool untold)
{
    conf_tree_free(current);
    current = cf;
    from_file = file;
    missing_untold = untold;
}

/* Puts what the configuration file says in the place of the current tree. 0, or -1 after a message and no change. */
static int load(void)
{
    const char *named_by;
    char *path = path_conf(&named_by);
    const char *consequence = current != NULL ? "the old configuration stays in force" : "there is no configuration";
    bool missing = is_missing(path);

    if (missing && current != NULL && from_file) {
        /* Falling back to the defaults here would throw away a configuration that works. */
        log_line(error, "%s: the configuration file is gone; %s", path, consequence);
        return -1;
    }
    mln_conf_t *cf;
    if (missing) {
        cf = conf_tree_new();
        if (cf == NULL)
            log_line(error, "no memory for a configuration; %s", consequence);
        else if (named_by != NULL)
            log_line(warn, "%s: the configuration file, named by %s, does not exist; the built-in defaults are used",
                     path, named_by);
    } else {
        cf = read_file(path, consequence);
    }
    if (cf == NULL)
        return -1;
    replace(cf, !missing, missing && named_by == NULL);
    return 0;
}

int mln_conf_load(void)
{
    return current != NULL ? 0 : load();
}

/* The first hook with that number or a later one. */
static struct hook *hook_from(uint64_t number)
{
    struct hook *hook = (struct hook *)first_hook; /* the first member of its struct hook */

    while (hook != NULL && hook->number < number)
        hook = (struct hook *)hook->public.next;
    return hook;
}

/*
 * Hooks may set and unset hooks, and leave by longjmp or an exception. So the way through them is a number, which nobody else has to
 * know of, and which is gone with this function's frame.
 */
static int run_hooks(void)
{
    uint64_t end = next_hook_number; /* later hooks were set by hooks */
    struct hook *hook;

    for (uint64_t number = 0; (hook = hook_from(number)) != NULL && hook->number < end;) {
        number = hook->number + 1;
        if (hook->public.reload(hook->public.data) < 0) {
            log_line(error, "a hook failed after the configuration was reloaded; the hooks behind it were not called");
            return -1;
        }
    }
    return 0;
}

int mln_conf_reload(void)
{
    return load() < 0 ? -1 : run_hooks();
}

void mln_conf_free(void)
{
    replace(NULL, false, false);
}

mln_conf_t *mln_conf(void)
{
    return current;
}

int conf_file_missing(void)
{
    bool untold = missing_untold;
    missing_untold = false;
    return untold;
}

void mln_conf_dump(void)
{
    if (current != NULL)
        conf_tree_dump(current);
}

/* ---- hooks ---- */

mln_conf_hook_t *mln_conf_hook_set(reload_handler reload, void *data)
{
    if (reload == NULL) {
        errno = EINVAL;
        return NULL;
    }
    struct hook *hook = malloc(sizeof(*hook));
    if (hook == NULL)
        return NULL;
    hook->public = (mln_conf_hook_t){.reload = reload, .data = data, .prev = last_hook};
    hook->number = next_hook_number++;
    if (last_hook != NULL)
        last_hook->next = &hook->public;
    else
        first_hook = &hook->public;
    last_hook = &hook->public;
    return &hook->public;
}

void mln_conf_hook_unset(mln_conf_hook_t *hook)
{
    if (hook == NULL)
        return;
    if (hook->prev != NULL)
        hook->prev->next = hook->next;
    else
        first_hook = hook->next;
    if (hook->next != NULL)
        hook->next->prev = hook->prev;
    else
        last_hook = hook->prev;
    free(hook); /* the first member of its struct hook */
}

void mln_conf_hook_free(void)
{
    while (first_hook != NULL)
        mln_conf_hook_unset(first_hook);
}

/* ---- the seed era's names ---- */

mln_conf_t *mln_get_conf(void) { return mln_conf(); }
mln_conf_hook_t *mln_conf_set_hook(reload_handler reload, void *data) { return mln_conf_hook_set(reload, data); }
void mln_conf_unset_hook(mln_conf_hook_t *hook) { mln_conf_hook_unset(hook); }
void mln_conf_free_hook(void) { mln_conf_hook_free(); }
