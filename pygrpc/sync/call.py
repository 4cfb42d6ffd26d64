"""Calls of the sync client: what the core tells of a call, and the threads that wait for it.

``CallState`` is a call for the library; what users hold is in ``rendezvous``. The two are apart, so that a call whose
user has dropped it can be found out and cancelled, while the connection still keeps its state.
"""

import contextvars
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from pygrpc.core.client_call import CANCELLED_LOCALLY, DEADLINE_EXCEEDED, ClientCall, ClientState
from pygrpc.core.compression import encoding_name
from pygrpc.core.metadata import Header, InvalidMetadata, encode_metadata
from pygrpc.core.status import Status
from pygrpc.metadata import MetadataType
from pygrpc.propagation import effective_timeout
from pygrpc.status import StatusCode
from pygrpc.sync.private_views import CallNames

_LOGGER = logging.getLogger("pygrpc")

COLLECTED = Status(StatusCode.CANCELLED, "Cancelled upon garbage collection!")


class CallParameters:
    """What a multi-callable knows of its method, and what all its calls share."""

    __slots__ = ("channel", "deserializer", "method", "serializer")

    def __init__(
        self,
        channel: Any,
        method: str,
        serializer: Callable[[Any], bytes] | None,
        deserializer: Callable[[bytes], Any] | None,
    ) -> None:
        """Keeps the parts."""
        self.channel = channel
        self.method = method
        self.serializer = serializer
        self.deserializer = deserializer


