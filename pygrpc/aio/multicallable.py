"""The callables that a channel makes for methods: each call of one starts an RPC."""

from collections.abc import Callable
from typing import Any

from pygrpc.aio import base_call as base
from pygrpc.aio.call import CallParameters, StreamStreamCall, StreamUnaryCall, UnaryStreamCall, UnaryUnaryCall
from pygrpc.compression import Compression
from pygrpc.metadata import MetadataType


class _MultiCallable:
    def __init__(
        self,
        channel: Any,
        method: str,
        request_serializer: Callable[[Any], bytes] | None,
        response_deserializer: Callable[[bytes], Any] | None,
    ) -> None:
        name = method.decode() if isinstance(method, bytes) else method
        self._parameters = CallParameters(channel, name, request_serializer, response_deserializer)


class UnaryUnaryMultiCallable(_MultiCallable, base.UnaryUnaryMultiCallable[Any, Any]):
    """Starts calls with one request and one response."""

    def __call__(  # noqa: D102 - the contract is in the base class
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> UnaryUnaryCall:
        call = UnaryUnaryCall(self._parameters, timeout, metadata, credentials, compression)
        call._send(request, wait_for_ready)
        return call


class UnaryStreamMultiCallable(_MultiCallable, base.UnaryStreamMultiCallable[Any, Any]):
    """Starts calls with one request and a stream of responses."""

    def __call__(  # noqa: D102
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> UnaryStreamCall:
        call = UnaryStreamCall(self._parameters, timeout, metadata, credentials, compression)
        call._send(request, wait_for_ready)
        return call


class StreamUnaryMultiCallable(_MultiCallable, base.StreamUnaryMultiCallable[Any, Any]):
    """Starts calls with a stream of requests and one response."""

    def __call__(  # noqa: D102
        self,
        request_iterator: base.RequestIterable | None = None,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> StreamUnaryCall:
        call = StreamUnaryCall(self._parameters, timeout, metadata, credentials, compression)
        call._send_all(request_iterator, wait_for_ready)
        return call


class StreamStreamMultiCallable(_MultiCallable, base.StreamStreamMultiCallable[Any, Any]):
    """Starts calls with streams of requests and responses."""

    def __call__(  # noqa: D102
        self,
        request_iterator: base.RequestIterable | None = None,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> StreamStreamCall:
        call = StreamStreamCall(self._parameters, timeout, metadata, credentials, compression)
        call._send_all(request_iterator, wait_for_ready)
        return call
