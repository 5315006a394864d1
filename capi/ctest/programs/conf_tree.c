/*
 * conf_tree.c - what is in a configuration file can be found, listed, changed and printed, under the names of both eras.
 */
#include "conf_files.h"

#include <locale.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "mln_conf.h"

static char conf_file[512];

static char *conf_file_hook(void)
{
    return conf_file;
}

static const char text[] =
    "#define WORKERS 4\n"
    "worker_proc #WORKERS;\r\n"
    "log_path \"logs/app.log\";\n"
    "daemon off;\n"
    "limits {\n"
    "    rate -2.5;\n"
    "    mode 'r' on 10 \"ten \\\"10\\\"\\n\";\n"
    "    empty;\n"
    "    mode 2;\n"
    "}\n"
    "limits { second; }\n"
    "big -9223372036854775808 2.0 -0.15625 16777215.0 0.0000001;\n";

/* The names of the commands of a domain, with blanks between. */
static const char *names_of(mln_conf_t *cf, const char *domain)
{
    static char names[256];
    mln_conf_cmd_t *cmds[16];
    mln_u32_t count = mln_conf_cmd_num(cf, domain);

    CHECK(count < 16);
    cmds[count] = (mln_conf_cmd_t *)names; /* nothing may be written behind the last */
    mln_conf_cmds(cf, domain, cmds);
    CHECK_PTR(cmds[count], names);
    names[0] = '\0';
    for (mln_u32_t i = 0; i < count; i++) {
        if (i > 0)
            strcat(names, " ");
        strcat(names, (char *)cmds[i]->cmd_name->data);
    }
    return names;
}

static void test_search(mln_conf_t *cf)
{
    mln_conf_domain_t *main_domain = cf->search(cf, "main");
    CHECK(main_domain != NULL);
    CHECK_STR((char *)main_domain->domain_name->data, "main");
    CHECK_PTR(cf->search(cf, "none"), NULL);
    CHECK_PTR(main_domain->search(main_domain, "none"), NULL);
    CHECK_STR(names_of(cf, "main"), "worker_proc log_path daemon big");

    mln_conf_cmd_t *cmd = main_domain->search(main_domain, "worker_proc");
    CHECK(cmd != NULL);
    CHECK_INT(mln_conf_arg_num(cmd), 1);
    CHECK_INT(cmd->search(cmd, 1)->type, CONF_INT);
    CHECK_INT(cmd->search(cmd, 1)->val.i, 4);
    CHECK_PTR(cmd->search(cmd, 0), NULL);
    CHECK_PTR(cmd->search(cmd, 2), NULL);

    cmd = main_domain->search(main_domain, "daemon");
    CHECK_INT(cmd->search(cmd, 1)->type, CONF_BOOL);
    CHECK_INT(cmd->search(cmd, 1)->val.b, 0);

    cmd = main_domain->search(main_domain, "big");
    CHECK(cmd->search(cmd, 1)->val.i == -9223372036854775807L - 1);
    CHECK(cmd->search(cmd, 2)->val.f == 2.0f && cmd->search(cmd, 3)->val.f == -0.15625f);
    CHECK(cmd->search(cmd, 4)->val.f == 16777215.0f);

    mln_conf_domain_t *limits = cf->search(cf, "limits");
    CHECK_STR(names_of(cf, "limits"), "rate mode empty mode");
    cmd = limits->search(limits, "rate");
    CHECK_INT(cmd->search(cmd, 1)->type, CONF_FLOAT);
    CHECK(cmd->search(cmd, 1)->val.f == -2.5f);
    cmd = limits->search(limits, "empty");
    CHECK_INT(mln_conf_arg_num(cmd), 0);
    CHECK_PTR(cmd->search(cmd, 1), NULL);
    cmd = limits->search(limits, "mode"); /* the first of two */
    CHECK_INT(mln_conf_arg_num(cmd), 4);
    CHECK_INT(cmd->search(cmd, 1)->type, CONF_CHAR);
    CHECK_INT(cmd->search(cmd, 1)->val.c, 'r');
    CHECK_INT(cmd->search(cmd, 2)->val.b, 1);
    CHECK_INT(cmd->search(cmd, 4)->type, CONF_STR);
    CHECK_STR((char *)cmd->search(cmd, 4)->val.s->data, "ten \"10\"\n");
    CHECK_INT(cmd->search(cmd, 4)->val.s->len, 9);
}

