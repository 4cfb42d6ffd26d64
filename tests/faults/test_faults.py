"""What becomes of calls when the network between a channel and a server fails."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.clients import CLIENTS, Client
from tests.faults.load import options
from tests.faults.proxy import Link, Proxy
from tests.faults.servers import ServerProcess, servers

#: The servers of these tests; grpcio stands for what we have not written.
KINDS = ["pygrpc-sync", "pygrpc-aio", "grpcio-sync"]
MIB = 1 << 20


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with servers(request.param) as (running,):
        yield running


@pytest.fixture
def proxy(server: ServerProcess) -> Iterator[Proxy]:
    with Proxy(server.port) as running:
        yield running


@pytest.fixture(params=CLIENTS)
def make_client(request: pytest.FixtureRequest) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(target: str, *more: tuple[str, int], policy: str = "pick_first", retry: bool = False) -> Client:
        made.append(CLIENTS[request.param](target, [*options(policy, retry), *more]))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def client(proxy: Proxy, make_client: Callable[..., Client]) -> Client:
    return make_client(proxy.target)


FAULTS = pytest.mark.parametrize(
    "fault",
    [Link.cut, Link.reset, lambda link: link.half_close(link.down), lambda link: link.half_close(link.up)],
    ids=["cut", "reset", "server's half", "client's half"],
)


# Connections that end.


@FAULTS
def test_a_connection_that_ends_between_calls(proxy: Proxy, client: Client, fault: Callable[[Link], None]) -> None:
    assert client.call()[0] == "OK"
    fault(proxy.link())
    client.wait_for_state(lambda state: state != "READY")
    assert client.call()[0] == "OK"
    assert len(proxy.links) == 2


@FAULTS
def test_a_connection_that_ends_during_a_call(proxy: Proxy, client: Client, fault: Callable[[Link], None]) -> None:
    stream = client.stream("us")
    stream.read()
    fault(proxy.link())
    assert stream.end()[0] == "UNAVAILABLE"
    # A server may end the calls first, and the connection behind them.
    client.wait_for_state(lambda state: state != "READY")
    assert client.call()[0] == "OK"


@FAULTS
def test_a_connection_that_ends_during_a_conversation(
    proxy: Proxy, client: Client, fault: Callable[[Link], None]
) -> None:
    streams = [client.stream(), client.stream()]
    for stream in streams:
        stream.write(b"x")
        assert stream.read() == b"x"
    fault(proxy.link())
    assert [stream.end()[0] for stream in streams] == ["UNAVAILABLE", "UNAVAILABLE"]
    client.wait_for_state(lambda state: state != "READY")
    stream = client.stream()
    stream.write(b"x")
    assert stream.end() == ("OK", [b"x"])


@FAULTS
def test_the_end_of_a_connection_is_survived_with_a_retry_policy(
    proxy: Proxy, make_client: Callable[..., Client], fault: Callable[[Link], None]
) -> None:
    client = make_client(proxy.target, retry=True)
    client.wait_for_state(lambda state: state == "READY", connect=True)
    link = proxy.link()
    link.hold(link.up)
    end = client.begin()
    fault(link)
    assert end()[0] == "OK"
    assert len(proxy.links) == 2


def test_answers_that_had_come_are_read_after_the_end(proxy: Proxy, client: Client) -> None:
    stream = client.stream("us")
    name = stream.read()
    proxy.link().cut()
    assert int(name) > 0
    assert stream.end()[0] == "UNAVAILABLE"


# Connections that can't be had.


@pytest.mark.parametrize("fault", [Link.cut, Link.reset], ids=["cut", "reset"])
def test_connections_that_end_before_they_work(proxy: Proxy, client: Client, fault: Callable[[Link], None]) -> None:
    def end(link: Link) -> None:
        if len(proxy.links) < 2:
            link._close(reset=fault is Link.reset)

    proxy.on_connect = end
    assert client.call(wait_for_ready=True)[0] == "OK"
    assert len(proxy.links) == 3


def test_connection_backoff(proxy: Proxy, client: Client) -> None:
    # doc/connection-backoff-interop-test-description.md of the grpc repository, with smaller delays.
    tried: list[float] = []

    def end(link: Link) -> None:
        tried.append(time.monotonic())
        if len(tried) <= 4:
            link._close()

    proxy.on_connect = end
    begun = time.monotonic()
    assert client.call(wait_for_ready=True)[0] == "OK"
    # The delays are 0.1, 0.16, 0.256, 0.41 seconds, 20 % more or less.
    assert tried[4] - begun >= 0.8 * (0.1 + 0.16 + 0.256 + 0.41)
    proxy.links[4].cut()
    client.wait_for_state(lambda state: state != "READY")
    assert client.call()[0] == "OK"
    assert len(tried) == 6


def test_connections_that_never_work_are_given_up(proxy: Proxy, make_client: Callable[..., Client]) -> None:
    def black_hole(link: Link) -> None:
        link.up.dropping = link.down.dropping = not proxy.links

    proxy.on_connect = black_hole
    client = make_client(proxy.target, ("grpc.min_reconnect_backoff_ms", 100))
    assert client.call(wait_for_ready=True)[0] == "OK"
    assert len(proxy.links) >= 2


def test_a_server_that_refuses_connections_for_a_while(proxy: Proxy, client: Client) -> None:
    proxy.refuse()
    code, details = client.call()
    assert code == "UNAVAILABLE"
    assert "Connection refused" in details
    waiting = client.begin(wait_for_ready=True)
    proxy.accept()
    assert waiting()[0] == "OK"


def test_a_call_that_waits_for_ready_keeps_its_deadline(proxy: Proxy, client: Client) -> None:
    proxy.refuse()
    assert client.call(wait_for_ready=True, timeout=0.3)[0] == "DEADLINE_EXCEEDED"


def test_a_server_that_does_not_answer_for_a_while(proxy: Proxy, client: Client) -> None:
    proxy.ignore()
    assert client.call(timeout=0.3)[0] == "DEADLINE_EXCEEDED"
    waiting = client.begin()
    proxy.accept()
    assert waiting()[0] == "OK"


@pytest.mark.parametrize("policy", ["pick_first", "round_robin"])
def test_two_addresses_of_three_are_dead(proxy: Proxy, make_client: Callable[..., Client], policy: str) -> None:
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        dead = ",".join(f"127.0.0.1:{each.getsockname()[1]}" for each in (first, second))
        client = make_client(f"ipv4:{dead},{proxy.target}", policy=policy)
        assert [client.call()[0] for _ in range(5)] == ["OK"] * 5
        assert len(proxy.links) == 1


# Connections that are slow.


def test_a_black_hole_is_found_by_the_deadline(proxy: Proxy, client: Client) -> None:
    assert client.call()[0] == "OK"
    proxy.link().black_hole()
    assert client.call(timeout=0.3)[0] == "DEADLINE_EXCEEDED"
    assert len(proxy.links) == 1


def test_a_connection_that_had_been_held_up_goes_on(proxy: Proxy, client: Client) -> None:
    assert client.call()[0] == "OK"
    link = proxy.link()
    link.hold()
    assert client.call(timeout=0.3)[0] == "DEADLINE_EXCEEDED"
    waiting = [client.begin() for _ in range(10)]
    link.release()
    assert [end()[0] for end in waiting] == ["OK"] * 10
    assert len(proxy.links) == 1


def test_a_slow_network(proxy: Proxy, client: Client) -> None:
    proxy.on_connect = lambda link: (setattr(link.up, "latency", 0.005), setattr(link.down, "latency", 0.005))
    assert [client.call()[0] for _ in range(5)] == ["OK"] * 5
    assert client.upload(iter([bytes(MIB)] * 3)) == ("OK", b"%d" % (3 * MIB))
    code, answers = client.call(b"32", "us_flood")
    assert (code, sum(map(len, answers))) == ("OK", 2 * MIB)


def test_a_few_bytes_at_a_time(proxy: Proxy, client: Client) -> None:
    client.wait_for_state(lambda state: state == "READY", connect=True)
    link = proxy.link()
    link.hold(link.down)
    waiting = client.begin(b"2", "us_flood")
    for size in (1, 2, 3, 5, 8, 13, 21, 34, 55):
        target = link.down.forwarded + size
        link.allow(link.down, size)
        proxy.wait(lambda target=target: link.down.forwarded == target)
    link.release()
    assert waiting() == ("OK", [bytes(65_536)] * 2)


def test_what_cannot_be_sent_is_not_kept(proxy: Proxy, client: Client) -> None:
    client.wait_for_state(lambda state: state == "READY", connect=True)
    proxy.link().hold()
    taken = 0

    def requests() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1024):
            taken += 1
            yield bytes(65_536)

    assert client.upload(requests(), timeout=0.5)[0] == "DEADLINE_EXCEEDED"
    # Of 64 MiB. What the kernel takes is a few MiB.
    assert taken * 65_536 < 24 * MIB


def test_a_server_does_not_keep_what_it_cannot_send(server: ServerProcess, proxy: Proxy, client: Client) -> None:
    client.wait_for_state(lambda state: state == "READY", connect=True)
    # Whatever a first answer needs is there.
    assert client.call(b"16", "us_flood")[0] == "OK"
    before = memory(server)
    link = proxy.link()
    link.hold(link.down)
    assert client.call(b"1024", "us_flood", timeout=0.5)[0] == "DEADLINE_EXCEEDED"
    assert memory(server) - before < 24 * MIB
    link.release()
    assert client.call()[0] == "OK"


def memory(server: ServerProcess) -> int:
    """The most resident memory that a server has had, in bytes."""
    lines = Path(f"/proc/{int(server.name)}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
