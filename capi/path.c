/*
 * path.c - where files are. Which configuration file counts is decided here and nowhere else.
 */
#include "mln_path.h"

#include <stdlib.h>

#include "conf.h"

#ifndef MLN_PREFIX
#define MLN_PREFIX "/usr/local"
#endif

enum { PATH_COUNT = m_p_melang_dylib + 1 };

static mln_path_hook_t hooks[PATH_COUNT];

/* Not const: the API hands them out as char *. */
static char defaults[PATH_COUNT][sizeof(MLN_PREFIX "/lib/melang_dynamic")] = {
    [m_p_install] = MLN_PREFIX,
    [m_p_conf] = MLN_PREFIX "/conf/melon.conf",
    [m_p_tmpfile] = MLN_PREFIX "/tmp",
    [m_p_pid] = MLN_PREFIX "/logs/melon.pid",
    [m_p_log] = MLN_PREFIX "/logs/melon.log",
    [m_p_null] = "/dev/null",
    [m_p_melang_lib] = MLN_PREFIX "/lib/melang",
    [m_p_melang_dylib] = MLN_PREFIX "/lib/melang_dynamic",
};

void mln_path_hook_set(mln_path_type_t type, mln_path_hook_t hook)
{
    if ((unsigned)type < PATH_COUNT)
        hooks[type] = hook;
}

/* What the hook of a path says, NULL when there is none or it says nothing. */
static char *hooked(mln_path_type_t type)
{
    char *path = hooks[type] != NULL ? hooks[type]() : NULL;
    return path != NULL && path[0] != '\0' ? path : NULL;
}

static char *path_of(mln_path_type_t type)
{
    char *path = hooked(type);
    return path != NULL ? path : defaults[type];
}

char *path_conf(const char **named_by)
{
    char *path = hooked(m_p_conf);
    if (path != NULL) {
        *named_by = "the program's path hook";
        return path;
    }
    path = secure_getenv("MLN_CONF");
    if (path != NULL && path[0] != '\0') {
        *named_by = "the environment variable MLN_CONF";
        return path;
    }
    *named_by = NULL;
    return defaults[m_p_conf];
}

char *mln_path_conf(void)
{
    const char *named_by;
    return path_conf(&named_by);
}

char *mln_path(void) { return path_of(m_p_install); }
char *mln_path_tmpfile(void) { return path_of(m_p_tmpfile); }
char *mln_path_pid(void) { return path_of(m_p_pid); }
char *mln_path_log(void) { return path_of(m_p_log); }
char *mln_path_null(void) { return path_of(m_p_null); }
char *mln_path_melang_lib(void) { return path_of(m_p_melang_lib); }
char *mln_path_melang_dylib(void) { return path_of(m_p_melang_dylib); }

/* The seed era's names. */
char *mln_null_path(void) { return mln_path_null(); }
char *mln_melang_lib_path(void) { return mln_path_melang_lib(); }
char *mln_melang_dylib_path(void) { return mln_path_melang_dylib(); }
