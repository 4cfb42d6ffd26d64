"""The stub and the servicer of the reflection service, version v1alpha."""

from pygrpc.reflection.protos.grpc.reflection.v1alpha.reflection_pb2_grpc import (
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
