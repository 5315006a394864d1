/*
 * conf.h - what the files of the configuration share, C and Go.
 *
 *   conf.c         load, reload, hooks and the public functions
 *   conf_tree.c    the tree: its memory and its methods
 *   conf_parse.go  the parser's entry for C, which hands over a tree as a blob
 *   path.c         where files are
 */
#ifndef CONF_H
#define CONF_H

#include <stddef.h>

/*
 * The blob: a tree in one piece of memory, domain "main" first. Numbers have the machine's byte order and no alignment.
 *
 *     blob    := count:u32 { domain }
 *     domain  := name count:u32 { command }
 *     command := name count:u32 { item }
 *     item    := CONF_BLOB_STR string | CONF_BLOB_CHAR u8 | CONF_BLOB_BOOL u8 | CONF_BLOB_INT i64 | CONF_BLOB_REAL f64
 *     name    := string
 *     string  := length:u32 bytes
 *
 * The tag of an item is one byte, equal to its mln_conf_item_type_t.
 */
enum { CONF_BLOB_STR = 1, CONF_BLOB_CHAR = 2, CONF_BLOB_BOOL = 3, CONF_BLOB_INT = 4, CONF_BLOB_REAL = 5 };

struct mln_conf_s;

/* A tree that holds an empty domain "main"; NULL with errno. */
struct mln_conf_s *conf_tree_new(void);

/* A tree from a blob; NULL with errno, EBADMSG for a blob that is none. */
struct mln_conf_s *conf_tree_from_blob(const char *blob, size_t len);

/* NULL allowed. */
void conf_tree_free(struct mln_conf_s *cf);

/* Prints a tree on the standard output. */
void conf_tree_dump(const struct mln_conf_s *cf);

/*
 * 1 when the configuration in force is the library's defaults because its file does not exist and nobody was told so;
 * the answer counts as telling, later ones are 0. A program that starts the framework should hear of it, once, and one
 * that only uses the log or the loop should not.
 */
int conf_file_missing(void);

/*
 * The configuration file, the value of mln_path_conf(). *named_by becomes the words for who named it, NULL when it is
 * the installation's own.
 */
char *path_conf(const char **named_by);

#endif
