/*
 * driver.h - what drivers have in common: standard input has a request after the other, standard output the answers, each a 32-bit
 * length and so many bytes. An answer is whatever was printed, by the driver or by the library, since the request.
 */
#ifndef DRIVER_H
#define DRIVER_H

#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>

static char *request, *at; /* terminated; how far it has been read */
static uint32_t size;
static int printed; /* what is written to standard output and error lands here */
static FILE *answers;

static int read_exactly(void *bytes, size_t n)
{
    return fread(bytes, 1, n, stdin) == n;
}

static int next_request(void)
{
    free(request);
    request = at = NULL;
    if (!read_exactly(&size, sizeof size))
        return 0;
    CHECK((request = at = malloc((size_t)size + 1)) != NULL);
    request[size] = '\0';
    return read_exactly(request, size);
}

CHECK_UNUSED static const void *take(size_t n)
{
    const char *taken = at;

    CHECK((size_t)(request + size - at) >= n);
    at += n;
    return taken;
}

CHECK_UNUSED static void write_file(const char *path, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "w");

    CHECK(file != NULL);
    CHECK_INT(fwrite(bytes, 1, n, file), n);
    CHECK_INT(fclose(file), 0);
}

static void forget_printed(void)
{
    CHECK_INT(fflush(stdout), 0);
    CHECK_INT(ftruncate(printed, 0), 0);
    CHECK_INT(lseek(printed, 0, SEEK_SET), 0);
}

static void answer(void)
{
    CHECK_INT(fflush(stdout), 0);
    off_t length = lseek(printed, 0, SEEK_END);
    uint32_t n = (uint32_t)length;
    char *text = malloc((size_t)length + 1);

    CHECK(length >= 0 && text != NULL);
    CHECK_INT(pread(printed, text, (size_t)length, 0), length);
    forget_printed();
    CHECK_INT(fwrite(&n, sizeof n, 1, answers), 1);
    CHECK_INT(fwrite(text, 1, n, answers), n);
    CHECK_INT(fflush(answers), 0);
    free(text);
}

/* Has `act` look at one request after the other until there are no more. */
static void serve(void (*act)(void))
{
    CHECK((printed = memfd_create("printed", MFD_CLOEXEC)) >= 0);
    CHECK((answers = fdopen(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), "w")) != NULL);
    CHECK(dup2(printed, STDOUT_FILENO) == STDOUT_FILENO);
    CHECK(dup2(printed, STDERR_FILENO) == STDERR_FILENO);
    while (next_request()) {
        act();
        answer();
    }
}

#endif
