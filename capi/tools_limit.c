/*
 * Resource limits by the configuration.
 */
#include "tools.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "log.h"
#include "setting.h"

/* RLIMIT_NOFILE knows no infinity: the kernel refuses everything above this file's value. */
#define MOST_DESCRIPTORS "/proc/sys/fs/nr_open"

static rlim_t most_descriptors(void)
{
    unsigned long most;
    FILE *file = fopen(MOST_DESCRIPTORS, "re");
    if (file == NULL || fscanf(file, "%lu", &most) != 1)
        most = RLIM_INFINITY;
    if (file != NULL)
        fclose(file);
    return most;
}

/* *value becomes the limit of a setting. 1: there is one, 0: there is none, -1: after a message. */
static int limit_from_conf(mln_conf_t *cf, const char *name, rlim_t *value)
{
    mln_conf_item_t *item;

    if (setting_item(cf, name, &item) < 0)
        return -1;
    if (item == NULL)
        return 0;
    if (item->type == CONF_INT && item->val.i >= 0) {
        *value = (rlim_t)item->val.i;
        return 1;
    }
    if (item->type == CONF_STR && item->val.s != NULL && item->val.s->len == strlen("unlimited")
        && memcmp(item->val.s->data, "unlimited", item->val.s->len) == 0)
    {
        *value = RLIM_INFINITY;
        return 1;
    }
    log_line(error, "configuration: the argument of %s has to be an integer that is not negative, or \"unlimited\"", name);
    return -1;
}

static int apply(mln_conf_t *cf, const char *name, int resource)
{
    rlim_t value;
    int found = limit_from_conf(cf, name, &value);
    if (found <= 0)
        return found;
    if (resource == RLIMIT_NOFILE && value == RLIM_INFINITY)
        value = most_descriptors();

    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
    if (setrlimit(resource, &limit) == 0)
        return 0;
    if (errno == EPERM)
        log_line(error, "cannot set the limit %s to %llu: only root may raise a hard limit%s", name,
                 (unsigned long long)value, resource == RLIMIT_NOFILE ? ", up to the value in " MOST_DESCRIPTORS : "");
    else
        log_line(error, "cannot set the limit %s to %llu: %s", name, (unsigned long long)value, strerror(errno));
    return -1;
}

int mln_sys_limit_modify(void)
{
    mln_conf_t *cf = mln_conf();

    if (apply(cf, "core_file_size", RLIMIT_CORE) < 0)
        return -1;
    return apply(cf, "max_nofile", RLIMIT_NOFILE);
}
