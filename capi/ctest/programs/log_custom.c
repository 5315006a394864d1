/*
 * A program may print messages by a function of its own, be silent, and go back.
 */
#include "check.h"

#include "mln_log.h"
#include "scratch.h"

static char seen[256];
static int calls;

static void my_logger(mln_log_t *log, mln_log_level_t level, const char *file, const char *func, int line, char *fmt,
                      va_list args)
{
    char text[128];

    CHECK(log == &g_log);
    vsnprintf(text, sizeof text, fmt, args);
    snprintf(seen, sizeof seen, "%d %s %s %d %s", (int)level, strrchr(file, '/') ? strrchr(file, '/') + 1 : file, func,
             line > 0, text);
    calls++;
}

static mln_logger_t library_logger;

/* Passes on what is important enough, with the library's own layout. */
static void filtering_logger(mln_log_t *log, mln_log_level_t level, const char *file, const char *func, int line,
                             char *fmt, va_list args)
{
    calls++;
    if (level >= warn)
        library_logger(log, level, file, func, line, fmt, args);
}

static void logging_logger(mln_log_t *log, mln_log_level_t level, const char *file, const char *func, int line, char *fmt,
                           va_list args)
{
    (void)log;
    (void)level;
    (void)file;
    (void)func;
    (void)line;
    (void)fmt;
    (void)args;
    calls++;
    mln_log(none, "from inside\n");
    CHECK_INT(mln_log_writen((void *)"raw\n", 4), 4);
}

int main(void)
{
    char *out;
    scratch_make();
    out = strdup(scratch_path("stderr"));
    scratch_catch_stderr(out);

    library_logger = mln_log_logger_get();
    CHECK(library_logger != NULL);

    mln_log_logger_set(my_logger);
    CHECK(mln_log_logger_get() == my_logger);
    mln_log(warn, "%d and %s", 5, "text");
    CHECK_STR(seen, "3 log_custom.c main 1 5 and text");
    scratch_expect(out, "");

    mln_log_logger_set(NULL);
    CHECK(mln_log_logger_get() == NULL);
    mln_log(error, "nobody hears this\n");
    scratch_expect(out, "");
    CHECK_INT(calls, 1);

    mln_log_logger_set(filtering_logger);
    mln_log(debug, "dropped\n");
    mln_log(error, "passed %d%%\n", 3);
    CHECK_INT(calls, 3);
    scratch_expect_part(out, "PID:");
    scratch_expect_part(out, " passed 3%\n");
    CHECK(truncate(out, 0) == 0);

    /* A logger that logs neither hangs nor calls itself. */
    mln_log_logger_set(logging_logger);
    mln_log(none, "x\n");
    CHECK_INT(calls, 4);
    scratch_expect(out, "from inside\nraw\n");
    CHECK(truncate(out, 0) == 0);

    /* Levels are the custom logger's own affair. */
    char conf[1024];
    snprintf(conf, sizeof conf, "log_level \"error\";\nlog_path \"%s\";\n", scratch_path("app.log"));
    CHECK_INT(scratch_conf(conf), 0);
    CHECK_INT(mln_log_init(NULL), 0);
    mln_log_logger_set(my_logger);
    mln_log(debug, "low");
    CHECK_INT(calls, 5);
    CHECK_INT(g_log.level, error);

    mln_log_logger_set(library_logger);
    mln_log(debug, "dropped\n");
    mln_log(error, "back\n");
    CHECK_INT(calls, 5);
    scratch_expect_part(scratch_path("app.log"), " back\n");

    mln_log_destroy();
    mln_conf_free();
    free(out);
    return 0;
}
