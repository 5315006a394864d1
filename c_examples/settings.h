/*
 * settings.h - a configuration file for an example, in a temporary folder that goes when the program ends. C and C++.
 *
 * It lets the examples run anywhere and leave nothing behind. A program that is installed does not need it: it has its
 * configuration file where mln_path_conf() says, or where the environment variable MLN_CONF does.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mln_path.h"

static char settings_folder[1024];
static char settings_file[sizeof settings_folder + sizeof "/example.conf"];
static pid_t settings_owner;

static inline char *settings_path(void)
{
    return settings_file;
}

/* Workers inherit the call of this function at their end, but the folder is not theirs. */
static inline void settings_remove(void)
{
    static const char *const files[] = {"example.conf", "example.log", "melon.pid"};
    char path[sizeof settings_folder + 32];

    if (getpid() != settings_owner)
        return;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) {
        snprintf(path, sizeof path, "%s/%s", settings_folder, files[i]);
        unlink(path);
    }
    rmdir(settings_folder);
}

/*
 * Makes `text` the configuration, with a log file beside it. To be called before the library is started. Returns 0, or
 * -1 after a message.
 */
static inline int settings_use(const char *text)
{
    const char *parent = getenv("TMPDIR");
    FILE *file;
    int written;

    if (parent == NULL || *parent == '\0')
        parent = "/tmp";
    if (snprintf(settings_folder, sizeof settings_folder, "%s/mln-example-XXXXXX", parent) >= (int)sizeof settings_folder) {
        fprintf(stderr, "The path in TMPDIR is too long for this program; choose a shorter one.\n");
        return -1;
    }
    if (mkdtemp(settings_folder) == NULL) {
        fprintf(stderr, "Cannot make a temporary folder in %s: ", parent);
        perror(NULL);
        return -1;
    }
    settings_owner = getpid();
    atexit(settings_remove);
    snprintf(settings_file, sizeof settings_file, "%s/example.conf", settings_folder);
    if ((file = fopen(settings_file, "w")) != NULL) {
        written = fprintf(file, "%slog_path \"%s/example.log\";\n", text, settings_folder);
        if (fclose(file) == 0 && written > 0) {
            mln_path_hook_set(m_p_conf, settings_path);
            return 0;
        }
    }
    perror(settings_file);
    return -1;
}

#endif