class CallState(CallNames):
    """One call: its core, and who waits for it."""

    __slots__ = ("__weakref__", "_callbacks", "channel", "core", "deserializer", "serializer", "waiters")

    _response_streaming = False

    def __init__(
        self,
        parameters: CallParameters,
        timeout: float | None,
        metadata: MetadataType | None,
        credentials: Any,
        compression: int | None,
    ) -> None:
        """Makes a call that has not begun; one whose metadata can't be sent has ended.

        Raises:
            TypeError: The metadata are no pairs of text and text or bytes.
        """
        channel = self.channel = parameters.channel
        self.serializer = parameters.serializer
        self.deserializer = parameters.deserializer
        #: The threads that wait for this call, for Driver.wait and Driver.notify. It lists followers only, so that the
        #: leader must be notified even when it is empty.
        self.waiters: list[Any] = []
        self._callbacks: list[Callable[[], object]] | None = None
        plugins = channel.plugins(credentials)
        timeout = effective_timeout(timeout)
        encoding = encoding_name(channel.compression if compression is None else compression)
        headers: list[Header] = []
        refusal: Status | None = None
        if metadata:
            try:
                headers = encode_metadata(metadata)
            except InvalidMetadata as error:
                refusal = Status(StatusCode.INTERNAL, str(error))
        self.core: ClientCall = channel.calls.make(
            self,
            parameters.method,
            channel.request_headers(parameters.method, encoding, headers),
            response_streaming=self._response_streaming,
            timeout=timeout,
            limits=channel.limits,
            send_encoding=encoding,
            now=time.monotonic(),
        )
        if refusal is not None:
            self.core.cancel(refusal)
        elif plugins:
            channel.authenticate(self.core, plugins, parameters.method, headers)

    # What the core tells, with the lock held.

    def on_started(self) -> None:  # noqa: D102
        self.channel.driver.notify(self.waiters)

    def on_initial_metadata(self) -> None:  # noqa: D102
        self.channel.driver.notify(self.waiters)

    def on_message(self) -> None:  # noqa: D102
        self.channel.driver.notify(self.waiters)

    def on_writable(self) -> None:  # noqa: D102
        self.channel.driver.notify(self.waiters)

    def on_done(self) -> None:  # noqa: D102
        driver = self.channel.driver
        driver.notify(self.waiters)
        callbacks, self._callbacks = self._callbacks, None
        if callbacks:
            driver.remove_urgent(self)
            for callback in callbacks:
                driver.post(callback)

    # Sending.

    def _serialize(self, request: Any) -> bytes | None:
        """Serializes a request; an error in the serializer is logged and gives None, as None from it does."""
        payload = request
        if self.serializer is not None:
            try:
                payload = self.serializer(request)
            except Exception:
                _LOGGER.exception("the serializer of a request raised")
                return None
        if payload is None or isinstance(payload, bytes):
            return payload
        what = "without a serializer a request" if self.serializer is None else "what the serializer returns"
        raise TypeError(f"{what} must be bytes, not {type(payload).__name__}")

    def queue_only_request(self, request: Any) -> None:
        """Queues the request of a call that has one, before it starts.

        Raises:
            TypeError: There is no serializer, and the request is not bytes.
        """
        payload = self._serialize(request)
        if payload is None:
            self.core.cancel(Status(StatusCode.INTERNAL, "Exception serializing request!"))
        elif self.core.send_message(payload):
            self.core.half_close()

    def start(self, wait_for_ready: bool | None) -> None:
        """Starts the call and lets it go on by itself.

        Raises:
            ValueError: The channel is closed.
        """
        driver = self.channel.driver
        with driver.lock:
            self.channel.start(self.core, wait_for_ready)
            self.channel.watch_deadline(self.core)
            driver.settle()

    def send_from(self, requests: Iterable[Any]) -> None:
        """Has a thread send the requests of an iterator, with the context variables of this thread.

        It has to be an iterator: as in grpcio, an iterable that is none ends the call.
        """
        run = functools.partial(contextvars.copy_context().run, self._send_all, requests)
        threading.Thread(target=run, name="pygrpc-requests", daemon=True).start()

    def _send_all(self, requests: Any) -> None:
        core, driver = self.core, self.channel.driver
        while True:
            try:
                request = next(requests)
            except StopIteration:
                break
            except Exception:
                _LOGGER.exception("Exception iterating requests!")
                self.fail(Status(StatusCode.UNKNOWN, "Exception iterating requests!"))
                return
            try:
                payload = self._serialize(request)
            except TypeError:
                _LOGGER.exception("a request can't be sent")
                payload = None
            if payload is None:
                self.fail(Status(StatusCode.INTERNAL, "Exception serializing request!"))
                return
            del request
            with driver.lock:
                driver.wait(self.waiters, self._is_started, None)
                if not core.send_message(payload):
                    # The call is over; perhaps because of this message.
                    driver.settle()
                    return
                if core.backlogged:
                    driver.wait(self.waiters, self._has_room, None)
                driver.settle()
        with driver.lock:
            core.half_close()
            driver.settle()

    def _is_started(self) -> bool:
        return self.core.state is not ClientState.IDLE

    def _has_room(self) -> bool:
        return not self.core.backlogged or self.core.ended

    # Waiting; without the lock.

    def _is_over(self) -> bool:
        return self.core.ended

    def _has_initial_metadata(self) -> bool:
        return self.core.initial_metadata is not None

    def wait_over(self, timeout: float | None = None) -> bool:
        """Waits for the end of the call, at most so many seconds; returns whether it has come."""
        if self.core.ended:
            return True
        return self._wait(self._is_over, None if timeout is None else time.monotonic() + timeout)

    def wait_initial_metadata(self) -> None:
        """Waits for the initial metadata, or the end of the call."""
        if self.core.initial_metadata is None:
            self._wait(self._has_initial_metadata, None)

    def _wait(self, ready: Callable[[], bool], until: float | None) -> bool:
        """Waits until something is so; the call's deadline ends the call."""
        deadline = self.core.deadline
        first = deadline if until is None or (deadline is not None and deadline < until) else until
        driver = self.channel.driver
        with driver.lock:
            if driver.wait(self.waiters, ready, first):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                self.core.cancel(DEADLINE_EXCEEDED)
                driver.settle()
            return ready()

    def look(self) -> None:
        """Takes what has arrived, if nobody else does; for those who ask again and again without waiting."""
        if not self.core.ended:
            driver = self.channel.driver
            with driver.lock:
                driver.look(time.monotonic())
                driver.settle()

    # The end.

    def fail(self, status: Status) -> None:
        """Ends the call with an error of the user's code, unless it has ended."""
        driver = self.channel.driver
        with driver.lock:
            self.core.cancel(status)
            driver.settle()

    def cancel(self) -> bool:
        """Ends the call because the user wants it; returns False if it had ended."""
        if self.core.ended:
            return False
        self.channel.driver.act(lambda: self.core.cancel(CANCELLED_LOCALLY))
        return self.core.status is CANCELLED_LOCALLY or not self.core.ended

    def drop(self) -> None:
        """Ends the call because nobody can see it any more; called by a destructor."""
        if not self.core.ended:
            self.channel.driver.act_without_waiting(lambda: self.core.cancel(COLLECTED))

    def settle(self) -> Status:
        """The status, once the call has ended."""
        status = self.core.status
        assert status is not None
        return status

    def response(self) -> Any:
        """The only response of a call that ended well."""
        return None

    def add_callback(self, callback: Callable[[], object]) -> bool:
        """Calls back behind the end of the call; returns False if it has ended."""
        driver = self.channel.driver
        with driver.lock:
            if self.core.ended:
                return False
            if self._callbacks is None:
                self._callbacks = []
                driver.add_urgent(self)
            self._callbacks.append(callback)
            driver.settle()
            return True


