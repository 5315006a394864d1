/*
 * frame_peer.c - a worker in C that knows the frame format and nothing else of the library; frame_peer.py is the same in Python.
 *
 * A frame is, in the byte order of the machine, a length of 4 bytes, which counts what follows it, a type of 4 bytes, and the
 * content. The number of the descriptor is the last argument.
 */
#include <linux/sockios.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { DONE = 3000, ECHO, FRAMES = 6, LARGE = 1 << 20, HEADER = 8 };

static const uint32_t sizes[FRAMES] = {0, 1, 4, 5, 17, 300};

static int channel;
static uint32_t received;

static void fail(const char *what)
{
    fprintf(stderr, "frame_peer: %s\n", what);
    exit(1);
}

static void write_all(const void *bytes, size_t size)
{
    const char *at = bytes;

    while (size > 0) {
        ssize_t n = write(channel, at, size);

        if (n <= 0)
            fail("the master is gone");
        at += n;
        size -= (size_t)n;
    }
}

static void read_all(void *bytes, size_t size, size_t piece)
{
    char *at = bytes;

    while (size > 0) {
        ssize_t n = read(channel, at, size < piece ? size : piece);

        if (n <= 0)
            fail("the master is gone");
        at += n;
        size -= (size_t)n;
    }
}

/* Until the master has taken everything: what is written next comes to it by another read. */
static void wait_until_read(void)
{
    int unread;

    do {
        if (ioctl(channel, SIOCOUTQ, &unread) != 0)
            fail("ioctl");
    } while (unread > 0);
}

static char *put_frame(char *at, uint32_t type, const char *content, uint32_t size)
{
    uint32_t header[2] = {4 + size, type};

    memcpy(at, header, sizeof header);
    memcpy(at + sizeof header, content, size);
    return at + sizeof header + size;
}

/* Reads, in pieces of that size, the frames of `stream`, and leaves out those of other types than this program's. */
static void expect(const char *stream, size_t size, size_t piece)
{
    static char content[LARGE];

    while (size > 0) {
        uint32_t header[2], length;

        read_all(header, sizeof header, piece);
        length = header[0] - 4;
        if (length > sizeof content)
            fail("a frame is too long");
        read_all(content, length, piece);
        if (header[1] < ECHO)
            continue;
        if (memcmp(header, stream, HEADER) != 0 || memcmp(content, stream + HEADER, length) != 0)
            fail("another frame is expected");
        ++received;
        stream += HEADER + length;
        size -= HEADER + length;
    }
}

int main(int argc, char *argv[])
{
    static char contents[LARGE], stream[FRAMES * (HEADER + 300)], large[HEADER + LARGE];
    char *end = stream;
    size_t size;

    channel = atoi(argv[argc - 1]);
    for (uint32_t i = 0; i < FRAMES; ++i) {
        for (uint32_t k = 0; k < sizes[i]; ++k)
            contents[k] = (char)(7 * i + k);
        end = put_frame(end, ECHO + i, contents, sizes[i]);
    }
    size = (size_t)(end - stream);

    for (size_t cut = 1; cut < size; ++cut) {
        write_all(stream, cut);
        wait_until_read();
        write_all(stream + cut, size - cut);
        expect(stream, size, 1 + cut % 13);
    }
    for (size_t i = 0; i < size; ++i) {
        write_all(stream + i, 1);
        wait_until_read();
    }
    expect(stream, size, 1);
    for (int i = 0; i < 100; ++i)
        write_all(stream, size);
    for (int i = 0; i < 100; ++i)
        expect(stream, size, 65536);
    for (size_t i = 0; i < LARGE; ++i)
        contents[i] = (char)i;
    put_frame(large, ECHO, contents, LARGE);
    write_all(large, sizeof large);
    expect(large, sizeof large, 65536);

    put_frame(large, DONE, (const char *)&received, sizeof received);
    write_all(large, HEADER + sizeof received);
    while (read(channel, large, sizeof large) > 0)
        ;
    return 0;
}
