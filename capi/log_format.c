/*
 * From a message and its arguments to a line.
 */
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mln_tools.h"

/* A double printed by %f needs 309 digits before and 6 after the point at most. */
#define NUMBER_SIZE 352

void log_text_init(struct log_text *text)
{
    text->data = text->fixed;
    text->length = 0;
    text->capacity = sizeof text->fixed;
}

void log_text_release(struct log_text *text)
{
    if (text->data != text->fixed)
        free(text->data);
}

/* Without memory the text is cut: a shortened message is worth more than none. */
void log_text_append(struct log_text *text, const void *bytes, size_t n)
{
    size_t room = text->capacity - text->length;

    if (n > room && n < SIZE_MAX / 4) {
        size_t capacity = (text->length + n) * 2;
        bool on_stack = text->data == text->fixed;
        char *data = realloc(on_stack ? NULL : text->data, capacity);
        if (data != NULL) {
            if (on_stack)
                memcpy(data, text->fixed, text->length);
            text->data = data;
            text->capacity = capacity;
            room = capacity - text->length;
        }
    }
    if (n > room)
        n = room;
    if (n > 0)
        memcpy(text->data + text->length, bytes, n);
    text->length += n;
}

static void append_string(struct log_text *text, const char *string)
{
    if (string == NULL)
        string = "(null)";
    log_text_append(text, string, strlen(string));
}

static void append_mln_string(struct log_text *text, const mln_string_t *string)
{
    if (string == NULL || (string->data == NULL && string->len > 0))
        append_string(text, NULL);
    else
        log_text_append(text, string->data, string->len);
}

__attribute__((format(printf, 2, 3))) static void append_number(struct log_text *text, const char *format, ...)
{
    char number[NUMBER_SIZE];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(number, sizeof number, format, args);
    va_end(args);
    if (n > 0)
        log_text_append(text, number, (size_t)n < sizeof number ? (size_t)n : sizeof number - 1);
}

static void append_message(struct log_text *text, const char *fmt, va_list args)
{
    char byte;

    for (;;) {
        size_t literal = strcspn(fmt, "%");
        log_text_append(text, fmt, literal);
        fmt += literal;
        if (*fmt == '\0')
            return;
        switch (*++fmt) {
            case 's':
                append_string(text, va_arg(args, const char *));
                break;
            case 'S':
                append_mln_string(text, va_arg(args, const mln_string_t *));
                break;
            case 'd':
                append_number(text, "%d", va_arg(args, int));
                break;
            case 'u':
                append_number(text, "%u", va_arg(args, unsigned));
                break;
            case 'l':
                append_number(text, "%ld", va_arg(args, long));
                break;
            case 'U':
                append_number(text, "%lu", va_arg(args, unsigned long));
                break;
            case 'i':
                append_number(text, "%lld", (long long)va_arg(args, mln_s64_t));
                break;
            case 'I':
                append_number(text, "%llu", (unsigned long long)va_arg(args, mln_u64_t));
                break;
            case 'x':
                append_number(text, "%x", va_arg(args, unsigned));
                break;
            case 'X': /* The capital tells a long from an int; the digits stay small, as they always were. */
                append_number(text, "%lx", va_arg(args, unsigned long));
                break;
            case 'f':
                append_number(text, "%f", va_arg(args, double));
                break;
            case 'c':
                byte = (char)va_arg(args, int);
                log_text_append(text, &byte, 1);
                break;
            case '%':
                log_text_append(text, "%", 1);
                break;
            default: /* Of which type the next argument is, nobody knows any more. */
                append_string(text, "Log message format error.\n");
                return;
        }
        fmt++;
    }
}

static void append_prefix(struct log_record *record, const char *file, const char *func, int line)
{
    static const char *const words[] = {[report] = "REPORT", [debug] = "DEBUG", [warn] = "WARN", [error] = "ERROR"};
    struct log_text *text = &record->text;
    struct utctime now;

    /* Not gmtime_r: it takes a lock of the C library that another thread may have held when this process was forked. */
    mln_time2utc(time(NULL), &now);
    append_number(text, "%02ld/%02ld/%ld %02ld:%02ld:%02ld UTC ", now.month, now.day, now.year, now.hour, now.minute,
                  now.second);
    record->word_start = text->length;
    append_string(text, words[record->level]);
    record->word_length = text->length - record->word_start;
    append_string(text, ": ");
    if (record->level != report) {
        append_string(text, file);
        append_string(text, ":");
        append_string(text, func);
        append_number(text, ":%d: ", line);
    }
    append_number(text, "PID:%ld ", (long)getpid());
}

void log_format(struct log_record *record, mln_log_level_t level, const char *file, const char *func, int line,
                const char *fmt, va_list args)
{
    log_text_init(&record->text);
    /* Levels beyond the named ones exist only by a mistake of the program; its message is not to get lost. */
    record->level = level > error ? error : level;
    record->word_start = 0;
    record->word_length = 0;
    if (record->level != none)
        append_prefix(record, file, func, line);
    append_message(&record->text, fmt == NULL ? "(null)" : fmt, args);
}

/*
 * How many bytes of `bytes` can be printed as they are: a character of ASCII or of UTF-8 that is no control character. 0 for the
 * control characters above ASCII too, by which a terminal can be led as by an escape sequence, and for what is no UTF-8.
 */
static size_t printable(const unsigned char *bytes, size_t n)
{
    static const unsigned least[] = {[2] = 0xa0, [3] = 0x800, [4] = 0x10000}; /* U+0080 to U+009F are control characters */
    unsigned char first = bytes[0];

    if (first < 0x80)
        return first >= ' ' && first != 0x7f;
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc0 || first > 0xf4 || n < length)
        return 0;
    unsigned character = first & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (bytes[i] & 0x3f);
    }
    bool surrogate = character >= 0xd800 && character <= 0xdfff;
    return character >= least[length] && character <= 0x10ffff && !surrogate ? length : 0;
}

void log_text_append_escaped(struct log_text *text, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t length = printable((const unsigned char *)bytes + i, n - i);
        if (length > 0) {
            log_text_append(text, bytes + i, length);
            i += length;
        } else {
            append_number(text, "\\x%02x", (unsigned char)bytes[i++]);
        }
    }
}

void log_print_escaped(FILE *stream, const char *bytes, size_t n)
{
    struct log_text text;

    log_text_init(&text);
    log_text_append_escaped(&text, bytes, n);
    fwrite(text.data, 1, text.length, stream);
    log_text_release(&text);
}

void log_line_at(mln_log_level_t level, const char *file, const char *func, int line, const char *fmt, ...)
{
    int saved_errno = errno;
    char buffer[1024];
    char *raw = buffer;
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(buffer, sizeof buffer, fmt, args);
    va_end(args);
    if (n < 0) {
        n = 0;
    } else if ((size_t)n >= sizeof buffer) {
        raw = malloc((size_t)n + 1);
        if (raw == NULL) {
            raw = buffer;
            n = sizeof buffer - 1;
        } else {
            errno = saved_errno; /* %m prints it */
            va_start(args, fmt);
            vsnprintf(raw, (size_t)n + 1, fmt, args);
            va_end(args);
        }
    }

    struct log_text text;
    log_text_init(&text);
    log_text_append_escaped(&text, raw, (size_t)n);
    /* The text may have been cut without room for its end. */
    if (text.length == text.capacity)
        text.length--;
    text.data[text.length] = '\0';
    mln_sys_log(level, file, func, line, "%s\n", text.data);

    log_text_release(&text);
    if (raw != buffer)
        free(raw);
    errno = saved_errno;
}
