"""What stands for ``grpc._cython``, for packages that use it (grpcio-channelz, grpcio-csds, grpcio-admin)."""
