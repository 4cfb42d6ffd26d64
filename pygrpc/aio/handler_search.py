"""Server interceptors of the asyncio server: the search for the handler of one call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from pygrpc.aio.interceptor import ServerInterceptor
from pygrpc.aio.loops import start_now
from pygrpc.aio.servicer import ServedTransport
from pygrpc.core.metadata import RawMetadata, encode_metadata
from pygrpc.core.server_call import ServerCall, ServerState
from pygrpc.core.status import Status
from pygrpc.handlers import HandlerCallDetails, RpcMethodHandler, require_handler
from pygrpc.metadata import MetadataType
from pygrpc.status import StatusCode

_LOGGER = logging.getLogger("pygrpc")

Find = Callable[[HandlerCallDetails], RpcMethodHandler | None]
Serve = Callable[[RpcMethodHandler, asyncio.Task[None]], Awaitable[None]]


class _MethodAndMetadata(NamedTuple):
    method: str
    invocation_metadata: RawMetadata


class InterceptedCall(_MethodAndMetadata):
    """What interceptors are told of a call: the pair that grpcio tells, and methods that only pygrpc has.

    They may be called as long as the call is of interest, also when it is over.
    """

    _call: ServerCall
    _transport: ServedTransport

    def __new__(cls, call: ServerCall, transport: ServedTransport) -> Self:
        """Describes a call on a connection."""
        head = call.head
        details = tuple.__new__(cls, (head.path, head.metadata))
        details._call = call
        details._transport = transport
        return details

    def _replace(self, **changes: Any) -> Self:
        # The other one is of the same call: what an interceptor passes on has to answer the next one's questions.
        changed = super()._replace(**changes)
        changed._call, changed._transport = self._call, self._transport
        return changed

    def peer(self) -> str:
        """The client's address, such as ``ipv4:127.0.0.1:4711``."""
        return self._transport.peer

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """What is known of the client by authentication."""
        return self._transport.auth_context()

    def code(self) -> StatusCode | None:
        """What the call has ended with, whoever ended it: the handler, the client, or the clock; None if it goes on."""
        status = self._call.status
        return None if status is None else status.code

    def add_initial_metadata(self, metadata: MetadataType) -> bool:
        """Adds to what goes with the headers of the response, whenever the handler sends them.

        A call that fails before there are any sends them with its status, where clients see trailing metadata.

        Returns:
            False if the headers have been sent.
        """
        call = self._call
        if call.state is not ServerState.OPEN:
            return False
        call.initial_metadata = (*call.initial_metadata, *encode_metadata(metadata))
        return True


class HandlerSearch:
    """Runs the interceptors of a call in a task, and then its handler in the same; listens to the call until then."""

    def __init__(
        self,
        call: ServerCall,
        interceptors: Sequence[ServerInterceptor],
        find: Find,
        serve: Serve,
        on_finished: Callable[[HandlerSearch], None],
    ) -> None:
        """Prepares the search.

        Args:
            call: The call; its listener is to be this object until the handler is known.
            interceptors: The first one is asked first.
            find: Finds the handler when all interceptors have let the call pass.
            serve: Serves the call with a handler, to its end, in a task.
            on_finished: Told once when the search is over.
        """
        self._call = call
        self._interceptors = interceptors
        self._find = find
        self._serve = serve
        self._on_finished = on_finished
        self.task: asyncio.Task[None] | None = None
        #: Made when the request is waited for: most are here when the interceptors are through.
        self._complete: asyncio.Event | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, details: HandlerCallDetails) -> None:
        """Starts the task."""
        self.task = start_now(loop, self._run(details), details.method)

    # What the core reports.

    def on_requests(self) -> None:
        """Requests wait until there is a handler; only a single request is waited for here, until it is complete."""
        if self._complete is not None and self._call.remote_ended:
            self._complete.set()

    def on_writable(self) -> None:
        """Nothing is written yet."""

    def on_cancelled(self) -> None:
        """The call is over, so nobody needs its handler."""
        if self.task is not None:
            self.task.cancel()

    def on_closed(self) -> None:
        """Nobody waits for it yet."""

    # The search.

    async def _run(self, details: HandlerCallDetails) -> None:
        handler = None
        ready = False
        try:
            handler = await self._ask(0, details)
            if handler is None:
                self._call.finish(Status(StatusCode.UNIMPLEMENTED, "Method not found!"), [])
            else:
                self._call.request_streaming = handler.request_streaming
                # Most requests are here by now.
                ready = self._call.has_message and self._call.remote_ended
                if not ready:
                    ready = await self._wait_for_request(handler)
        except asyncio.CancelledError:
            self._call.cancel(Status(StatusCode.CANCELLED, "the interceptor was cancelled"))
        except Exception as error:
            _LOGGER.exception("a server interceptor raised for %s", details.method)
            self._call.finish(Status(StatusCode.UNKNOWN, f"Unexpected {type(error)}: {error}"), [])
        finally:
            self._on_finished(self)
        if handler is not None and ready and not self._call.ended:
            task = self.task or asyncio.current_task()
            assert task is not None
            try:
                await self._serve(handler, task)
            except asyncio.CancelledError:
                _LOGGER.debug("the handler of %s was cancelled", details.method)

    async def _ask(self, index: int, details: HandlerCallDetails) -> RpcMethodHandler | None:
        following = index + 1
        if following < len(self._interceptors):

            async def continuation(new_details: HandlerCallDetails) -> RpcMethodHandler | None:
                return await self._ask(following, new_details)

        else:

            async def continuation(new_details: HandlerCallDetails) -> RpcMethodHandler | None:
                return self._find(new_details)

        found = await self._interceptors[index].intercept_service(continuation, details)  # type: ignore[arg-type]
        return require_handler(found, details.method)

    async def _wait_for_request(self, handler: RpcMethodHandler) -> bool:
        """Waits until the handler can start: at once for a stream of requests, else behind the request.

        Returns:
            Whether there is something to handle.
        """
        if handler.request_streaming:
            return True
        if not self._call.remote_ended:
            self._complete = asyncio.Event()
            await self._complete.wait()
        if self._call.has_message:
            return True
        # What the core could not check before it knew the method; see ServerCall.request_streaming.
        details = "the client ended its requests without the message that it should have sent"
        self._call.finish(Status(StatusCode.UNIMPLEMENTED, details), [])
        return False
