"""A worker in Python that knows the frame format and nothing else of the library; frame_peer.c is the same in C.

A frame is, in the byte order of the machine, a length of 4 bytes, which counts what follows it, a type of 4 bytes, and the
content. The number of the descriptor is the last argument.
"""

import fcntl
import os
import struct
import sys
import termios

DONE, ECHO = 3000, 3001
SIZES = (0, 1, 4, 5, 17, 300)
LARGE = 1 << 20

channel = int(sys.argv[-1])
received = bytearray()
frames_received = 0


def frame(kind, content):
    return struct.pack("=II", 4 + len(content), kind) + content


def write(data):
    while data:
        data = data[os.write(channel, data):]


def wait_until_read():
    """Until the master has taken everything: what is written next comes to it by another read."""
    while struct.unpack("=i", fcntl.ioctl(channel, termios.TIOCOUTQ, bytes(4)))[0] > 0:
        pass


def read_frame(piece):
    """The next frame of a type of this program's, read in pieces of that size."""
    global received, frames_received
    while True:
        if len(received) >= 4:
            length = struct.unpack_from("=I", received)[0]
            if len(received) >= 4 + length:
                kind = struct.unpack_from("=I", received, 4)[0]
                content = bytes(received[8:4 + length])
                del received[:4 + length]
                if kind >= ECHO:
                    frames_received += 1
                    return kind, content
                continue
        data = os.read(channel, piece)
        if not data:
            sys.exit("frame_peer.py: the master is gone")
        received += data


def expect(frames, piece):
    for wanted in frames:
        got = read_frame(piece)
        if got != wanted:
            sys.exit(f"frame_peer.py: got type {got[0]} with {len(got[1])} bytes, "
                     f"and type {wanted[0]} with {len(wanted[1])} bytes is expected")


frames = [(ECHO + i, bytes((7 * i + k) % 256 for k in range(size))) for i, size in enumerate(SIZES)]
stream = b"".join(frame(*f) for f in frames)

for cut in range(1, len(stream)):
    write(stream[:cut])
    wait_until_read()
    write(stream[cut:])
    expect(frames, 1 + cut % 13)
for byte in stream:
    write(bytes([byte]))
    wait_until_read()
expect(frames, 1)
write(stream * 100)
expect(frames * 100, 65536)
large = [(ECHO, bytes(range(256)) * (LARGE // 256))]
write(frame(*large[0]))
expect(large, 65536)

write(frame(DONE, struct.pack("=I", frames_received)))
while os.read(channel, 65536):
    pass
