"""The messages of the health service."""

from pygrpc.health.protos.grpc.health.v1.health_pb2 import (
    DESCRIPTOR,
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

__all__ = ["DESCRIPTOR", "HealthCheckRequest", "HealthCheckResponse", "HealthListRequest", "HealthListResponse"]
