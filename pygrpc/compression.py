"""The message compression algorithms of gRPC (doc/compression.md in the grpc repository)."""

import enum


class Compression(enum.IntEnum):
    """A compression algorithm for a channel, a server, a call or a message."""

    NoCompression = 0
    Deflate = 1
    Gzip = 2
