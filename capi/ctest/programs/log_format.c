/*
 * A message comes out as its format says: every specifier, every level, any length.
 */
#include "check.h"

#include <float.h>
#include <limits.h>
#include <regex.h>
#include <time.h>

#include "mln_log.h"
#include "scratch.h"

/* Standard error goes into this file: the log is not open in this program. */
static char *out;

static void expect(const char *text)
{
    scratch_expect(out, text);
    CHECK(truncate(out, 0) == 0);
}

static void specifiers_print_their_types(void)
{
    mln_string_t string = mln_string("a string, not all of it");
    string.len = 8;

    mln_log(none, "plain");
    expect("plain");
    mln_log(none, "");
    expect("");
    mln_log(none, "[%s] [%S]", "text", &string);
    expect("[text] [a string]");
    mln_log(none, "%d %d %u", INT_MIN, INT_MAX, UINT_MAX);
    expect("-2147483648 2147483647 4294967295");
    mln_log(none, "%l %l %U", LONG_MIN, LONG_MAX, ULONG_MAX);
    expect("-9223372036854775808 9223372036854775807 18446744073709551615");
    mln_log(none, "%i %I", (mln_s64_t)-1, (mln_u64_t)1 << 63);
    expect("-1 9223372036854775808");
    mln_log(none, "%x %X %x", 0xbeef, 0xfeedbeefL, 0);
    expect("beef feedbeef 0");
    mln_log(none, "%c%c%c", 'x', 'y', 'z');
    expect("xyz");
    mln_log(none, "%f %f", -2.5, 1e15);
    expect("-2.500000 1000000000000000.000000");
    mln_log(none, "%d%s%d", 1, "", 2);
    expect("12");
    mln_log(none, "%ld", 7L);
    expect("7d");
}

static void percent_sign_and_missing_strings(void)
{
    mln_string_t empty = {NULL, 0, 1, 0, 1};

    mln_log(none, "100%% of %d%%\n", 5);
    expect("100% of 5%\n");
    mln_log(none, "%s and %S and [%S]", (char *)NULL, (mln_string_t *)NULL, &empty);
    expect("(null) and (null) and []");
}

static void unknown_specifier_ends_the_message(void)
{
    mln_log(none, "a %d b %q c %d\n", 1, 2);
    expect("a 1 b Log message format error.\n");
    mln_log(none, "%5d\n", 1);
    expect("Log message format error.\n");
    mln_log(none, "ends in %");
    expect("ends in Log message format error.\n");
}

static void messages_of_any_length_arrive(void)
{
    static const size_t lengths[] = {1022, 1023, 1024, 1025, 4095, 4096, 4097, 300000};
    char *text = (char *)malloc(300001), *line;

    CHECK(text != NULL);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        memset(text, 'a' + (int)i, lengths[i]);
        text[lengths[i]] = '\0';
        mln_log(none, "%s|%d", text, (int)i);
        line = scratch_read(out);
        CHECK_INT(strlen(line), lengths[i] + 2);
        CHECK(memcmp(line, text, lengths[i]) == 0);
        CHECK(line[lengths[i]] == '|' && line[lengths[i] + 1] == '0' + (int)i);
        free(line);
        CHECK(truncate(out, 0) == 0);
    }
    free(text);

    mln_log(none, "%f", DBL_MAX);
    line = scratch_read(out);
    CHECK_INT(strlen(line), 309 + 7);
    free(line);
    CHECK(truncate(out, 0) == 0);
}

static void expect_match(const char *pattern)
{
    regex_t regex;
    char *line = scratch_read(out);

    CHECK(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) == 0);
    if (regexec(&regex, line, 0, NULL, 0) != 0)
        printf("\"%s\" does not match \"%s\"\n", line, pattern);
    CHECK(regexec(&regex, line, 0, NULL, 0) == 0);
    regfree(&regex);
    free(line);
    CHECK(truncate(out, 0) == 0);
}

#define TIME "^[0-9]{2}/[0-9]{2}/[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} UTC "

static void levels_have_their_prefixes(void)
{
    char pattern[512];

    mln_log(report, "msg %d\n", 1);
    snprintf(pattern, sizeof pattern, TIME "REPORT: PID:%d msg 1\n$", (int)getpid());
    expect_match(pattern);

    static const mln_log_level_t levels[] = {debug, warn, error};
    static const char *const words[] = {"DEBUG", "WARN", "ERROR"};
    for (int i = 0; i < 3; i++) {
        int line = __LINE__ + 1;
        mln_log(levels[i], "msg\n");
        snprintf(pattern, sizeof pattern, TIME "%s: [^ ]*log_format\\.c:%s:%d: PID:%d msg\n$", words[i], __func__, line,
                 (int)getpid());
        expect_match(pattern);
    }

    _mln_sys_log(error, "file.c", "function", 12, (char *)"x");
    expect_match("ERROR: file\\.c:function:12: PID:[0-9]+ x$");
}

static void time_is_utc(void)
{
    time_t before, after;
    char *line, first[32], last[32];

    setenv("TZ", "Asia/Tokyo", 1);
    tzset();
    before = time(NULL);
    mln_log(report, "x");
    after = time(NULL);
    line = scratch_read(out);
    strftime(first, sizeof first, "%m/%d/%Y %H:%M:%S UTC", gmtime(&before));
    strftime(last, sizeof last, "%m/%d/%Y %H:%M:%S UTC", gmtime(&after));
    line[strlen(first)] = '\0';
    CHECK(strcmp(first, line) <= 0 && strcmp(line, last) <= 0);
    free(line);
    CHECK(truncate(out, 0) == 0);
}

static void errno_is_left_alone(void)
{
    errno = EXDEV;
    mln_log(error, "%s\n", "x");
    CHECK_INT(errno, EXDEV);
    CHECK(truncate(out, 0) == 0);
}

int main(void)
{
    scratch_make();
    out = strdup(scratch_path("stderr"));
    scratch_catch_stderr(out);
    specifiers_print_their_types();
    percent_sign_and_missing_strings();
    unknown_specifier_ends_the_message();
    messages_of_any_length_arrive();
    levels_have_their_prefixes();
    time_is_utc();
    errno_is_left_alone();
    free(out);
    return 0;
}
