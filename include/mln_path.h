/**
 * @file mln_path.h
 * The files and folders of an installation.
 *
 * Every path starts with the installation folder, which is fixed when the library is built. A program replaces single
 * paths with mln_path_hook_set(). The strings returned belong to the library or to a hook and must not be written to or
 * freed. The functions may be called in any process; set hooks before other threads are started, then any thread may ask.
 */
#ifndef __MLN_PATH_H
#define __MLN_PATH_H

#ifdef __cplusplus
extern "C" {
#endif

/** Names a path for mln_path_hook_set(). Today's name. */
typedef enum {
    m_p_install = 0,     /**< mln_path() */
    m_p_conf = 1,        /**< mln_path_conf() */
    m_p_tmpfile = 2,     /**< mln_path_tmpfile() */
    m_p_pid = 3,         /**< mln_path_pid() */
    m_p_log = 4,         /**< mln_path_log() */
    m_p_null = 5,        /**< mln_path_null() */
    m_p_melang_lib = 6,  /**< mln_path_melang_lib() */
    m_p_melang_dylib = 7 /**< mln_path_melang_dylib() */
} mln_path_type_t;

/**
 * Gives a path in the place of the library. The string stays the hook's and must stay valid. A hook that returns NULL or
 * an empty string leaves the choice to the library. Today's name.
 */
typedef char *(*mln_path_hook_t)(void);

/**
 * Replaces one path. The others stay: a hook for the installation folder does not move what lies in it. Call it before
 * the functions that use the path, mln_conf_load() for instance. Workers inherit the hooks. Today's name.
 *
 * @param type  Which path; an unknown value does nothing.
 * @param hook  Called each time the path is needed; NULL restores the library's own path.
 */
void mln_path_hook_set(mln_path_type_t type, mln_path_hook_t hook);

/** Returns the installation folder. Since the seed era. */
char *mln_path(void);

/**
 * Returns the configuration file: the one that a hook names; else the one that the environment variable MLN_CONF names,
 * if it is set, not empty, and the program does not run with privileges its user lacks (see secure_getenv(3)); else
 * `conf/melon.conf` in the installation folder. The file need not exist. Today's name.
 */
char *mln_path_conf(void);

/** Returns the folder for temporary files, `tmp` in the installation folder. It need not exist. Today's name. */
char *mln_path_tmpfile(void);

/** Returns the default file for the master's process id, `logs/melon.pid` in the installation folder. Today's name. */
char *mln_path_pid(void);

/** Returns the default log file, `logs/melon.log` in the installation folder. Today's name. */
char *mln_path_log(void);

/** Returns the null device, `/dev/null`. Today's name. */
char *mln_path_null(void);

/** Returns the folder of script libraries, `lib/melang` in the installation folder. Today's name. */
char *mln_path_melang_lib(void);

/** Returns the folder of binary script libraries, `lib/melang_dynamic` in the installation folder. Today's name. */
char *mln_path_melang_dylib(void);

/** The seed era's name of mln_path_null(). */
char *mln_null_path(void);

/** The seed era's name of mln_path_melang_lib(). */
char *mln_melang_lib_path(void);

/** The seed era's name of mln_path_melang_dylib(). */
char *mln_melang_dylib_path(void);

#ifdef __cplusplus
}
#endif

#endif
