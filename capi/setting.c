#include "setting.h"

#include <string.h>

#include "log.h"

int setting_item(mln_conf_t *cf, const char *name, mln_conf_item_t **item)
{
    *item = NULL;
    if (cf == NULL)
        return 0;

    mln_conf_domain_t *domain = cf->search(cf, "main");
    if (domain == NULL)
        return 0;
    mln_conf_cmd_t *command = domain->search(domain, name);
    if (command == NULL)
        return 0;

    mln_u32_t count = mln_conf_arg_num(command);
    if (count != 1) {
        log_line(error, "configuration: %s has %u arguments; give it exactly one", name, count);
        return -1;
    }
    *item = command->search(command, 1);
    return 0;
}

int setting_string(mln_conf_t *cf, const char *name, const char **value)
{
    mln_conf_item_t *item;
    if (setting_item(cf, name, &item) < 0)
        return -1;
    if (item == NULL)
        return 0;
    /* A NUL inside would silently cut the value short. */
    if (item->type != CONF_STR || item->val.s == NULL || item->val.s->data == NULL
        || strlen((const char *)item->val.s->data) != item->val.s->len)
    {
        log_line(error, "configuration: the argument of %s has to be a string in double quotes", name);
        return -1;
    }
    *value = (const char *)item->val.s->data;
    return 0;
}

int setting_switch(mln_conf_t *cf, const char *name, bool *value)
{
    mln_conf_item_t *item;
    if (setting_item(cf, name, &item) < 0)
        return -1;
    if (item == NULL)
        return 0;
    if (item->type != CONF_BOOL) {
        log_line(error, "configuration: the argument of %s has to be on or off", name);
        return -1;
    }
    *value = item->val.b != 0;
    return 0;
}
