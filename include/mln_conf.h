/**
 * @file mln_conf.h
 * The configuration of a program: a file of commands and domains, read into a tree that the program may search and change.
 *
 * What a file looks like:
 *
 *     worker_proc 4;            // outside of every domain: of "main"
 *     log_path "logs/app.log";
 *     limits {                  // a domain
 *         rate -2.5;            // a command with an item
 *         mode 'r' on 10 "ten"; // a command with four
 *     }
 *
 * Items are strings ("ten"), characters ('r'), `on` and `off`, integers and reals. A program finds them by name and place:
 *
 *     mln_conf_domain_t *limits = cf->search(cf, "limits");
 *     mln_conf_cmd_t *mode = limits->search(limits, "mode");
 *     mln_conf_item_t *third = mode->search(mode, 3); // 10
 *
 * Each search gives NULL for what is not there. Names may repeat, and everything is kept in the order of the file; a search
 * finds the first. Commands that nobody knows are kept as well.
 *
 * The tree is ordinary memory of the process. A worker inherits the master's and may search, change and reload its own
 * copy. Nothing here takes a lock: load before other threads are started, and let no thread use the tree while another
 * changes or reloads it. Pointers into the tree die when what they point at is removed, with the items they point at
 * when the command is updated, and all of them at mln_conf_reload() and mln_conf_free().
 */
#ifndef __MLN_CONF_H
#define __MLN_CONF_H

#include "mln_types.h"
#include "mln_string.h"
#include "mln_path.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Type of the message that makes a worker reload its configuration. Today's name; M_IPC_CONF_RELOAD in the seed era. */
#define M_IPC_TYPE_CONF 1

typedef struct mln_conf_s mln_conf_t;
typedef struct mln_conf_domain_s mln_conf_domain_t;
typedef struct mln_conf_cmd_s mln_conf_cmd_t;
typedef struct mln_conf_item_s mln_conf_item_t;
typedef struct mln_conf_hook_s mln_conf_hook_t;

/** What an item holds. */
typedef enum {
    CONF_NONE = 0,  /**< nothing; no item of a file is of this type */
    CONF_STR = 1,   /**< `val.s`, always with a NUL behind its last byte */
    CONF_CHAR = 2,  /**< `val.c` */
    CONF_BOOL = 3,  /**< `val.b`, 1 for `on` and 0 for `off` */
    CONF_INT = 4,   /**< `val.i` */
    CONF_FLOAT = 5  /**< `val.f` */
} mln_conf_item_type_t;

/** Finds, makes or removes a domain; see the members of mln_conf_t. Today's name. */
typedef mln_conf_domain_t *(*mln_conf_domain_cb_t)(mln_conf_t *cf, const char *name);
/** Finds, makes or removes a command; see the members of mln_conf_domain_t. Today's name. */
typedef mln_conf_cmd_t *(*mln_conf_cmd_cb_t)(mln_conf_domain_t *cd, const char *name);
/** Finds an item; see the members of mln_conf_cmd_t. Today's name. */
typedef mln_conf_item_t *(*mln_conf_item_cb_t)(mln_conf_cmd_t *cc, mln_u32_t index);
/** Replaces items; see the members of mln_conf_cmd_t. Today's name. */
typedef int (*mln_conf_item_update_cb_t)(mln_conf_cmd_t *cc, mln_conf_item_t *items, mln_u32_t nitems);

/** The seed era's name of mln_conf_domain_cb_t. */
typedef mln_conf_domain_cb_t search_domain;
/** The seed era's name of mln_conf_cmd_cb_t. */
typedef mln_conf_cmd_cb_t search_cmd;
/** The seed era's name of mln_conf_item_cb_t. */
typedef mln_conf_item_cb_t search_item;

/**
 * A reload hook: called with the pointer it was set with after the configuration was reloaded. A result below 0 means
 * failure. Since the seed era.
 */
typedef int (*reload_handler)(void *data);

