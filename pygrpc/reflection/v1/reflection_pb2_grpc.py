"""The stub and the servicer of the reflection service, version v1."""

from pygrpc.reflection.protos.grpc.reflection.v1.reflection_pb2_grpc import (
    ServerReflection,
    ServerReflectionServicer,
    ServerReflectionStub,
    add_ServerReflectionServicer_to_server,
)

__all__ = [
    "ServerReflection",
    "ServerReflectionServicer",
    "ServerReflectionStub",
    "add_ServerReflectionServicer_to_server",
]
