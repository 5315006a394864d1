/*
 * framework.h - for test programs that start the framework: a configuration that lives in memory only.
 */
#ifndef FRAMEWORK_H
#define FRAMEWORK_H

#include "mln_conf.h"
#include "mln_framework.h"

/* In global_init: sets a key of domain main to one item, whether it exists or not. */
CHECK_UNUSED static inline void configure(const char *key, mln_conf_item_t *item)
{
    mln_conf_t *cf = mln_conf();
    mln_conf_domain_t *cd = cf->search(cf, "main");
    mln_conf_cmd_t *cc = cd->search(cd, key);

    if (cc == NULL)
        cc = cd->insert(cd, key);
    CHECK(cc != NULL);
    CHECK_INT(cc->update(cc, item, 1), 0);
}

/* In global_init: sets a key to a number. */
CHECK_UNUSED static inline void configure_number(const char *key, long n)
{
    mln_conf_item_t item;

    memset(&item, 0, sizeof item);
    item.type = CONF_INT;
    item.val.i = n;
    configure(key, &item);
}

/* In global_init: switches the framework on, with so many plain workers. */
CHECK_UNUSED static inline void configure_workers(int n)
{
    mln_string_t multiprocess = mln_string("multiprocess"), level = mln_string("report");
    mln_string_t path = mln_string("./logs/test.log");
    mln_conf_item_t item;

    memset(&item, 0, sizeof item);
    item.type = CONF_STR;
    item.val.s = &multiprocess;
    configure("framework", &item);
    item.val.s = &level;
    configure("log_level", &item);
    item.val.s = &path;
    configure("log_path", &item);
    item.type = CONF_INT;
    item.val.i = n;
    configure("worker_proc", &item);
    configure_number("worker_drain_timeout", 1000 * check_slowness()); /* as usual, but for the speed */
    configure_number("worker_kill_timeout", 1000 * check_slowness());
}

/* Before main ends: the files that the log made. */
CHECK_UNUSED static inline void remove_log(void)
{
    unlink("logs/test.log");
    unlink("logs/melon.pid");
    rmdir("logs");
}

#endif
