"""What stands for ``grpc._compression``."""

from pygrpc.compression import Compression

__all__ = ["Deflate", "Gzip", "NoCompression", "create_channel_option"]

NoCompression = Compression.NoCompression
Deflate = Compression.Deflate
Gzip = Compression.Gzip


def create_channel_option(compression: Compression | None) -> tuple[tuple[str, int], ...]:
    """The options of a channel that compresses all its requests; none for no compression.

    Args:
        compression: The algorithm, or None.
    """
    return (("grpc.default_compression_algorithm", int(compression)),) if compression else ()
