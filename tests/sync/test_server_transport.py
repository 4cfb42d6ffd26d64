"""Connections of a server: TLS, clients that misbehave, connections that go."""

import logging
import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import pygrpc
from pygrpc.sync.server_transport import ServerTransport
from tests.sync.peers import BOUND, ECHO, SERVICE, Gate, handlers, serve, wait
from tests.tls import certificates

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def secure_server(api: Any, **behaviours: Any) -> tuple[Any, int]:
    from concurrent import futures

    made = handlers(api, behaviours or ECHO)
    server = api.server(futures.ThreadPoolExecutor(4), handlers=[made])
    key, chain = certificates.server()
    port = server.add_secure_port("127.0.0.1:0", api.ssl_server_credentials([(key, chain)]))
    server.start()
    return server, port


def secure_channel(api: Any, port: int) -> Any:
    return api.secure_channel(f"localhost:{port}", api.ssl_channel_credentials(certificates.roots()))


def test_tls(pair: tuple[str, str]) -> None:
    client, api = (__import__(name) for name in pair)
    seen: list[Any] = []

    def handler(request: bytes, context: Any) -> bytes:
        seen.append(context.auth_context()["transport_security_type"])
        return request

    server, port = secure_server(api, uu=handler, ss=ECHO["ss"])
    with secure_channel(client, port) as channel:
        for size in (0, 10, 1_000_000):
            assert channel.unary_unary(f"/{SERVICE}/uu")(bytes(size), timeout=BOUND) == bytes(size)
        payloads = [bytes(50_000)] * 40
        assert list(channel.stream_stream(f"/{SERVICE}/ss")(iter(payloads))) == payloads
    server.stop(None)
    assert seen == [[b"ssl"]] * 3


def test_many_threads_over_tls(pair: tuple[str, str]) -> None:
    client, api = (__import__(name) for name in pair)
    server, port = secure_server(api)
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    with secure_channel(client, port) as channel:
        call = channel.unary_unary(f"/{SERVICE}/uu")

        def work(number: int) -> None:
            payload = bytes([number]) * 20_000
            answers.put(all(call(payload, timeout=BOUND) == payload for _ in range(20)))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        assert all(answers.get(timeout=BOUND) for _ in threads)
        for thread in threads:
            thread.join(BOUND)
    server.stop(None)


def test_a_connection_that_is_closed_leaves_no_timer() -> None:
    with serve(**ECHO) as link:
        service = link.server._service
        for _ in range(3):
            with pygrpc.insecure_channel(f"127.0.0.1:{link.port}") as channel:
                # A timeout would be a timer of the server too.
                assert channel.unary_unary(f"/{SERVICE}/uu")(b"x") == b"x"
            seen: queue.SimpleQueue[bool] = queue.SimpleQueue()

            def look(seen: queue.SimpleQueue[bool] = seen) -> None:
                seen.put(bool(service._transports))

            service.io.post(look)
            while seen.get(timeout=BOUND):
                # Each look is behind what the thread of the server has done meanwhile.
                service.io.post(look)
            assert [entry for entry in service.io._timers if entry[2].action is not None] == []


def test_a_client_without_tls_at_a_secure_port() -> None:
    server, port = secure_server(pygrpc)
    with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(pygrpc.RpcError) as caught:
        channel.unary_unary(f"/{SERVICE}/uu")(b"")
    assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
    with secure_channel(pygrpc, port) as channel:
        assert channel.unary_unary(f"/{SERVICE}/uu")(b"a") == b"a"
    server.stop(None)


def test_a_tls_client_at_an_insecure_port() -> None:
    with serve(**ECHO) as link, secure_channel(pygrpc, link.port) as channel, pytest.raises(pygrpc.RpcError) as caught:
        channel.unary_unary(f"/{SERVICE}/uu")(b"")
    assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
    assert "TLS" in caught.value.details()


def test_a_certificate_that_is_not_trusted() -> None:
    server, port = secure_server(pygrpc)
    credentials = pygrpc.ssl_channel_credentials(certificates.roots("other"))
    with (
        pygrpc.secure_channel(f"localhost:{port}", credentials) as channel,
        pytest.raises(pygrpc.RpcError, match="the server's certificate was refused"),
    ):
        channel.unary_unary(f"/{SERVICE}/uu")(b"")
    server.stop(None)


