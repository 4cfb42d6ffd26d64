"""What stands for ``grpc._cython``, for packages that use it (grpcio-channelz, grpcio-csds, grpcio-admin)."""

from pygrpc._cython import cygrpc as cygrpc
