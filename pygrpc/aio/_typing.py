"""Names of types that programs import from ``grpc.aio._typing`` for their annotations."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

from pygrpc.aio.base_call import _EOF as EOFType
from pygrpc.aio.base_call import RequestType, ResponseType
from pygrpc.metadata import MetadataKey, MetadataType, MetadataValue
from pygrpc.metadata import Metadatum as MetadatumType
from pygrpc.options import ChannelArguments as ChannelArgumentType

__all__ = [
    "ChannelArgumentType",
    "DeserializingFunction",
    "DoneCallbackType",
    "EOFType",
    "MetadataKey",
    "MetadataType",
    "MetadataValue",
    "MetadatumType",
    "RequestIterableType",
    "RequestType",
    "ResponseIterableType",
    "ResponseType",
    "SerializingFunction",
]

SerializingFunction = Callable[[Any], bytes]
DeserializingFunction = Callable[[bytes], Any]
DoneCallbackType = Callable[[Any], None]
RequestIterableType = Iterable[Any] | AsyncIterable[Any]
ResponseIterableType = AsyncIterable[Any]
