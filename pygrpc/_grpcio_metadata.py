"""What stands for ``grpc._grpcio_metadata``."""

from pygrpc._version import GRPC_API_VERSION as __version__

__all__ = ["__version__"]
