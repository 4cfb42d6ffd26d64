"""Versions: of this distribution, and of the gRPC API that it stands in for."""

#: The version of this distribution.
PYGRPC_VERSION = "0.1.0"

#: What ``pygrpc.__version__`` says. Generated ``_pb2_grpc.py`` files compare it with the version of the grpcio-tools
#: that made them and refuse to work with a lower one, so it is above any that exists.
GRPC_API_VERSION = "1.99.0"
