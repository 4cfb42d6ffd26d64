"""The stub and the servicer of the health service."""

from pygrpc.health.protos.grpc.health.v1.health_pb2_grpc import (
    Health,
    HealthServicer,
    HealthStub,
    add_HealthServicer_to_server,
)

__all__ = ["Health", "HealthServicer", "HealthStub", "add_HealthServicer_to_server"]
