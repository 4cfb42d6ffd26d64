"""A connection on a socket pair: what the socket doesn't take at once, and how connections end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pygrpc.core.call import MessageLimits
from pygrpc.core.client_call import ClientCall
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.headers import request_headers
from pygrpc.core.http2 import Http2Settings
from pygrpc.core.metadata import Header
from pygrpc.sync.transport import Transport


class Owner:
    def on_ready(self) -> None: ...

    def on_draining(self) -> None: ...

    def on_unsent(self, calls: list[ClientCall]) -> None: ...


class Listener:
    def on_started(self) -> None: ...

    def on_initial_metadata(self) -> None: ...

    def on_message(self) -> None: ...

    def on_writable(self) -> None: ...

    def on_done(self) -> None: ...


class Recorded(Transport[ClientConnection]):
    def __init__(self, sock: socket.socket) -> None:
        self.wanted: list[bool] = []
        self.reasons: list[str] = []
        super().__init__(sock, ClientConnection(Owner(), Http2Settings(), 0.0))

    def want_write(self, wanted: bool) -> None:
        self.wanted.append(wanted)

    def on_lost(self, reason: str) -> None:
        self.reasons.append(reason)
        self.socket.close()


def headers(timeout: float | None) -> list[Header]:
    return request_headers("/a/b", "host", b"http", b"agent", timeout, None, [])


def call() -> ClientCall:
    return ClientCall(Listener(), headers, response_streaming=False, deadline=None, limits=MessageLimits(-1, -1))


@pytest.fixture
def ends() -> Iterator[tuple[Recorded, socket.socket]]:
    here, there = socket.socketpair()
    here.setblocking(False)
    there.settimeout(20)
    transport = Recorded(here)
    yield transport, there
    here.close()
    there.close()


def settings(window: int) -> bytes:
    """SETTINGS with a window for streams, and more for the connection."""
    values = bytes([0, 4]) + window.to_bytes(4, "big")
    update = bytes([0, 0, 4, 8, 0, 0, 0, 0, 0]) + (window - 65_535).to_bytes(4, "big")
    return bytes([0, 0, len(values), 4, 0, 0, 0, 0, 0]) + values + update


def test_what_is_queued_is_written(ends: tuple[Recorded, socket.socket]) -> None:
    transport, there = ends
    assert transport.dirty
    transport.flush()
    assert not transport.dirty
    assert there.recv(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    assert transport.wanted == []
    assert transport.peer.startswith("unix:")


def test_what_the_socket_does_not_take_is_kept(ends: tuple[Recorded, socket.socket]) -> None:
    transport, there = ends
    transport.flush()
    there.sendall(settings(1 << 27))
    transport.receive(0.0)
    large = call()
    large.send_message(bytes(20_000_000))
    transport.core.start(large)
    transport.flush()
    assert transport.wanted == [True]
    assert transport.core.sending_paused
    # Nothing more is made meanwhile.
    before = large.pending_bytes
    transport.flush()
    assert large.pending_bytes == before > 0
    received = 0
    while transport.core.sending_paused or large.pending_bytes:
        received += len(there.recv(1 << 20))
        transport.flush()
    assert transport.wanted[-1] is False
    assert received > 10_000_000
    assert transport.reasons == []


@pytest.mark.parametrize("abandoned", [True, False])
def test_nobody_waits_for_a_peer_that_is_gone(ends: tuple[Recorded, socket.socket], abandoned: bool) -> None:
    transport, there = ends
    transport.flush()
    there.sendall(settings(1 << 27))
    transport.receive(0.0)
    large = call()
    large.send_message(bytes(20_000_000))
    transport.core.start(large)
    transport.flush()
    transport.core.abandoned = abandoned
    transport.core.fail(0, "keepalive watchdog timeout")
    transport.flush()
    assert large.status is not None
    # One that only fails is told so, as soon as it has read what came before.
    assert transport.closed is abandoned


def test_the_peer_closes(ends: tuple[Recorded, socket.socket]) -> None:
    transport, there = ends
    lost = call()
    transport.core.start(lost)
    there.close()
    transport.receive(0.0)
    assert transport.reasons == ["the peer closed the connection"]
    assert transport.closed
    assert lost.ended
    transport.lost("again")
    transport.flush()
    assert len(transport.reasons) == 1


def test_what_the_peer_sent_before_it_closed_is_read(ends: tuple[Recorded, socket.socket]) -> None:
    transport, there = ends
    there.sendall(settings(70_000))
    there.close()
    transport.on_output()
    transport.flush()
    # Writing has failed, which is found out by reading.
    assert transport.reasons == []
    transport.flush()
    transport.receive(0.0)
    assert transport.core.ready
    transport.receive(0.0)
    assert transport.reasons == ["the peer closed the connection"]


def test_a_socket_that_fails(ends: tuple[Recorded, socket.socket]) -> None:
    transport, _ = ends
    transport.socket.close()
    transport.receive(0.0)
    assert transport.reasons == ["Bad file descriptor"]


def test_a_core_that_is_done_closes_the_socket(ends: tuple[Recorded, socket.socket]) -> None:
    transport, there = ends
    transport.core.drain()
    transport.flush()
    assert transport.reasons == ["the connection was shut down"]
    while there.recv(1000):
        pass


def test_an_answer_of_another_protocol_closes_the_socket(ends: tuple[Recorded, socket.socket]) -> None:
    transport, there = ends
    there.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    transport.receive(0.0)
    assert transport.dirty
    transport.flush()
    assert transport.closed


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("where", ["receive_data", "data_to_send"])
def test_an_interruption_in_the_core_ends_the_connection(
    where: str, ends: tuple[Recorded, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, there = ends
    there.sendall(settings(70_000))

    def interrupt(*arguments: Any) -> None:
        raise Interrupted

    monkeypatch.setattr(transport.core, where, interrupt)
    with pytest.raises(Interrupted):
        if where == "receive_data":
            transport.receive(0.0)
        else:
            transport.flush()
    assert transport.closed
    assert "interrupted" in transport.reasons[0]