class UnaryResponse(CallState):
    """A call with one response."""

    __slots__ = ("_raw", "_response", "_settling")

    def __init__(
        self,
        parameters: CallParameters,
        timeout: float | None,
        metadata: MetadataType | None,
        credentials: Any,
        compression: int | None,
    ) -> None:
        """Makes a call that has not begun."""
        self._raw: bytes | None = None
        self._response: Any = None
        #: Held by whoever deserializes the response; None once that is done.
        self._settling: Any = None
        super().__init__(parameters, timeout, metadata, credentials, compression)

    def on_message(self) -> None:  # noqa: D102
        self._raw = self.core.read_message()

    def run(self, wait_for_ready: bool | None) -> None:
        """Starts the call and waits for its end, all in this thread.

        Raises:
            ValueError: The channel is closed.
        """
        with self.channel.driver.lock:
            self.channel.start(self.core, wait_for_ready)
            self._finish_here()

    def run_with(self, requests: Iterable[Any], wait_for_ready: bool | None) -> None:
        """Does the same with requests of an iterator.

        Raises:
            ValueError: The channel is closed.
        """
        driver = self.channel.driver
        with driver.lock:
            self.channel.start(self.core, wait_for_ready)
            driver.settle()
        try:
            self.send_from(requests)
            with driver.lock:
                self._finish_here()
        except BaseException:
            # A signal handler raised: nobody will ask for this call any more.
            self.cancel()
            raise

    def _finish_here(self) -> None:
        core, driver = self.core, self.channel.driver
        try:
            if not driver.wait(self.waiters, self._is_over, core.deadline):
                core.cancel(DEADLINE_EXCEEDED)
        except BaseException:
            # As above.
            core.cancel(CANCELLED_LOCALLY)
            raise
        finally:
            driver.settle()

    def share(self) -> None:
        """Says that several threads may ask for the response."""
        self._settling = threading.Lock()

    def settle(self) -> Status:
        """Deserializes the response, which may change the status."""
        lock = self._settling
        if lock is None:
            self._deserialize()
        else:
            with lock:
                self._deserialize()
        return super().settle()

    def _deserialize(self) -> None:
        raw, self._raw = self._raw, None
        if raw is None:
            return
        core = self.core
        status = core.status
        if status is None or status.code is not StatusCode.OK:
            return
        response = deserialize(raw, self.deserializer)
        if response is None:
            core.status = Status(StatusCode.INTERNAL, "Exception deserializing response!", status.metadata)
        self._response = response

    def response(self) -> Any:  # noqa: D102
        return self._response


class StreamResponse(CallState):
    """A call with a stream of responses."""

    __slots__ = ()

    _response_streaming = True

    def _can_read(self) -> bool:
        return self.core.has_message or self.core.ended

    def next_response(self) -> Any:
        """Waits for the next response; returns None behind the last one."""
        core, driver = self.core, self.channel.driver
        while True:
            if core.ended:
                return None
            with driver.lock:
                if not core.has_message and not driver.wait(self.waiters, self._can_read, core.deadline):
                    core.cancel(DEADLINE_EXCEEDED)
                raw = core.read_message()
                driver.settle()
            if raw is not None:
                response = deserialize(raw, self.deserializer)
                if response is None:
                    self._fail_deserializing()
                return response

    def _fail_deserializing(self) -> None:
        status = Status(StatusCode.INTERNAL, "Exception deserializing response!")
        driver = self.channel.driver
        with driver.lock:
            if not self.core.cancel(status):
                # The message was the last one, and the status behind it was known.
                self.core.status = status
            driver.settle()


def deserialize(raw: bytes, deserializer: Callable[[bytes], Any] | None) -> Any:
    """Deserializes a response; an error in the deserializer is logged and gives None, as None from it does."""
    if deserializer is None:
        return raw
    try:
        return deserializer(raw)
    except Exception:
        _LOGGER.exception("the deserializer of a response raised")
        return None
