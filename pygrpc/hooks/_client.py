"""Hooks on the calls of the sync client."""

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import pygrpc
from pygrpc.hooks._types import Begin, CallEnd, CallHooks, CallInfo, pairs, tell_end, text


def client_interceptor(begin: Begin) -> Any:
    """Makes an interceptor for ``intercept_channel``, of all four kinds.

    Args:
        begin: Called for each call, in the thread that makes it; ``on_end`` may be called in another.
    """
    return _Interceptor(begin)


class _Interceptor(
    pygrpc.UnaryUnaryClientInterceptor,
    pygrpc.UnaryStreamClientInterceptor,
    pygrpc.StreamUnaryClientInterceptor,
    pygrpc.StreamStreamClientInterceptor,
):
    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    def _intercept(
        self,
        continuation: Callable[..., Any],
        details: Any,
        request: Any,
        request_streaming: bool,
        response_streaming: bool,
    ) -> Any:
        metadata = pairs(details.metadata)
        info = CallInfo(True, details.method, request_streaming, response_streaming, metadata, details.timeout)
        hooks = self._begin(info)
        details = details._replace(metadata=info.metadata, timeout=info.timeout)
        if hooks is None:
            return continuation(details, request)
        request = map(hooks.on_request, request) if request_streaming else hooks.on_request(request)
        call = continuation(details, request)
        return (_StreamingCall if response_streaming else _UnaryCall)(call, hooks)

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return self._intercept(continuation, client_call_details, request, False, False)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return self._intercept(continuation, client_call_details, request, False, True)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return self._intercept(continuation, client_call_details, request_iterator, True, False)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return self._intercept(continuation, client_call_details, request_iterator, True, True)


class _ObservedCall(pygrpc.Call):
    """A call whose end hooks are told of."""

    def __init__(self, call: Any, hooks: CallHooks) -> None:
        self._call = call
        self._hooks = hooks
        # Taken for as long as hooks run, so that they hear of things one after the other.
        self._lock = threading.RLock()
        self._ended = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._call, name)

    def _end(self) -> None:
        with self._lock:
            if not self._ended:
                self._ended = True
                call = self._call
                trailing = tuple(pairs(call.trailing_metadata()))
                tell_end(self._hooks, CallEnd(call.code(), text(call.details()), trailing))

    def initial_metadata(self) -> Any:
        return self._call.initial_metadata()

    def trailing_metadata(self) -> Any:
        return self._call.trailing_metadata()

    def code(self) -> Any:
        return self._call.code()

    def details(self) -> Any:
        return self._call.details()

    def is_active(self) -> bool:
        return bool(self._call.is_active())

    def time_remaining(self) -> float | None:
        remaining: float | None = self._call.time_remaining()
        return remaining

    def cancel(self) -> Any:
        return self._call.cancel()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return bool(self._call.add_callback(callback))


class _UnaryCall(_ObservedCall, pygrpc.Future):
    """A call with one response."""

    def __init__(self, call: Any, hooks: CallHooks) -> None:
        super().__init__(call, hooks)
        self._response: Any = None
        self._error: Exception | None = None
        call.add_done_callback(lambda _: self._finish())

    def _finish(self) -> None:
        with self._lock:
            if self._ended:
                return
            if not self._call.cancelled() and self._call.exception() is None:
                try:
                    self._response = self._hooks.on_response(self._call.result())
                except Exception as error:
                    self._error = error
            self._end()

    def result(self, timeout: float | None = None) -> Any:
        self._call.result(timeout)
        self._finish()
        if self._error is not None:
            raise self._error
        return self._response

    def exception(self, timeout: float | None = None) -> Exception | None:
        error: Exception | None = self._call.exception(timeout)
        self._finish()
        return error or self._error

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        traceback: TracebackType | None = self._call.traceback(timeout)
        self._finish()
        return traceback if self._error is None else self._error.__traceback__

    def cancelled(self) -> bool:
        return bool(self._call.cancelled())

    def running(self) -> bool:
        return bool(self._call.running())

    def done(self) -> bool:
        return bool(self._call.done())

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        self._call.add_done_callback(lambda _: fn(self))


class _StreamingCall(_ObservedCall):
    """A call with a stream of responses."""

    def __init__(self, call: Any, hooks: CallHooks) -> None:
        super().__init__(call, hooks)
        if not call.add_callback(self._end):
            self._end()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        # With the lock, because the last response may end the call in another thread before it is passed on here.
        with self._lock:
            return self._hooks.on_response(next(self._call))
