"""A client of the reflection service, version v1."""

from typing import Any

from pygrpc.reflection._database import ReflectionDatabase
from pygrpc.reflection.v1 import reflection_pb2
from pygrpc.reflection.v1.reflection_pb2_grpc import ServerReflectionStub


class ProtoReflectionDescriptorDatabase(ReflectionDatabase):
    """Descriptions of a server's services and messages, which are asked for when they are needed, and kept."""

    def __init__(self, channel: Any) -> None:
        """Asks nothing yet.

        Args:
            channel: A channel of the sync API to the server.
        """
        super().__init__(reflection_pb2, ServerReflectionStub(channel).ServerReflectionInfo)
