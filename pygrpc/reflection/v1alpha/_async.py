"""The reflection service for servers of the asyncio API."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool

from pygrpc.reflection._answers import Answers
from pygrpc.reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pygrpc.reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse


class ReflectionServicer(reflection_pb2_grpc.ServerReflectionServicer):
    """Tells clients of the services of a server, and of the messages that these exchange."""

    def __init__(self, service_names: Iterable[str], pool: DescriptorPool | None = None) -> None:
        """Answers for a server.

        Args:
            service_names: Full names of the services to tell of.
            pool: Where descriptions are found; None for protobuf's own.
        """
        self._answers = Answers(reflection_pb2, service_names, pool)

    async def ServerReflectionInfo(
        self, request_iterator: AsyncIterator[ServerReflectionRequest], context: Any
    ) -> AsyncIterator[ServerReflectionResponse]:
        """Answers each request, in order."""
        async for request in request_iterator:
            yield self._answers.answer(request)
