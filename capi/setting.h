/*
 * setting.h - single settings of domain `main` of a configuration.
 *
 * A setting is a command with exactly one argument. Each function takes a NULL configuration for an empty one, gives the
 * default when the command is absent, and answers a wrong argument with a log line and -1.
 */
#ifndef SETTING_H
#define SETTING_H

#include <stdbool.h>

#include "mln_conf.h"

/* *item becomes the argument, NULL when the command is absent. */
int setting_item(mln_conf_t *cf, const char *name, mln_conf_item_t **item);

/* *value becomes the string, which belongs to the configuration, or stays what it was. */
int setting_string(mln_conf_t *cf, const char *name, const char **value);

/* *value becomes what `on` or `off` says, or stays what it was. */
int setting_switch(mln_conf_t *cf, const char *name, bool *value);

#endif
