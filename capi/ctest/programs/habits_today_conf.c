/*
 * habits_today_conf.c - the configuration as programs of today use it: a path hook before the first load; load, free and reload in a
 * loop; changes with items on the stack and with global ones; searching after a removal, and removing what is gone.
 */
#include "check.h"

#include "mln_conf.h"

static mln_string_t text = mln_string("text");
static mln_conf_item_t string_item = {CONF_STR, .val.s = &text};
static mln_conf_item_t bool_item = {CONF_BOOL, {0}};

static char path[] = "./habits.conf";

static char *own_path(void)
{
    return path;
}

static int count_reload(void *data)
{
    ++*(int *)data;
    return 0;
}

static mln_conf_cmd_t *find(const char *domain, const char *command)
{
    mln_conf_domain_t *cd = mln_conf()->search(mln_conf(), domain);

    return cd == NULL ? NULL : cd->search(cd, command);
}

static void what_is_removed_is_gone(void)
{
    mln_conf_t *cf = mln_conf();
    mln_conf_domain_t *cd;
    mln_conf_cmd_t *cc;

    CHECK((cd = cf->insert(cf, "own")) != NULL);
    CHECK((cc = cd->insert(cd, "name")) != NULL);
    CHECK_PTR(cf->search(cf, "own"), cd);
    CHECK_PTR(cd->search(cd, "name"), cc);
    cd->remove(cd, "name");
    CHECK(cd->search(cd, "name") == NULL);
    cd->remove(cd, "name");
    cf->remove(cf, "own");
    CHECK(cf->search(cf, "own") == NULL);
    cf->remove(cf, "own");
}

static void items_are_replaced(void)
{
    mln_conf_item_t items[3] = {{CONF_INT, .val.i = -7}, {CONF_CHAR, .val.c = 'x'}, {CONF_FLOAT, .val.f = 0.5f}};
    mln_conf_cmd_t *cc = find("limits", "rate");

    CHECK_INT(mln_conf_arg_num(cc), 1);
    CHECK_INT(cc->search(cc, 1)->val.i, 5);
    CHECK_INT(cc->update(cc, &string_item, 1), 0);
    CHECK_STR((char *)cc->search(cc, 1)->val.s->data, "text");
    CHECK_INT(cc->update(cc, &bool_item, 1), 0);
    CHECK_INT(cc->search(cc, 1)->val.b, 0);
    CHECK_INT(cc->update(cc, items, 3), 0);
    CHECK_INT(mln_conf_arg_num(cc), 3);
    CHECK_INT(cc->search(cc, 1)->val.i, -7);
    CHECK(cc->search(cc, 0) == NULL && cc->search(cc, 4) == NULL);
}

int main(void)
{
    FILE *file = fopen(path, "w");
    int reloads = 0, i;
    mln_conf_hook_t *hook;

    CHECK(file != NULL);
    fputs("limits { rate 5; }\n", file);
    CHECK_INT(fclose(file), 0);
    mln_path_hook_set(m_p_conf, own_path);
    CHECK(mln_conf() == NULL);
    CHECK((hook = mln_conf_hook_set(count_reload, &reloads)) != NULL);
    for (i = 0; i < 50; i++) {
        CHECK_INT(mln_conf_load(), 0);
        what_is_removed_is_gone();
        items_are_replaced();
        CHECK_INT(mln_conf_reload(), 0);
        CHECK_INT(find("limits", "rate")->n_args, 1); /* as in the file again */
        mln_conf_free();
        CHECK(mln_conf() == NULL);
        CHECK_INT(mln_conf_reload(), 0); /* after a free, too */
    }
    CHECK_INT(reloads, 100);
    mln_conf_hook_unset(hook);
    mln_conf_dump();
    mln_conf_free();
    unlink(path);
    return 0;
}
