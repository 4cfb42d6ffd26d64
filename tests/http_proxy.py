"""A small HTTP proxy on the loopback, which does CONNECT well or badly, for tests of both shells."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

BOUND = 20.0
GOOD = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n"


class HttpProxy:
    """A proxy; names lead to where the test says.

    Attributes:
        url: The URL for channels.
        heads: The heads of the requests that came.
        answer: What is said to a request, in place of making a tunnel; the connection is closed behind it.
        silent: Whether nothing is said at all.
        byte_by_byte: Whether the answer comes in pieces of one byte.
        joined: Whether the answer and the first bytes of the server come in one piece.
    """

    def __init__(self, names: dict[str, int]) -> None:
        self.heads: list[str] = []
        self.answer: bytes | None = None
        self.silent = self.byte_by_byte = self.joined = False
        self.came = threading.Event()
        #: How many clients have left while nothing was said to them.
        self.left = threading.Semaphore(0)
        self._names = names
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(BOUND)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(client)
                self._start(self._serve, client)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                if not (data := client.recv(1)):
                    return
                head += data
            self.heads.append(head.decode())
            self.came.set()
            if self.silent:
                while client.recv(1000):
                    pass
                self.left.release()
            elif self.answer is not None:
                client.sendall(self.answer)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1000):
                    pass
            else:
                self._tunnel(client, head.split()[1].decode())

    def _tunnel(self, client: socket.socket, name: str) -> None:
        with socket.create_connection(("127.0.0.1", self._names[name]), timeout=BOUND) as server:
            self._sockets.append(server)
            first = server.recv(65_536) if self.joined else b""
            if self.byte_by_byte:
                for byte in GOOD:
                    client.sendall(bytes([byte]))
            else:
                client.sendall(GOOD + first)
            self._start(_relay, client, server)
            _relay(server, client)

    def close(self) -> None:
        """Ends all."""
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in list(self._threads):
            thread.join(BOUND)
            assert not thread.is_alive()


def _relay(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def http_proxy(names: dict[str, int]) -> Iterator[HttpProxy]:
    """Runs a proxy.

    Args:
        names: The port on the loopback for each ``host:port`` that a client may ask for.
    """
    proxy = HttpProxy(names)
    try:
        yield proxy
    finally:
        proxy.close()
