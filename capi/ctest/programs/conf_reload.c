/*
 * conf_reload.c - a reload replaces the configuration when the file is right, keeps it when the file is wrong or gone, and
 * calls the hooks in order, which may change the hooks, reload, and leave by longjmp.
 */
#include "conf_files.h"

#include <setjmp.h>

#include "mln_conf.h"

static char conf_file[512];

static char *conf_file_hook(void)
{
    return conf_file;
}

/* What the hooks did since the last look. */
static char trace[256];
static int failing = -1; /* the hook that fails */

static int hook(void *data)
{
    int number = *(int *)data;
    snprintf(trace + strlen(trace), sizeof trace - strlen(trace), "%d", number);
    CHECK(mln_conf() != NULL);
    return number == failing ? -1 : 1; /* any result from 0 is success */
}

static void expect_trace(const char *expected)
{
    CHECK_STR(trace, expected);
    trace[0] = '\0';
}

/* The first item of the first command `name` of domain main, -1 when there is none. */
static long value_of(const char *name)
{
    mln_conf_t *cf = mln_conf();
    mln_conf_domain_t *main_domain = cf->search(cf, "main");
    mln_conf_cmd_t *cmd = main_domain->search(main_domain, name);
    return cmd != NULL ? cmd->search(cmd, 1)->val.i : -1;
}

/* A file that is wrong: the log says where, in the file itself or in one that it includes. */
static void test_broken_in(const char *name, const char *content, const char *message)
{
    char expected[1024];
    snprintf(expected, sizeof expected, "%s:%s", conf_path(name), message);
    mln_conf_t *before = mln_conf();
    conf_write("melon.conf", content);
    capture_begin(2);
    int result = mln_conf_reload();
    capture_end();
    CHECK_INT(result, -1);
    CHECK_INT(captured_count(expected), 1);
    CHECK_INT(captured_count("the old configuration stays in force"), 1);
    CHECK_PTR(mln_conf(), before);
    CHECK_INT(value_of("version"), 2);
    expect_trace("");
}

static void test_broken(const char *content, const char *message)
{
    test_broken_in("melon.conf", content, message);
}

static int numbers[] = {0, 1, 2, 3};
static mln_conf_hook_t *own_handle, *next_handle;

/* Takes itself and the hook behind it away. */
static int unsetting_hook(void *data)
{
    mln_conf_hook_unset(own_handle);
    mln_conf_hook_unset(next_handle);
    return hook(data);
}

/* Sets a hook that does the same, which must not go on for ever. */
static int setting_hook(void *data)
{
    CHECK(mln_conf_hook_set(setting_hook, data) != NULL);
    return hook(data);
}

static void test_hooks_that_change_hooks(void)
{
    CHECK(mln_conf_hook_set(hook, &numbers[0]) != NULL);
    own_handle = mln_conf_hook_set(unsetting_hook, &numbers[1]);
    next_handle = mln_conf_hook_set(hook, &numbers[2]);
    CHECK(mln_conf_hook_set(hook, &numbers[3]) != NULL);
    CHECK_INT(mln_conf_reload(), 0);
    expect_trace("013");
    CHECK_INT(mln_conf_reload(), 0);
    expect_trace("03");
    mln_conf_hook_free();

    CHECK(mln_conf_hook_set(setting_hook, &numbers[1]) != NULL);
    CHECK_INT(mln_conf_reload(), 0);
    expect_trace("1");
    CHECK_INT(mln_conf_reload(), 0);
    expect_trace("11");
    mln_conf_free_hook();
    CHECK_INT(mln_conf_reload(), 0);
    expect_trace("");
}

static jmp_buf place;

static int jumping_hook(void *data)
{
    hook(data);
    longjmp(place, 1);
}

__attribute__((noinline)) static void reload_until_jump(void)
{
    if (setjmp(place) == 0) {
        mln_conf_reload();
        CHECK(0);
    }
}

/* Writes over what the functions that were left had on the stack. */
__attribute__((noinline)) static void use_stack(void)
{
    volatile char room[16384];

    for (size_t i = 0; i < sizeof room; i++)
        room[i] = 0x41;
}

static void test_hook_that_jumps(void)
{
    mln_conf_hook_t *jumping, *behind;

    CHECK(mln_conf_hook_set(hook, &numbers[0]) != NULL);
    jumping = mln_conf_hook_set(jumping_hook, &numbers[1]);
    behind = mln_conf_hook_set(hook, &numbers[2]);
    CHECK(mln_conf_hook_set(hook, &numbers[3]) != NULL);
    for (int i = 0; i < 3; i++) {
        reload_until_jump();
        expect_trace("01");
    }
    use_stack();
    mln_conf_hook_unset(behind);
    mln_conf_hook_unset(jumping);
    CHECK_INT(mln_conf_reload(), 0);
    expect_trace("03");
    mln_conf_hook_free();
}

