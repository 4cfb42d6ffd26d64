"""The callables that a channel makes for methods: each call of one starts an RPC."""

from collections.abc import Callable, Sequence
from typing import Any

from pygrpc.aio import base_call as base
from pygrpc.aio.call import CallParameters, StreamStreamCall, StreamUnaryCall, UnaryStreamCall, UnaryUnaryCall
from pygrpc.aio.intercepted_call import (
    InterceptedCall,
    InterceptedStreamStreamCall,
    InterceptedStreamUnaryCall,
    InterceptedUnaryStreamCall,
    InterceptedUnaryUnaryCall,
)
from pygrpc.compression import Compression
from pygrpc.metadata import MetadataType


class _MultiCallable:
    def __init__(
        self,
        channel: Any,
        method: str,
        request_serializer: Callable[[Any], bytes] | None,
        response_deserializer: Callable[[bytes], Any] | None,
        interceptors: Sequence[Any] = (),
    ) -> None:
        name = method.decode() if isinstance(method, bytes) else method
        self._parameters = CallParameters(channel, name, request_serializer, response_deserializer)
        self._method = name.encode()
        self._interceptors = interceptors

    def _intercept(
        self,
        kind: type[InterceptedCall],
        request: Any,
        timeout: float | None,
        metadata: MetadataType | None,
        credentials: Any,
        wait_for_ready: bool | None,
        compression: Compression | None,
    ) -> Any:
        """Starts a call that goes through the interceptors."""
        parameters = self._parameters
        channel = parameters.channel
        channel.check_open()
        return kind(
            self._interceptors,
            request,
            timeout,
            metadata,
            credentials,
            wait_for_ready,
            channel,
            self._method,
            parameters.serializer,
            parameters.deserializer,
            channel.loop,
            compression=compression,
        )


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
    ) -> base.UnaryUnaryCall[Any, Any]:
        if self._interceptors:
            intercepted: base.UnaryUnaryCall[Any, Any] = self._intercept(
                InterceptedUnaryUnaryCall, request, timeout, metadata, credentials, wait_for_ready, compression
            )
            return intercepted
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
    ) -> base.UnaryStreamCall[Any, Any]:
        if self._interceptors:
            intercepted: base.UnaryStreamCall[Any, Any] = self._intercept(
                InterceptedUnaryStreamCall, request, timeout, metadata, credentials, wait_for_ready, compression
            )
            return intercepted
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
    ) -> base.StreamUnaryCall[Any, Any]:
        if self._interceptors:
            intercepted: base.StreamUnaryCall[Any, Any] = self._intercept(
                InterceptedStreamUnaryCall,
                request_iterator,
                timeout,
                metadata,
                credentials,
                wait_for_ready,
                compression,
            )
            return intercepted
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
    ) -> base.StreamStreamCall[Any, Any]:
        if self._interceptors:
            intercepted: base.StreamStreamCall[Any, Any] = self._intercept(
                InterceptedStreamStreamCall,
                request_iterator,
                timeout,
                metadata,
                credentials,
                wait_for_ready,
                compression,
            )
            return intercepted
        call = StreamStreamCall(self._parameters, timeout, metadata, credentials, compression)
        call._send_all(request_iterator, wait_for_ready)
        return call