def test_a_handshake_in_pieces() -> None:
    server, port = secure_server(pygrpc)
    context = ssl.create_default_context(cadata=certificates.roots().decode())
    context.set_alpn_protocols(["h2"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=BOUND) as sock:

        def step(action: Any) -> Any:
            while True:
                try:
                    result = action()
                    break
                except ssl.SSLWantReadError:
                    result = None
                    for byte in outgoing.read():
                        sock.sendall(bytes([byte]))
                    incoming.write(sock.recv(10_000))
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))
            return result

        step(tls.do_handshake)
        assert tls.selected_alpn_protocol() == "h2"
        step(lambda: tls.write(PREFACE))
        # The server's SETTINGS.
        assert step(lambda: tls.read(9))[3] == 4
    server.stop(None)


def test_stopping_during_a_handshake() -> None:
    server, port = secure_server(pygrpc)
    with socket.create_connection(("127.0.0.1", port), timeout=BOUND) as sock:
        sock.sendall(b"\x16\x03\x01")
        with secure_channel(pygrpc, port) as channel:
            assert channel.unary_unary(f"/{SERVICE}/uu")(b"a") == b"a"
        server.stop(0).wait(BOUND)
        assert server.wait_for_termination(BOUND) is False


@pytest.mark.parametrize("secure", [False, True])
def test_a_client_that_says_nothing_is_dropped(secure: bool) -> None:
    from concurrent import futures

    server = pygrpc.server(futures.ThreadPoolExecutor(1), options=(("grpc.server_handshake_timeout_ms", 50),))
    if secure:
        port = server.add_secure_port("127.0.0.1:0", pygrpc.ssl_server_credentials([certificates.server()]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with socket.create_connection(("127.0.0.1", port), timeout=BOUND) as sock:
        while sock.recv(1000):
            pass
    server.stop(None)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, PREFACE + b"\xff" * 100])
def test_a_client_that_speaks_something_else(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with serve(**ECHO) as link:
        with socket.create_connection(("127.0.0.1", link.port), timeout=BOUND) as sock:
            sock.sendall(garbage)
            while sock.recv(1000):
                pass
        assert link.method("uu")(b"a") == b"a"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_client_that_goes_ends_its_calls() -> None:
    gate = Gate()
    with serve(uu=gate, ss=ECHO["ss"]) as link:
        channel = link.open_channel()
        channel.unary_unary(f"/{SERVICE}/uu").future(b"").add_done_callback(lambda call: None)
        wait(gate.entered)
        transport = next(iter(link.server._service._transports))
        assert isinstance(transport, ServerTransport)
        assert transport.peer.startswith("ipv4:127.0.0.1:")
        channel.close()
        wait(gate.ended)
        gate.leave.set()


def test_local_credentials_over_tcp() -> None:
    from concurrent import futures

    server = pygrpc.server(futures.ThreadPoolExecutor(1), handlers=[handlers(pygrpc, ECHO)])
    port = server.add_secure_port("127.0.0.1:0", pygrpc.local_server_credentials())
    unix_only = pygrpc.local_server_credentials(pygrpc.LocalConnectionType.UDS)
    other = server.add_secure_port("127.0.0.1:0", unix_only)
    server.start()
    credentials = pygrpc.local_channel_credentials()
    with pygrpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        assert channel.unary_unary(f"/{SERVICE}/uu")(b"a") == b"a"
    with pygrpc.secure_channel(f"127.0.0.1:{other}", credentials) as channel, pytest.raises(pygrpc.RpcError):
        channel.unary_unary(f"/{SERVICE}/uu")(b"a")
    server.stop(None)


def test_a_reader_that_takes_nothing_is_waited_for_by_nobody_else() -> None:
    sent = threading.Event()

    def handler(request: bytes, context: Any) -> Iterator[bytes]:
        sent.set()
        yield bytes(3_000_000)

    options = (("grpc.http2.lookahead_bytes", 2**31 - 1),)
    with serve(us=handler, uu=ECHO["uu"], channel={"options": options}) as link:
        calls = [link.method("us")(b"") for _ in range(10)]
        wait(sent)
        with link.open_channel() as other:
            assert other.unary_unary(f"/{SERVICE}/uu")(b"a", timeout=BOUND) == b"a"
        assert [sum(map(len, call)) for call in calls] == [3_000_000] * 10
