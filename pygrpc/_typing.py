"""What stands for ``grpc._typing``: names of types that programs import for their annotations."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pygrpc.metadata import MetadataType as MetadataType
from pygrpc.options import ChannelArguments as ChannelArgumentType

__all__ = [
    "ArityAgnosticMethodHandler",
    "ChannelArgumentType",
    "DeserializingFunction",
    "DoneCallbackType",
    "MetadataType",
    "NullaryCallbackType",
    "RequestIterableType",
    "RequestType",
    "ResponseIterableType",
    "ResponseType",
    "SerializingFunction",
]

RequestType = TypeVar("RequestType")
ResponseType = TypeVar("ResponseType")
SerializingFunction = Callable[[Any], bytes]
DeserializingFunction = Callable[[bytes], Any]
DoneCallbackType = Callable[[Any], None]
NullaryCallbackType = Callable[[], None]
RequestIterableType = Iterable[Any]
ResponseIterableType = Iterable[Any]
ArityAgnosticMethodHandler = Callable[..., Any]
