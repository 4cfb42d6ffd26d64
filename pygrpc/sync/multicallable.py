"""The callables that a channel makes for methods: each call of one starts an RPC."""

from collections.abc import Callable, Iterable
from typing import Any

from pygrpc import interfaces as base
from pygrpc.compression import Compression
from pygrpc.metadata import MetadataType
from pygrpc.status import StatusCode
from pygrpc.sync.call import CallParameters, CallState, StreamResponse, UnaryResponse
from pygrpc.sync.rendezvous import _MultiThreadedRendezvous, inactive_error


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


def _response(state: UnaryResponse) -> Any:
    """The response of a call that is over; raises its error."""
    if state.settle().code is StatusCode.OK:
        return state.response()
    raise inactive_error(state)


def _with_request(state: CallState, request: Any) -> None:
    """Queues the only request; raises if that can't be sent."""
    refused = state.core.ended
    state.queue_only_request(request)
    if state.core.ended and not refused:
        raise inactive_error(state)


def _in_background(state: CallState) -> _MultiThreadedRendezvous:
    if isinstance(state, UnaryResponse):
        state.share()
    return _MultiThreadedRendezvous(state, state.core.deadline)


class UnaryUnaryMultiCallable(_MultiCallable, base.UnaryUnaryMultiCallable[Any, Any]):
    """Starts calls with one request and one response."""

    def __call__(  # noqa: D102 - the contract is in the base class
        self,
        request: Any,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> Any:
        state = UnaryResponse(self._parameters, timeout, metadata, credentials, compression)
        state.queue_only_request(request)
        state.run(wait_for_ready)
        return _response(state)

    def with_call(  # noqa: D102
        self,
        request: Any,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> tuple[Any, base.Call]:
        state = UnaryResponse(self._parameters, timeout, metadata, credentials, compression)
        state.queue_only_request(request)
        state.run(wait_for_ready)
        return _response(state), _MultiThreadedRendezvous(state, None)

    def future(  # noqa: D102
        self,
        request: Any,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> _MultiThreadedRendezvous:
        state = UnaryResponse(self._parameters, timeout, metadata, credentials, compression)
        _with_request(state, request)
        state.start(wait_for_ready)
        return _in_background(state)


class UnaryStreamMultiCallable(_MultiCallable, base.UnaryStreamMultiCallable[Any, Any]):
    """Starts calls with one request and a stream of responses."""

    def __call__(  # noqa: D102
        self,
        request: Any,
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> _MultiThreadedRendezvous:
        state = StreamResponse(self._parameters, timeout, metadata, credentials, compression)
        _with_request(state, request)
        state.start(wait_for_ready)
        return _in_background(state)


class StreamUnaryMultiCallable(_MultiCallable, base.StreamUnaryMultiCallable[Any, Any]):
    """Starts calls with a stream of requests and one response."""

    def __call__(  # noqa: D102
        self,
        request_iterator: Iterable[Any],
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> Any:
        state = UnaryResponse(self._parameters, timeout, metadata, credentials, compression)
        state.run_with(request_iterator, wait_for_ready)
        return _response(state)

    def with_call(  # noqa: D102
        self,
        request_iterator: Iterable[Any],
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> tuple[Any, base.Call]:
        state = UnaryResponse(self._parameters, timeout, metadata, credentials, compression)
        state.run_with(request_iterator, wait_for_ready)
        return _response(state), _MultiThreadedRendezvous(state, None)

    def future(  # noqa: D102
        self,
        request_iterator: Iterable[Any],
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> _MultiThreadedRendezvous:
        state = UnaryResponse(self._parameters, timeout, metadata, credentials, compression)
        state.start(wait_for_ready)
        call = _in_background(state)
        state.send_from(request_iterator)
        return call


class StreamStreamMultiCallable(_MultiCallable, base.StreamStreamMultiCallable[Any, Any]):
    """Starts calls with streams of requests and responses."""

    def __call__(  # noqa: D102
        self,
        request_iterator: Iterable[Any],
        timeout: float | None = None,
        metadata: MetadataType | None = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> _MultiThreadedRendezvous:
        state = StreamResponse(self._parameters, timeout, metadata, credentials, compression)
        state.start(wait_for_ready)
        call = _in_background(state)
        state.send_from(request_iterator)
        return call