static void test_seed_era_names(void)
{
    mln_conf_t *cf = mln_get_conf();
    search_domain find_domain = cf->search;
    mln_conf_domain_t *limits = find_domain(cf, "limits");
    search_cmd find_cmd = limits->search;
    mln_conf_cmd_t *mode = find_cmd(limits, "mode");
    search_item find_item = mode->search;
    mln_conf_cmd_t *cmds[4] = {NULL, NULL, NULL, NULL};

    CHECK_PTR(cf, mln_conf());
    CHECK_INT(find_item(mode, 3)->val.i, 10);
    CHECK_INT(mln_conf_get_ncmd(cf, "limits"), 4);
    CHECK_INT(mln_conf_get_ncmd(cf, "none"), 0);
    mln_conf_get_cmds(cf, "none", cmds);
    CHECK_PTR(cmds[0], NULL);
    mln_conf_get_cmds(cf, "limits", cmds);
    CHECK_PTR(cmds[1], mode);
    CHECK_INT(mln_conf_get_narg(mode), 4);
}

static mln_string_t worker_text = mln_string("text");
static mln_conf_item_t global_item = {CONF_STR, .val.s = &worker_text};

static void test_update(mln_conf_t *cf)
{
    mln_conf_domain_t *main_domain = cf->search(cf, "main");
    mln_conf_cmd_t *cmd = main_domain->search(main_domain, "daemon");

    CHECK_INT(cmd->update(cmd, &global_item, 1), 0);
    CHECK_INT(cmd->search(cmd, 1)->type, CONF_STR);
    CHECK(cmd->search(cmd, 1)->val.s != &worker_text);
    CHECK(cmd->search(cmd, 1)->val.s->data != worker_text.data);
    CHECK_STR((char *)cmd->search(cmd, 1)->val.s->data, "text");

    /* A string without a NUL behind it gets one. */
    mln_string_t part;
    mln_string_nset(&part, "partial", 4);
    mln_conf_item_t items[3] = {{CONF_STR, .val.s = &part}, {CONF_INT, .val.i = -7}, {CONF_BOOL, .val.b = 1}};
    CHECK_INT(cmd->update(cmd, items, 3), 0);
    CHECK_INT(mln_conf_arg_num(cmd), 3);
    CHECK_STR((char *)cmd->search(cmd, 1)->val.s->data, "part");

    /* Its own items in another order. */
    mln_conf_item_t own[2] = {*cmd->search(cmd, 2), *cmd->search(cmd, 1)};
    CHECK_INT(cmd->update(cmd, own, 2), 0);
    CHECK_INT(cmd->search(cmd, 1)->val.i, -7);
    CHECK_STR((char *)cmd->search(cmd, 2)->val.s->data, "part");

    /* What cannot be stored changes nothing. */
    mln_conf_item_t bad[2] = {{CONF_INT, .val.i = 1}, {CONF_STR, .val.s = NULL}};
    CHECK_INT(cmd->update(cmd, bad, 2), -1);
    bad[1].type = (mln_conf_item_type_t)77;
    CHECK_INT(cmd->update(cmd, bad, 2), -1);
    CHECK_INT(cmd->update(cmd, NULL, 1), -1);
    CHECK_INT(mln_conf_arg_num(cmd), 2);
    CHECK_STR((char *)cmd->search(cmd, 2)->val.s->data, "part");

    CHECK_INT(cmd->update(cmd, NULL, 0), 0);
    CHECK_INT(mln_conf_arg_num(cmd), 0);
    CHECK_PTR(cmd->search(cmd, 1), NULL);
}

