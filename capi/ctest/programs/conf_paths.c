/*
 * conf_paths.c - a hook names the configuration file before MLN_CONF does, and MLN_CONF before the installation; a file that
 * does not exist leaves the defaults in force.
 */
#include "conf_files.h"

#include "mln_conf.h"
#include "mln_path.h"

static char hooked_file[512];

static char *file_hook(void)
{
    return hooked_file;
}

static char *null_hook(void)
{
    return NULL;
}

static char *other_hook(void)
{
    static char other[] = "/other";
    return other;
}

/* Loads, checks which file was read ("" for none) and frees. What was said is in captured. */
static void expect_loaded(const char *name)
{
    capture_begin(2);
    int result = mln_conf_load();
    capture_end();
    CHECK_INT(result, 0);
    mln_conf_t *cf = mln_conf();
    CHECK(cf != NULL);
    mln_conf_domain_t *main_domain = cf->search(cf, "main");
    CHECK(main_domain != NULL);
    if (name[0] == '\0')
        CHECK(mln_conf_is_empty(cf));
    else
        CHECK(main_domain->search(main_domain, name) != NULL);
    mln_conf_free();
}

static void expect_below_prefix(const char *path, const char *rest)
{
    size_t length = strlen(mln_path());
    CHECK_INT(strncmp(path, mln_path(), length), 0);
    CHECK_STR(path + length, rest);
}

static void test_paths(void)
{
    CHECK_INT(mln_path()[0], '/');
    expect_below_prefix(mln_path_conf(), "/conf/melon.conf");
    expect_below_prefix(mln_path_tmpfile(), "/tmp");
    expect_below_prefix(mln_path_pid(), "/logs/melon.pid");
    expect_below_prefix(mln_path_log(), "/logs/melon.log");
    expect_below_prefix(mln_path_melang_lib(), "/lib/melang");
    expect_below_prefix(mln_path_melang_dylib(), "/lib/melang_dynamic");
    CHECK_STR(mln_path_null(), "/dev/null");

    /* The seed era's names. */
    CHECK_STR(mln_null_path(), mln_path_null());
    CHECK_STR(mln_melang_lib_path(), mln_path_melang_lib());
    CHECK_STR(mln_melang_dylib_path(), mln_path_melang_dylib());
}

/* A hook replaces one path and no other. */
static void test_hooks(void)
{
    char *(*const paths[])(void) = {mln_path, mln_path_conf, mln_path_tmpfile, mln_path_pid, mln_path_log, mln_path_null,
                                    mln_path_melang_lib, mln_path_melang_dylib};
    char *before[8];

    for (int i = 0; i < 8; i++)
        before[i] = paths[i]();
    for (int i = 0; i < 8; i++) {
        mln_path_hook_set((mln_path_type_t)i, other_hook);
        for (int j = 0; j < 8; j++)
            CHECK_STR(paths[j](), j == i ? "/other" : before[j]);
        mln_path_hook_set((mln_path_type_t)i, null_hook);
        CHECK_STR(paths[i](), before[i]);
        mln_path_hook_set((mln_path_type_t)i, NULL);
        CHECK_STR(paths[i](), before[i]);
    }
    mln_path_hook_set((mln_path_type_t)8, other_hook);
    mln_path_hook_set((mln_path_type_t)-1, other_hook);
    for (int i = 0; i < 8; i++)
        CHECK_STR(paths[i](), before[i]);
}

int main(void)
{
    int result;

    unsetenv("MLN_CONF");
    test_paths();
    test_hooks();

    conf_folder_make();
    conf_write("env.conf", "by_env;");
    conf_write("hook.conf", "by_hook;");
    strcpy(hooked_file, conf_path("hook.conf"));

    setenv("MLN_CONF", conf_path("env.conf"), 1);
    CHECK_STR(mln_path_conf(), conf_path("env.conf"));
    expect_loaded("by_env");
    CHECK_STR(captured, "");
    mln_path_hook_set(m_p_conf, file_hook);
    CHECK_STR(mln_path_conf(), hooked_file);
    expect_loaded("by_hook");
    CHECK_STR(captured, "");
    mln_path_hook_set(m_p_conf, NULL);
    expect_loaded("by_env");

    /* A file that is named and does not exist: a warning with its path, and the defaults. */
    setenv("MLN_CONF", conf_path("none.conf"), 1);
    expect_loaded("");
    CHECK_INT(captured_count(conf_path("none.conf")), 1);
    CHECK_INT(captured_count("MLN_CONF"), 1);
    strcpy(hooked_file, conf_path("gone.conf"));
    mln_path_hook_set(m_p_conf, file_hook);
    expect_loaded("");
    CHECK_INT(captured_count(conf_path("gone.conf")), 1);
    CHECK_INT(captured_count("hook"), 1);

    /* It comes into being, and a reload reads it. */
    capture_begin(2);
    result = mln_conf_load();
    capture_end();
    CHECK_INT(result, 0);
    conf_write("gone.conf", "by_hook;");
    CHECK_INT(mln_conf_reload(), 0);
    CHECK_INT(mln_conf_cmd_num(mln_conf(), "main"), 1);
    mln_conf_free();
    mln_path_hook_set(m_p_conf, NULL);

    /* An empty MLN_CONF names nothing. Nor does anybody then hear of the installation having no file. */
    setenv("MLN_CONF", "", 1);
    expect_below_prefix(mln_path_conf(), "/conf/melon.conf");
    if (access(mln_path_conf(), F_OK) != 0) {
        expect_loaded("");
        CHECK_STR(captured, "");
    }

    /* What exists and cannot be read is an error. */
    setenv("MLN_CONF", conf_folder, 1);
    capture_begin(2);
    result = mln_conf_load();
    capture_end();
    CHECK_INT(result, -1);
    CHECK_INT(captured_count(conf_folder), 1);
    CHECK_PTR(mln_conf(), NULL);

    conf_remove("env.conf");
    conf_remove("hook.conf");
    conf_remove("gone.conf");
    conf_folder_remove();
    return 0;
}
