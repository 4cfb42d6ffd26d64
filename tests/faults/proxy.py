"""A TCP proxy on the loopback that does to connections what networks do: it holds, drops, cuts, resets, half-closes.

One thread moves all bytes. What a test asks for is done in that thread before the method returns, so that no test has
to wait and hope: behind ``link.reset()`` the connection is reset.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

#: Seconds after which a wait has failed.
BOUND = 20.0
#: Bytes that wait in one direction of a connection at most; beyond that the sender is not read from.
BUFFER = 65_536


class Flow:
    """One direction of a connection. Attributes are set through the methods of ``Link``.

    Attributes:
        forwarded: Bytes that have been passed on.
        received: Bytes that have come, whether or not they were passed on.
    """

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.forwarded = 0
        self.received = 0
        self.ended = False
        #: Bytes that may still be passed on; None for all.
        self.budget: int | None = None
        self.dropping = False
        self.latency = 0.0
        self._chunks: deque[tuple[float, memoryview]] = deque()
        self._waiting = 0
        self.closed = False

    def wants_read(self) -> bool:
        return not self.ended and self._waiting < BUFFER

    def wants_write(self, now: float) -> bool:
        return bool(self._chunks) and self.budget != 0 and self._chunks[0][0] <= now

    def due(self) -> float | None:
        """When the next bytes may go on, or None if that is no matter of time."""
        return self._chunks[0][0] if self._chunks and self.budget != 0 else None

    def read(self, now: float) -> None:
        try:
            data = self.source.recv(BUFFER)
        except BlockingIOError:
            return
        self.received += len(data)
        if not data:
            self.ended = True
        elif not self.dropping:
            self._chunks.append((now + self.latency, memoryview(data)))
            self._waiting += len(data)

    def write(self) -> None:
        when, chunk = self._chunks.popleft()
        part = chunk if self.budget is None else chunk[: self.budget]
        try:
            sent = self.sink.send(part)
        except BlockingIOError:
            sent = 0
        self.forwarded += sent
        self._waiting -= sent
        if self.budget is not None:
            self.budget -= sent
        if sent < len(chunk):
            self._chunks.appendleft((when, chunk[sent:]))

    def finish(self) -> bool:
        """Passes the end on once everything else is through; returns whether this direction is over."""
        if self.ended and not self._chunks and not self.closed and not self.dropping:
            self.close()
        return self.closed

    def close(self) -> None:
        """Tells the receiver that nothing more comes; what still does is dropped."""
        self.closed = self.dropping = True
        self._chunks.clear()
        with contextlib.suppress(OSError):
            self.sink.shutdown(socket.SHUT_WR)


class Link:
    """One connection through the proxy.

    Attributes:
        up: The direction from the client to the server.
        down: The direction from the server to the client.
        closed: Whether it is over, for whatever reason.
    """

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self.up = Flow(client, server)
        self.down = Flow(server, client)
        self.closed = False

    def hold(self, *flows: Flow) -> None:
        """Passes nothing on, in both directions unless one is given; what comes waits, so that senders are slowed."""
        self._set(flows, "budget", 0)

    def release(self, *flows: Flow) -> None:
        """Passes everything on again."""
        self._set(flows, "budget", None)

    def allow(self, flow: Flow, size: int) -> None:
        """Passes so many further bytes on, and then holds."""
        self._set((flow,), "budget", size)

    def black_hole(self, *flows: Flow) -> None:
        """Takes everything and passes nothing on, not even the end: nobody notices by the socket."""
        self._set(flows, "dropping", True)

    def delay(self, seconds: float, *flows: Flow) -> None:
        """Passes each piece on so much later than it comes."""
        self._set(flows, "latency", seconds)

    def _set(self, flows: tuple[Flow, ...], name: str, value: Any) -> None:
        def change() -> None:
            for flow in flows or (self.up, self.down):
                setattr(flow, name, value)

        self._proxy.do(change)

    def cut(self) -> None:
        """Closes both ends in order, which drops what waits."""
        self._proxy.do(self._close)

    def reset(self) -> None:
        """Resets both ends."""
        self._proxy.do(lambda: self._close(reset=True))

    def half_close(self, flow: Flow) -> None:
        """Tells the receiver of a direction that nothing more comes; the other direction stays open."""
        self._proxy.do(flow.close)

    def _close(self, reset: bool = False) -> None:
        if self.closed:
            return
        self.closed = True
        for each in (self._client, self._server):
            self._proxy.forget(each)
            if reset:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()

    # What the proxy calls, in its thread.

    def ends(self) -> Iterator[tuple[socket.socket, Flow, Flow]]:
        """Each socket, the direction that begins there and the one that ends there."""
        yield self._client, self.up, self.down
        yield self._server, self.down, self.up

    def serve(self, end: socket.socket, mask: int, now: float) -> None:
        """Moves bytes at one end."""
        for sock, outgoing, incoming in self.ends():
            if sock is end and not self.closed:
                try:
                    if mask & selectors.EVENT_READ and outgoing.wants_read():
                        outgoing.read(now)
                    if mask & selectors.EVENT_WRITE and incoming.wants_write(now):
                        incoming.write()
                except OSError:
                    # One end has reset the connection: so does the other.
                    self._close(reset=True)
                    return
        if not self.closed and all([self.up.finish(), self.down.finish()]):
            self._close()


class Proxy:
    """A port of the loopback whose connections lead to another one.

    Attributes:
        port: Where it listens.
        links: All connections so far, in order.
        on_connect: Called with each new connection before any byte of it is moved.
    """

    def __init__(self, port: int) -> None:
        """Listens in front of a server's port on the IPv4 loopback."""
        self._upstream = port
        self.links: list[Link] = []
        self.on_connect: Callable[[Link], object] = lambda link: None
        self._changed = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._jobs: deque[tuple[Callable[[], object], futures.Future[None]]] = deque()
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        # It keeps the port while the proxy refuses connections; without this, another program might get it.
        self._holder = _bound(0)
        self.port: int = self._holder.getsockname()[1]
        self._listener: socket.socket | None = None
        self._accepting = True
        self._ended = False
        self._open_listener()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    @property
    def target(self) -> str:
        """The address for channels."""
        return f"127.0.0.1:{self.port}"

    # What tests do.

    def refuse(self) -> None:
        """Refuses new connections."""
        self.do(self._close_listener)

    def ignore(self) -> None:
        """Does not accept new connections, which clients take for a server that does not answer."""

        def stop() -> None:
            self._accepting = False

        self.do(stop)

    def accept(self) -> None:
        """Accepts connections again."""

        def go_on() -> None:
            self._accepting = True
            self._open_listener()

        self.do(go_on)

    def wait(self, condition: Callable[[], object]) -> None:
        """Waits until something about the connections is so."""
        with self._changed:
            assert self._changed.wait_for(condition, BOUND), "the proxy did not get there"

    def link(self, number: int = 0) -> Link:
        """Waits for a connection and returns it."""
        self.wait(lambda: len(self.links) > number)
        return self.links[number]

    @property
    def open_links(self) -> list[Link]:
        """The connections that are not over."""
        return [link for link in self.links if not link.closed]

    def close(self) -> None:
        """Ends all connections and the proxy."""

        def end() -> None:
            self._ended = True

        self.do(end)
        self._thread.join(BOUND)
        for each in (self._holder, self._wake_read, self._wake_write):
            each.close()
        self._selector.close()

    def do(self, job: Callable[[], object]) -> None:
        """Runs something in the thread of the proxy and waits for it."""
        done: futures.Future[None] = futures.Future()
        self._jobs.append((job, done))
        self._wake_write.send(b"x")
        done.result(BOUND)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    # What goes on in the thread.

    def forget(self, sock: socket.socket) -> None:
        """Moves no bytes of a socket any more."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(sock)

    def _open_listener(self) -> None:
        if self._listener is None:
            self._listener = _bound(self.port)
            self._listener.listen()
            self._listener.setblocking(False)

    def _close_listener(self) -> None:
        if self._listener is not None:
            self.forget(self._listener)
            self._listener.close()
            self._listener = None

    def _run(self) -> None:
        while not self._ended:
            now = time.monotonic()
            for sock, link, mask in list(self._wanted(now)):
                self._watch(sock, link, mask)
            for key, mask in self._selector.select(self._timeout(now)):
                if key.fileobj is self._wake_read:
                    self._wake_read.recv(4096)
                elif key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, Link):
                    assert isinstance(key.fileobj, socket.socket)
                    key.data.serve(key.fileobj, mask, time.monotonic())
            while self._jobs:
                job, done = self._jobs.popleft()
                try:
                    job()
                    done.set_result(None)
                except BaseException as error:
                    done.set_exception(error)
            with self._changed:
                self._changed.notify_all()
        self._clean_up()

    def _wanted(self, now: float) -> Iterator[tuple[socket.socket, Link | None, int]]:
        if self._listener is not None:
            yield self._listener, None, selectors.EVENT_READ if self._accepting else 0
        for link in self.open_links:
            for sock, outgoing, incoming in link.ends():
                mask = selectors.EVENT_READ if outgoing.wants_read() else 0
                yield sock, link, mask | (selectors.EVENT_WRITE if incoming.wants_write(now) else 0)

    def _watch(self, sock: socket.socket, link: Link | None, mask: int) -> None:
        key = self._selector.get_map().get(sock)
        if key is None and mask:
            self._selector.register(sock, mask, link)
        elif key is not None and not mask:
            self._selector.unregister(sock)
        elif key is not None and key.events != mask:
            self._selector.modify(sock, mask, link)

    def _timeout(self, now: float) -> float | None:
        dues = [flow.due() for link in self.open_links for flow in (link.up, link.down)]
        return min((max(due - now, 0.0) for due in dues if due is not None and due > now), default=None)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._upstream), timeout=BOUND)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return
        for each in (client, server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(self, client, server)
        self.on_connect(link)
        self.links.append(link)

    def _clean_up(self) -> None:
        self._close_listener()
        for link in self.open_links:
            link._close()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound
