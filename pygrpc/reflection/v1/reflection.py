"""The reflection service for servers of the sync API, and in ``aio`` the one for servers of the asyncio API."""

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool

from pygrpc.reflection._answers import Answers
from pygrpc.reflection._registration import is_asynchronous
from pygrpc.reflection.v1 import _async as aio
from pygrpc.reflection.v1 import reflection_pb2, reflection_pb2_grpc
from pygrpc.reflection.v1.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

__all__ = ["SERVICE_NAME", "ReflectionServicer", "aio", "enable_server_reflection"]

SERVICE_NAME: str = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name
"""The name of the reflection service itself."""


class ReflectionServicer(reflection_pb2_grpc.ServerReflectionServicer):
    """Tells clients of the services of a server, and of the messages that these exchange."""

    def __init__(self, service_names: Iterable[str], pool: DescriptorPool | None = None) -> None:
        """Answers for a server.

        Args:
            service_names: Full names of the services to tell of.
            pool: Where descriptions are found; None for protobuf's own.
        """
        self._answers = Answers(reflection_pb2, service_names, pool)

    def ServerReflectionInfo(
        self, request_iterator: Iterator[ServerReflectionRequest], context: Any
    ) -> Iterator[ServerReflectionResponse]:
        """Answers each request, in order."""
        return map(self._answers.answer, request_iterator)


def enable_server_reflection(service_names: Iterable[str], server: Any, pool: DescriptorPool | None = None) -> None:
    """Lets clients ask a server what it offers, in version v1 of the protocol alone.

    Args:
        service_names: Full names of the services to tell of; SERVICE_NAME may be one of them.
        server: A server of either API, which has not been started.
        pool: Where descriptions are found; None for protobuf's own, which has all generated modules that were imported.
    """
    servicer = (aio.ReflectionServicer if is_asynchronous(server) else ReflectionServicer)(service_names, pool)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
