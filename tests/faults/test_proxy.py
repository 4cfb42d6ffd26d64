"""The proxy of these tests does what it says."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.faults.proxy import BOUND, BUFFER, Link, Proxy


class Ends:
    """A client's socket and the server's, with the proxy between them."""

    def __init__(self, proxy: Proxy, listener: socket.socket) -> None:
        self.proxy = proxy
        self.client = socket.create_connection(("127.0.0.1", proxy.port), BOUND)
        self.server, _ = listener.accept()
        self.server.settimeout(BOUND)
        self.link: Link = proxy.link(0)


@pytest.fixture
def ends() -> Iterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
        listener.settimeout(BOUND)
        made = Ends(proxy, listener)
        with made.client, made.server:
            yield made


def test_bytes_go_both_ways_and_so_does_the_end(ends: Ends) -> None:
    ends.client.sendall(b"there")
    assert ends.server.recv(9) == b"there"
    ends.client.shutdown(socket.SHUT_WR)
    assert ends.server.recv(9) == b""
    ends.server.sendall(b"back")
    assert ends.client.recv(9) == b"back"
    ends.server.close()
    assert ends.client.recv(9) == b""
    ends.proxy.wait(lambda: ends.link.closed)
    assert (ends.link.up.forwarded, ends.link.down.forwarded) == (5, 4)


def test_what_is_held_goes_on_when_it_is_released(ends: Ends) -> None:
    ends.link.hold(ends.link.up)
    ends.client.sendall(b"abc")
    ends.server.sendall(b"x")
    assert ends.client.recv(9) == b"x"
    ends.proxy.wait(lambda: ends.link.up.received == 3)
    assert ends.link.up.forwarded == 0
    ends.link.allow(ends.link.up, 2)
    assert ends.server.recv(9) == b"ab"
    ends.link.release()
    assert ends.server.recv(9) == b"c"


def test_a_sender_is_slowed_while_it_is_held(ends: Ends) -> None:
    ends.link.hold()
    ends.client.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 64 << 20:
            sent += ends.client.send(bytes(BUFFER))
    assert sent < 64 << 20
    assert ends.link.up.received <= 2 * BUFFER
    ends.link.release()
    while sent:
        sent -= len(ends.server.recv(BUFFER))


def test_a_black_hole_passes_nothing_on_and_not_the_end_either(ends: Ends) -> None:
    ends.link.black_hole(ends.link.up)
    ends.client.sendall(b"abc")
    ends.client.close()
    ends.proxy.wait(lambda: ends.link.up.ended)
    ends.server.setblocking(False)
    with pytest.raises(BlockingIOError):
        ends.server.recv(9)


def test_a_cut_is_an_end_and_a_reset_is_an_error(ends: Ends) -> None:
    ends.link.cut()
    assert ends.client.recv(9) == ends.server.recv(9) == b""
    with socket.create_connection(("127.0.0.1", ends.proxy.port), BOUND) as client:
        ends.proxy.link(1).reset()
        with pytest.raises(ConnectionResetError):
            client.recv(9)


def test_half_a_close_leaves_the_other_direction_open(ends: Ends) -> None:
    ends.link.half_close(ends.link.down)
    assert ends.client.recv(9) == b""
    ends.server.sendall(b"dropped")
    ends.client.sendall(b"there")
    assert ends.server.recv(9) == b"there"


def test_a_delay_keeps_the_order(ends: Ends) -> None:
    ends.link.delay(0.01)
    for each in (b"a", b"b", b"c"):
        ends.client.sendall(each)
    got = b""
    while len(got) < 3:
        got += ends.server.recv(9)
    assert got == b"abc"


def test_connections_are_refused_or_ignored(ends: Ends) -> None:
    ends.proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ends.proxy.port), BOUND)
    ends.proxy.accept()
    ends.proxy.ignore()
    with socket.create_connection(("127.0.0.1", ends.proxy.port), BOUND):
        assert len(ends.proxy.links) == 1
        ends.proxy.accept()
        ends.proxy.link(1)


def test_a_server_that_is_down_is_a_reset(ends: Ends) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with (
            Proxy(nobody.getsockname()[1]) as proxy,
            pytest.raises(ConnectionResetError),
            socket.create_connection(("127.0.0.1", proxy.port), BOUND) as client,
        ):
            client.recv(9)