static void test_insert_remove(mln_conf_t *cf)
{
    mln_conf_domain_t *limits = cf->search(cf, "limits");

    /* The first of each name goes, then the next is found. */
    CHECK_PTR(limits->remove(limits, "mode"), NULL);
    CHECK_STR(names_of(cf, "limits"), "rate empty mode");
    CHECK_INT(mln_conf_arg_num(limits->search(limits, "mode")), 1);
    limits->remove(limits, "mode");
    CHECK_PTR(limits->search(limits, "mode"), NULL);
    limits->remove(limits, "mode");
    limits->remove(limits, "none");
    CHECK_STR(names_of(cf, "limits"), "rate empty");

    /* An inserted one stands behind the last, even when that was removed and when the name exists. */
    char name[] = "rate";
    mln_conf_cmd_t *cmd = limits->insert(limits, name);
    CHECK(cmd != NULL);
    name[0] = 'x';
    CHECK_STR((char *)cmd->cmd_name->data, "rate");
    CHECK_INT(mln_conf_arg_num(cmd), 0);
    CHECK_INT(cmd->update(cmd, &global_item, 1), 0);
    CHECK_STR(names_of(cf, "limits"), "rate empty rate");
    CHECK(limits->search(limits, "rate") != cmd);
    limits->remove(limits, "rate");
    CHECK_PTR(limits->search(limits, "rate"), cmd);
    limits->remove(limits, "rate");
    limits->remove(limits, "empty");
    CHECK_INT(mln_conf_cmd_num(cf, "limits"), 0);
    CHECK(limits->insert(limits, "again") != NULL);
    CHECK_STR(names_of(cf, "limits"), "again");
    CHECK_PTR(limits->insert(limits, NULL), NULL);

    CHECK_PTR(cf->remove(cf, "limits"), NULL);
    CHECK_STR(names_of(cf, "limits"), "second");
    cf->remove(cf, "limits");
    CHECK_PTR(cf->search(cf, "limits"), NULL);
    cf->remove(cf, "limits");
    mln_conf_domain_t *own = cf->insert(cf, "own");
    CHECK(own != NULL);
    CHECK(cf->insert(cf, "own") != own);
    CHECK_PTR(cf->search(cf, "own"), own);
    CHECK(own->insert(own, "x") != NULL);
    CHECK_STR(names_of(cf, "own"), "x");
}

/* What leads a terminal is not printed as it is, wherever it has come from. */
static void test_dump_of_controls(void)
{
    mln_conf_t *cf = mln_conf();
    mln_string_t value = mln_string("\x1b[2J \x7f\x9b \xc2\x9b Gr\xc3\xbc\xc3\x9f" "e");
    mln_conf_item_t items[2];
    mln_conf_domain_t *cd = cf->insert(cf, "d\x9b");
    mln_conf_cmd_t *cc;

    memset(items, 0, sizeof items);
    items[0].type = CONF_STR;
    items[0].val.s = &value;
    items[1].type = CONF_CHAR;
    items[1].val.c = '\x7f';
    CHECK((cc = cd->insert(cd, "c\n")) != NULL);
    CHECK_INT(cc->update(cc, items, 2), 0);
    capture_begin(1);
    mln_conf_dump();
    capture_end();
    CHECK_INT(captured_count("d\\x9b {\n    c\\x0a \"\\e[2J \\x7f\\x9b \\xc2\\x9b Gr\xc3\xbc\xc3\x9f" "e\" '\\x7f';\n}\n"), 1);
    cf->remove(cf, "d\x9b");
}

