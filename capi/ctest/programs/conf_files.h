/*
 * conf_files.h - a folder for configuration files, and what the library says on standard error, for the conf_* programs.
 */
#ifndef CONF_FILES_H
#define CONF_FILES_H

#include "check.h"

#include <fcntl.h>

/* The folder, and one path in it at a time. */
static char conf_folder[256];
static char conf_path_buffer[512];

CHECK_UNUSED static char *conf_path(const char *name)
{
    snprintf(conf_path_buffer, sizeof conf_path_buffer, "%s/%s", conf_folder, name);
    return conf_path_buffer;
}

CHECK_UNUSED static void conf_folder_make(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(conf_folder, sizeof conf_folder, "%s/conf.XXXXXX", tmp != NULL ? tmp : "/tmp");
    CHECK(mkdtemp(conf_folder) != NULL);
}

CHECK_UNUSED static void conf_write(const char *name, const char *content)
{
    FILE *file = fopen(conf_path(name), "w");
    CHECK(file != NULL);
    CHECK_INT(fputs(content, file) >= 0, 1);
    CHECK_INT(fclose(file), 0);
}

CHECK_UNUSED static void conf_remove(const char *name)
{
    CHECK_INT(unlink(conf_path(name)), 0);
}

CHECK_UNUSED static void conf_folder_remove(void)
{
    CHECK_INT(rmdir(conf_folder), 0);
}

/* Between capture_begin(fd) and capture_end() what is written to descriptor fd goes into captured. */
static char captured[8192];
static int capture_fd, capture_saved;

CHECK_UNUSED static void capture_begin(int fd)
{
    fflush(stdout);
    int file = open(conf_path("captured"), O_CREAT | O_TRUNC | O_RDWR, 0600);
    CHECK(file >= 0);
    capture_fd = fd;
    capture_saved = dup(fd);
    CHECK(capture_saved >= 0);
    CHECK_INT(dup2(file, fd), fd);
    close(file);
}

CHECK_UNUSED static void capture_end(void)
{
    fflush(stdout);
    ssize_t n = pread(capture_fd, captured, sizeof captured - 1, 0);
    CHECK_INT(dup2(capture_saved, capture_fd), capture_fd);
    close(capture_saved);
    CHECK(n >= 0);
    captured[n] = '\0';
    conf_remove("captured");
}

/* How often text occurs in what was captured. */
CHECK_UNUSED static int captured_count(const char *text)
{
    int count = 0;
    for (const char *at = captured; (at = strstr(at, text)) != NULL; at += strlen(text))
        count++;
    return count;
}

#endif
