"""The limit that blocking sockets and loopback set: what `raw_asyncio` does, with a connection for each thread."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from benchmarks.adapters import Hold
from benchmarks.adapters.raw_asyncio import COUNT, ECHO, PREFIX_SIZE, STREAM
from benchmarks.certificates import client_context, server_context
from benchmarks.work import HOST, Client, Work, frame

_READ_SIZE = 1 << 18


def _read(connection: socket.socket, buffer: bytearray, size: int) -> bytes:
    """Take that many bytes off the buffer, which is filled from the connection; fewer at its end."""
    while len(buffer) < size:
        data = connection.recv(_READ_SIZE)
        if not data:
            break
        buffer += data
    taken = bytes(buffer[:size])
    del buffer[:size]
    return taken


def _answer(connection: socket.socket, work: Work) -> None:
    message = frame(work.payload)
    buffer = bytearray()
    mode = _read(connection, buffer, 1)
    expected = len(message) * (work.messages if mode == COUNT else 1)
    if mode == COUNT:
        into = memoryview(bytearray(_READ_SIZE))
        while True:
            left = expected - len(buffer)
            buffer.clear()
            while left:
                received = connection.recv_into(into[: min(left, _READ_SIZE)])
                if not received:
                    return
                left -= received
            connection.sendall(message)
    while request := _read(connection, buffer, expected):
        for _ in range(work.messages if mode == STREAM else 1):
            connection.sendall(request)


def _serve(connection: socket.socket, work: Work, context: ssl.SSLContext | None) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A client that leaves while it is being answered has what it wanted.
    with suppress(OSError), _encrypted(connection, context, server_side=True) as secured:
        _answer(secured, work)


def _encrypted(connection: socket.socket, context: ssl.SSLContext | None, server_side: bool) -> socket.socket:
    if context is None:
        return connection
    return context.wrap_socket(connection, server_side, server_hostname=None if server_side else HOST)


def server(hold: Hold, work: Work) -> None:
    """Serve with a thread for each connection."""
    context = server_context(work)
    with socket.create_server((HOST, 0), backlog=128) as listener:

        def accept() -> None:
            # The end of the process ends this thread and those of the connections.
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=_serve, args=(connection, work, context), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        hold(listener.getsockname()[1])


@contextmanager
def client(port: int, work: Work) -> Iterator[Client]:
    """Connect once for each thread that calls."""
    mode = {"download": STREAM, "upload": COUNT}.get(work.call, ECHO)
    context = client_context(work)
    size = PREFIX_SIZE + work.size
    local = threading.local()
    with ExitStack() as stack:

        def connected() -> tuple[socket.socket, bytearray]:
            if not hasattr(local, "connection"):
                connection = _encrypted(socket.create_connection((HOST, port)), context, server_side=False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(mode)
                stack.callback(connection.close)
                local.connection, local.buffer = connection, bytearray()
            return local.connection, local.buffer

        yield _client(connected, work, size)


def _client(connected: Callable[[], tuple[socket.socket, bytearray]], work: Work, size: int) -> Client:
    def unary(message: bytes) -> bytes:
        connection, buffer = connected()
        connection.sendall(frame(message))
        return _read(connection, buffer, size)[PREFIX_SIZE:]

    def download(request: bytes) -> Iterator[bytes]:
        connection, buffer = connected()
        connection.sendall(frame(work.payload))
        for _ in range(work.messages):
            yield _read(connection, buffer, size)[PREFIX_SIZE:]

    def upload(messages: Iterable[bytes]) -> bytes:
        connection, buffer = connected()
        total = 0
        for message in messages:
            connection.sendall(frame(message))
            total += len(message)
        # The server answers once it has counted every byte.
        _read(connection, buffer, size)
        return b"%d" % total

    return Client(unary, download, upload)