/* Where people write a decimal comma the language does not. */
static void test_dump_in_another_locale(void)
{
    /* The form in which the C library keeps the numbers of a locale: six values, by their offsets. */
    const struct {
        uint32_t magic, count, offsets[6];
        char point[2], separator[2], grouping[4];
        uint32_t wide_point, wide_separator;
        char charset[6];
    } numbers = {0x20031114, 6, {32, 34, 36, 40, 44, 48}, ",", ".", "\3\3", ',', '.', "UTF-8"};
    FILE *file;

    CHECK_INT(mkdir(conf_path("comma"), 0700), 0);
    CHECK((file = fopen(conf_path("comma/LC_NUMERIC"), "w")) != NULL);
    CHECK_INT(fwrite(&numbers, offsetof(__typeof__(numbers), charset) + sizeof numbers.charset, 1, file), 1);
    CHECK_INT(fclose(file), 0);
    CHECK_INT(setenv("LOCPATH", conf_folder, 1), 0);
    CHECK(setlocale(LC_NUMERIC, "comma") != NULL);
    CHECK_STR(localeconv()->decimal_point, ",");
    capture_begin(1);
    mln_conf_dump();
    capture_end();
    CHECK(setlocale(LC_NUMERIC, "C") != NULL);
    CHECK_INT(captured_count("2.0 -0.15625 16777215.0 0.0000001;\n"), 1);
    conf_remove("comma/LC_NUMERIC");
    CHECK_INT(rmdir(conf_path("comma")), 0);
}

/* A forked process has a tree of its own. */
static void test_fork(mln_conf_t *cf)
{
    pid_t pid = fork();
    int status;

    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_STR(names_of(cf, "own"), "x");
        cf->remove(cf, "own");
        CHECK(cf->insert(cf, "child") != NULL);
        mln_conf_free();
        CHECK_PTR(mln_conf(), NULL);
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    CHECK_STR(names_of(cf, "own"), "x");
    CHECK_PTR(cf->search(cf, "child"), NULL);
}

static void test_empty(void)
{
    CHECK(mln_conf_is_empty(NULL));
    conf_write("melon.conf", "// nothing\n");
    CHECK_INT(mln_conf_load(), 0);
    mln_conf_t *cf = mln_conf();
    mln_conf_domain_t *main_domain = cf->search(cf, "main");
    CHECK(main_domain != NULL);
    CHECK(mln_conf_is_empty(cf));
    CHECK(main_domain->insert(main_domain, "x") != NULL);
    CHECK(!mln_conf_is_empty(cf));
    main_domain->remove(main_domain, "x");
    CHECK(mln_conf_is_empty(cf));
    CHECK(cf->insert(cf, "d") != NULL);
    CHECK(!mln_conf_is_empty(cf));
    cf->remove(cf, "main");
    CHECK(mln_conf_is_empty(cf));
    mln_conf_free();
}

int main(void)
{
    conf_folder_make();
    strcpy(conf_file, conf_path("melon.conf"));
    mln_path_hook_set(m_p_conf, conf_file_hook);
    conf_write("melon.conf", text);

    CHECK_PTR(mln_conf(), NULL);
    CHECK_INT(mln_conf_load(), 0);
    mln_conf_t *cf = mln_conf();
    CHECK(cf != NULL);
    CHECK_INT(mln_conf_load(), 0); /* nothing happens */
    CHECK_PTR(mln_conf(), cf);
    CHECK(!mln_conf_is_empty(cf));

    test_search(cf);
    test_seed_era_names();
    capture_begin(1);
    mln_conf_dump();
    capture_end();
    CHECK_STR(captured, "worker_proc 4;\nlog_path \"logs/app.log\";\ndaemon off;\n"
                        "big -9223372036854775808 2.0 -0.15625 16777215.0 0.0000001;\n"
                        "limits {\n    rate -2.5;\n    mode 'r' on 10 \"ten \\\"10\\\"\\n\";\n    empty;\n    mode 2;\n}\n"
                        "limits {\n    second;\n}\n");
    test_dump_of_controls();
    test_dump_in_another_locale();
    test_update(cf);
    test_insert_remove(cf);
    test_fork(cf);

    mln_conf_free();
    CHECK_PTR(mln_conf(), NULL);
    mln_conf_free();
    mln_conf_dump(); /* prints nothing */
    test_empty();

    conf_remove("melon.conf");
    conf_folder_remove();
    return 0;
}