/** One item of a command. */
struct mln_conf_item_s {
    mln_conf_item_type_t type; /**< which member of `val` counts */
    union {
        mln_string_t *s;
        mln_s8_t c;
        mln_u8_t b;
        mln_sauto_t i;
        float f;
    } val; /**< the value: `mln_string_t *s`, `mln_s8_t c`, `mln_u8_t b`, `mln_sauto_t i` or `float f` */
};

/** A command: a name and its items. */
struct mln_conf_cmd_s {
    mln_string_t *cmd_name; /**< its name, the tree's */
    /** Returns the item `index`, counted from 1, or NULL for 0 and beyond the last. Since the seed era. */
    mln_conf_item_cb_t search;
    /**
     * Replaces all items by copies of `items`, strings included. `items` may lie on the stack, and may be NULL when
     * `nitems` is 0. Returns 0, or -1 with errno and the old items untouched: EINVAL for an unknown type or a CONF_STR
     * without a string, ENOMEM. Today's name.
     */
    mln_conf_item_update_cb_t update;
    mln_conf_item_t *arg_tbl; /**< private: use search */
    mln_u32_t n_args;         /**< private: use mln_conf_arg_num() */
};

/** A domain: a name and its commands. */
struct mln_conf_domain_s {
    /** Returns the first command `name`, or NULL. Since the seed era. */
    mln_conf_cmd_cb_t search;
    /**
     * Appends a command without items, even if the name exists already. The name is copied. Returns the command, which
     * the tree owns, or NULL with errno (ENOMEM; EINVAL for a NULL name). Today's name.
     */
    mln_conf_cmd_cb_t insert;
    /** Removes and frees the first command `name`; none is no error. Always returns NULL. Today's name. */
    mln_conf_cmd_cb_t remove;
    mln_string_t *domain_name; /**< its name, the tree's */
    void *cmd; /**< private */
};

/** A configuration: its domains. The first is "main". */
struct mln_conf_s {
    void *lex;    /**< private */
    void *domain; /**< private */
    /** Returns the first domain `name`, or NULL. Since the seed era. */
    mln_conf_domain_cb_t search;
    /**
     * Appends an empty domain, even if the name exists already. The name is copied. Returns the domain, which the tree
     * owns, or NULL with errno (ENOMEM; EINVAL for a NULL name). Today's name.
     */
    mln_conf_domain_cb_t insert;
    /** Removes and frees the first domain `name` with its commands; none is no error. Always returns NULL. Today's name. */
    mln_conf_domain_cb_t remove;
    void *cb; /**< private */
};

/** A reload hook that was set. */
struct mln_conf_hook_s {
    reload_handler reload; /**< what is called */
    void *data;            /**< what it is called with */
    struct mln_conf_hook_s *prev; /**< private */
    struct mln_conf_hook_s *next; /**< private */
};

/**
 * Reads the configuration file, mln_path_conf(), and everything it includes. When a configuration is loaded already it
 * does nothing. A file that does not exist leaves the library's defaults in force, an empty domain "main"; if a path
 * hook or MLN_CONF named it, a warning says so. Call it in any process. Since the seed era.
 *
 * @return 0; or -1 after a message with file, line, column and cause, and then there is no configuration.
 */
int mln_conf_load(void);

/**
 * Reads the configuration file again, puts the new tree in the place of the old one, frees the old one and calls the
 * reload hooks in the order in which they were set, up to the first that fails. Hooks may set and unset hooks; what they
 * set counts from the next reload on. It concerns the calling process only. Since the seed era.
 *
 * @return 0; or -1 after a message. If the file cannot be read, is wrong or is gone, the old configuration stays in force,
 * pointers into it stay valid and no hook is called. If a hook failed, the new configuration is in force.
 */
int mln_conf_reload(void);

/** Frees the configuration. mln_conf() then returns NULL until it is loaded again. Hooks stay. Since the seed era. */
void mln_conf_free(void);

/**
 * The configuration that is loaded. Today's name.
 *
 * @return the configuration, which the library owns; NULL before it is loaded and after it is freed.
 */
mln_conf_t *mln_conf(void);

/** The seed era's name of mln_conf(). */
mln_conf_t *mln_get_conf(void);

/**
 * Prints the configuration on the standard output for people to read, in the language of the file. It can be read back,
 * unless there is something in it that the language has no way to print. Control characters without an escape in the
 * language, and bytes that are no UTF-8, come out as `\xNN`, since nothing that is printed may lead a terminal; the
 * parser refuses them, as it does every escape that it does not know. What only a program can have put into the tree, such
 * as an item of type CONF_NONE, an infinite real or a name with a blank in it, cannot be read back either. Since the seed
 * era.
 */
void mln_conf_dump(void);

/**
 * Tells whether a configuration holds nothing: `cf` is NULL, or it has at most one domain and no command in "main".
 * Today's name.
 *
 * @param cf The configuration, or NULL.
 * @return 1 for empty, else 0.
 */
int mln_conf_is_empty(mln_conf_t *cf);

/**
 * Sets a reload hook, behind those that are set already. The same function may be set several times. Today's name.
 *
 * @param reload  Called at each reload.
 * @param data    Passed to it; stays the caller's.
 * @return A handle for mln_conf_hook_unset(), which the library owns; NULL with errno ENOMEM, or EINVAL for a NULL
 * function.
 */
mln_conf_hook_t *mln_conf_hook_set(reload_handler reload, void *data);

/** The seed era's name of mln_conf_hook_set(). */
mln_conf_hook_t *mln_conf_set_hook(reload_handler reload, void *data);

/**
 * Takes a reload hook away and frees its handle. A hook may do it, to itself as well. Today's name.
 *
 * @param hook What mln_conf_hook_set() returned; NULL does nothing.
 */
void mln_conf_hook_unset(mln_conf_hook_t *hook);

/** The seed era's name of mln_conf_hook_unset(). */
void mln_conf_unset_hook(mln_conf_hook_t *hook);

/** Takes all reload hooks away. Today's name. */
void mln_conf_hook_free(void);

/** The seed era's name of mln_conf_hook_free(). */
void mln_conf_free_hook(void);

/**
 * Counts the commands in the first domain of a name. Today's name.
 *
 * @param cf     The configuration.
 * @param domain Name of a domain.
 * @return The number of its commands, repeated names counted; 0 without such a domain.
 */
mln_u32_t mln_conf_cmd_num(mln_conf_t *cf, const char *domain);

/** The seed era's name of mln_conf_cmd_num(). */
mln_u32_t mln_conf_get_ncmd(mln_conf_t *cf, const char *domain);

/**
 * Lists the commands of the first domain of a name in the order of the file. Today's name.
 *
 * @param cf      The configuration.
 * @param domain  Name of a domain. Without such a domain `cmds` is left as it is.
 * @param cmds    Room for mln_conf_cmd_num() pointers; no terminator is written. The commands stay the tree's.
 */
void mln_conf_cmds(mln_conf_t *cf, const char *domain, mln_conf_cmd_t **cmds);

/** The seed era's name of mln_conf_cmds(). */
void mln_conf_get_cmds(mln_conf_t *cf, const char *domain, mln_conf_cmd_t **cmds);

/**
 * Counts the items of a command. Today's name.
 *
 * @param cc The command.
 * @return The number of its items.
 */
mln_u32_t mln_conf_arg_num(mln_conf_cmd_t *cc);

/** The seed era's name of mln_conf_arg_num(). */
mln_u32_t mln_conf_get_narg(mln_conf_cmd_t *cc);

#ifdef __cplusplus
}
#endif

/* Programs of today get the message and process headers through this one. At the end, because those may lead back here. */
#include "mln_ipc.h"

#endif
