/*
 * Writes what the file `bytes` says, to the descriptor that the last argument names: first comes how the stream ends, by the end of this
 * process (0), or for the writer alone (1); then pieces, each with its size, in 32 bits, and in a byte whether it is waited for until the
 * other end has read it. It needs nothing of the library.
 */
#include "ipc.h"

#include <signal.h>
#include <sys/socket.h>

static int next(FILE *file, void *bytes, size_t n)
{
    return fread(bytes, 1, n, file) == n;
}

int main(int argc, char **argv)
{
    int fd = atoi(argv[argc - 1]);
    FILE *file = fopen("bytes", "r");
    unsigned char lives, waits;
    uint32_t size;

    CHECK(file != NULL && next(file, &lives, 1));
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    while (next(file, &size, sizeof size) && next(file, &waits, 1)) {
        char *piece = malloc((size_t)size + 1);

        CHECK(piece != NULL && next(file, piece, size));
        for (uint32_t at = 0; at < size;) {
            ssize_t n = write(fd, piece + at, size - at);

            if (n < 0) /* it has been closed for what was written before */
                return 0;
            at += (uint32_t)n;
        }
        free(piece);
        if (waits)
            await_read(fd);
    }
    if (lives) {
        CHECK_INT(shutdown(fd, SHUT_WR), 0);
        await_end(fd);
    }
    return 0;
}
