"""Calls without a channel: one function for each kind, which generated service classes use."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pygrpc.call_credentials import CallCredentials
from pygrpc.compression import Compression
from pygrpc.credentials import ChannelCredentials
from pygrpc.experimental import experimental_api
from pygrpc.experimental.channel_cache import ChannelCache
from pygrpc.metadata import Metadatum

_DEFAULT_TIMEOUT = float(os.environ.get("GRPC_PYTHON_DEFAULT_TIMEOUT_SECONDS", 60.0))


@experimental_api
def unary_unary(
    request: Any,
    target: str,
    method: str,
    request_serializer: Callable[[Any], bytes] | None = None,
    response_deserializer: Callable[[bytes], Any] | None = None,
    options: Sequence[tuple[Any, Any]] = (),
    channel_credentials: ChannelCredentials | None = None,
    insecure: bool = False,
    call_credentials: CallCredentials | None = None,
    compression: Compression | None = None,
    wait_for_ready: bool | None = None,
    timeout: float | None = _DEFAULT_TIMEOUT,
    metadata: Sequence[Metadatum] | None = None,
    _registered_method: bool | None = False,
) -> Any:
    """Calls a method with one request and one response, on a channel that is shared with other such calls.

    A channel is closed when it has not been used for ten minutes (GRPC_PYTHON_MANAGED_CHANNEL_EVICTION_SECONDS) or when
    there are more than 256 (GRPC_PYTHON_MANAGED_CHANNEL_MAXIMUM).

    Args:
        request: The request.
        target: Where the server is.
        method: The full name, ``/package.Service/Method``.
        request_serializer: Turns a request into bytes; None takes bytes.
        response_deserializer: Turns the bytes of a message into a response; None leaves them.
        options: Pairs of option and value for the channel.
        channel_credentials: Those of the channel; None for TLS with the default roots, unless ``insecure``.
        insecure: Whether to do without TLS.
        call_credentials: Those of the call.
        compression: The algorithm for the requests of the channel.
        wait_for_ready: Whether to wait for a connection; None means True here.
        timeout: Seconds until the deadline, or None; GRPC_PYTHON_DEFAULT_TIMEOUT_SECONDS, or 60, if it is not given.
        metadata: Custom metadata to send.

    Returns:
        The response.

    Raises:
        RpcError: The call ended with a status other than OK.
        ValueError: Both ``insecure`` and ``channel_credentials`` are given.
    """
    channel = ChannelCache.get().channel(target, options, channel_credentials, insecure, compression)
    callable_ = channel.unary_unary(method, request_serializer, response_deserializer, _registered_method)
    return _call(callable_, request, timeout, metadata, call_credentials, wait_for_ready)


@experimental_api
def unary_stream(
    request: Any,
    target: str,
    method: str,
    request_serializer: Callable[[Any], bytes] | None = None,
    response_deserializer: Callable[[bytes], Any] | None = None,
    options: Sequence[tuple[Any, Any]] = (),
    channel_credentials: ChannelCredentials | None = None,
    insecure: bool = False,
    call_credentials: CallCredentials | None = None,
    compression: Compression | None = None,
    wait_for_ready: bool | None = None,
    timeout: float | None = _DEFAULT_TIMEOUT,
    metadata: Sequence[Metadatum] | None = None,
    _registered_method: bool | None = False,
) -> Iterator[Any]:
    """Calls a method with one request and a stream of responses; see ``unary_unary`` for the parameters.

    Returns:
        An iterator of responses.
    """
    channel = ChannelCache.get().channel(target, options, channel_credentials, insecure, compression)
    callable_ = channel.unary_stream(method, request_serializer, response_deserializer, _registered_method)
    responses: Iterator[Any] = _call(callable_, request, timeout, metadata, call_credentials, wait_for_ready)
    return responses


@experimental_api
def stream_unary(
    request_iterator: Iterable[Any],
    target: str,
    method: str,
    request_serializer: Callable[[Any], bytes] | None = None,
    response_deserializer: Callable[[bytes], Any] | None = None,
    options: Sequence[tuple[Any, Any]] = (),
    channel_credentials: ChannelCredentials | None = None,
    insecure: bool = False,
    call_credentials: CallCredentials | None = None,
    compression: Compression | None = None,
    wait_for_ready: bool | None = None,
    timeout: float | None = _DEFAULT_TIMEOUT,
    metadata: Sequence[Metadatum] | None = None,
    _registered_method: bool | None = False,
) -> Any:
    """Calls a method with a stream of requests and one response; see ``unary_unary`` for the parameters.

    Returns:
        The response.
    """
    channel = ChannelCache.get().channel(target, options, channel_credentials, insecure, compression)
    callable_ = channel.stream_unary(method, request_serializer, response_deserializer, _registered_method)
    return _call(callable_, request_iterator, timeout, metadata, call_credentials, wait_for_ready)


@experimental_api
def stream_stream(
    request_iterator: Iterable[Any],
    target: str,
    method: str,
    request_serializer: Callable[[Any], bytes] | None = None,
    response_deserializer: Callable[[bytes], Any] | None = None,
    options: Sequence[tuple[Any, Any]] = (),
    channel_credentials: ChannelCredentials | None = None,
    insecure: bool = False,
    call_credentials: CallCredentials | None = None,
    compression: Compression | None = None,
    wait_for_ready: bool | None = None,
    timeout: float | None = _DEFAULT_TIMEOUT,
    metadata: Sequence[Metadatum] | None = None,
    _registered_method: bool | None = False,
) -> Iterator[Any]:
    """Calls a method with streams of requests and responses; see ``unary_unary`` for the parameters.

    Returns:
        An iterator of responses.
    """
    channel = ChannelCache.get().channel(target, options, channel_credentials, insecure, compression)
    callable_ = channel.stream_stream(method, request_serializer, response_deserializer, _registered_method)
    responses: Iterator[Any] = _call(callable_, request_iterator, timeout, metadata, call_credentials, wait_for_ready)
    return responses


def _call(
    callable_: Callable[..., Any],
    request: Any,
    timeout: float | None,
    metadata: Sequence[Metadatum] | None,
    credentials: CallCredentials | None,
    wait_for_ready: bool | None,
) -> Any:
    return callable_(
        request,
        timeout=timeout,
        metadata=metadata,
        credentials=credentials,
        wait_for_ready=True if wait_for_ready is None else wait_for_ready,
    )