static int reloads_left;

static int reloading_hook(void *data)
{
    hook(data);
    return reloads_left-- > 0 ? mln_conf_reload() : 0;
}

static void test_hook_that_reloads(void)
{
    CHECK(mln_conf_hook_set(hook, &numbers[0]) != NULL);
    CHECK(mln_conf_hook_set(reloading_hook, &numbers[1]) != NULL);
    CHECK(mln_conf_hook_set(hook, &numbers[2]) != NULL);
    reloads_left = 1;
    CHECK_INT(mln_conf_reload(), 0);
    expect_trace("010122");
    mln_conf_hook_free();
}

int main(void)
{
    int result;

    conf_folder_make();
    strcpy(conf_file, conf_path("melon.conf"));
    mln_path_hook_set(m_p_conf, conf_file_hook);
    conf_write("melon.conf", "version 1;");

    /* Hooks, under the names of both eras, are called by a reload alone. */
    mln_conf_hook_t *first = mln_conf_hook_set(hook, &numbers[1]);
    mln_conf_hook_t *second = mln_conf_set_hook(hook, &numbers[2]);
    CHECK(first != NULL && second != NULL);
    CHECK(mln_conf_hook_set(hook, &numbers[3]) != NULL);
    CHECK_PTR(mln_conf_hook_set(NULL, NULL), NULL);
    CHECK_INT(mln_conf_load(), 0);
    CHECK_INT(value_of("version"), 1);
    expect_trace("");

    conf_write("melon.conf", "version 2;");
    CHECK_INT(mln_conf_reload(), 0);
    CHECK_INT(value_of("version"), 2);
    expect_trace("123");

    test_broken("version 3;\nother {\n  x;\n", "4:1: expected } to close domain other, opened at ");
    test_broken("version 3\nother;", "2:1: expected an item or ; to end command version");
    test_broken("version 99999999999999999999;", "1:9: expected a number that fits in 64 bits");
    test_broken("x 1000000000000000000000000000000000000000.0;", "1:3: expected a real number that fits in a float");
    test_broken("\n#include \"none\"\n", "2:1: cannot include \"none\"");
    conf_write("part.conf", "right;\n  wrong 1 2 }\n");
    test_broken_in("part.conf", "#include \"@part.conf\"\n",
                   "2:13: expected an item or ; to end command wrong, begun at ");
    conf_remove("part.conf");
    conf_remove("melon.conf");
    capture_begin(2);
    result = mln_conf_reload();
    capture_end();
    CHECK_INT(result, -1);
    CHECK_INT(captured_count("the configuration file is gone"), 1);
    CHECK_INT(value_of("version"), 2);
    expect_trace("");

    /* The first hook that fails is the last that is called; the new configuration is in force. */
    conf_write("melon.conf", "version 3;");
    failing = 2;
    capture_begin(2);
    result = mln_conf_reload();
    capture_end();
    CHECK_INT(result, -1);
    CHECK_INT(value_of("version"), 3);
    expect_trace("12");
    failing = -1;
    mln_conf_unset_hook(second);
    mln_conf_hook_unset(NULL);
    CHECK_INT(mln_conf_reload(), 0);
    expect_trace("13");
    mln_conf_hook_unset(first);
    CHECK_INT(mln_conf_reload(), 0);
    expect_trace("3");
    mln_conf_hook_free();
    mln_conf_hook_free();
    test_hooks_that_change_hooks();
    test_hook_that_jumps();
    test_hook_that_reloads();

    /* A first load that fails leaves nothing, and the next one starts afresh. */
    mln_conf_free();
    conf_write("melon.conf", "version");
    capture_begin(2);
    result = mln_conf_load();
    capture_end();
    CHECK_INT(result, -1);
    CHECK_INT(captured_count("1:8: expected"), 1);
    CHECK_PTR(mln_conf(), NULL);
    conf_write("melon.conf", "version 4;");
    int before = fd_count();
    for (int i = 0; i < 200; i++) {
        CHECK_INT(mln_conf_load(), 0);
        CHECK_INT(mln_conf_reload(), 0);
        CHECK_INT(value_of("version"), 4);
        mln_conf_free();
        CHECK_PTR(mln_conf(), NULL);
        CHECK_INT(mln_conf_reload(), 0); /* without a configuration a reload is a load */
        mln_conf_free();
    }
    CHECK_INT(fd_count(), before);

    conf_remove("melon.conf");
    conf_folder_remove();
    return 0;
}
