"""Look-ups and resolvers of the user's own, with a shell that does at once what it is asked for."""

from __future__ import annotations

import logging
import queue
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pygrpc import _naming, resolvers
from pygrpc._naming import Naming, look_up
from pygrpc.core.targets import Address, parse_target

BOUND = 20.0


class Shell:
    """Stands for a shell and for the core in it."""

    def __init__(self) -> None:
        #: What the core was told.
        self.told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.core: Any = self

    def resolved(self, endpoints: Any, now: float, config: Any = None) -> None:
        self.told.put(([(str(each.address), dict(each.attributes)) for each in endpoints], config))

    def resolution_failed(self, reason: str, now: float) -> None:
        self.told.put(reason)

    def now(self) -> float:
        return 1.0

    def on_core(self, action: Callable[[], None]) -> None:
        action()

    def run_user_code(self, action: Callable[[], None]) -> None:
        action()

    def next(self) -> Any:
        return self.told.get(timeout=BOUND)


@pytest.fixture
def shell() -> Shell:
    return Shell()


def naming(shell: Shell, target: str) -> Naming:
    return Naming(shell, parse_target(target))


# The system's resolver.


@pytest.mark.parametrize("target", ["127.0.0.1:1", "ipv4:127.0.0.1:1", "[::1]:1", "unix:/path", "[fe80::1%25lo]:1"])
def test_an_address_needs_no_look_up(shell: Shell, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.setattr(_naming.threading, "Thread", None)
    assert naming(shell, target).resolve()
    ((address, attributes),), config = shell.next()
    assert address == str(parse_target(target).addresses[0])
    assert attributes == {}
    assert config is None


def getaddrinfo(*names: Any) -> Callable[..., Any]:
    """Stands for the system's resolver, which knows these for any name."""

    def find(host: Any, port: int, **options: Any) -> Any:
        if not names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (family, socket.SOCK_STREAM, 6, "", (text, port, *rest))
            for family, (text, *rest) in (
                (socket.AF_INET6 if ":" in name[0] else socket.AF_INET, name) for name in names
            )
        ]

    return find


@pytest.mark.parametrize("target", ["localhost:1", "localhost:1?a", "127.1:1", "passthrough:///localhost:1"])
def test_a_name_is_looked_up(shell: Shell, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.setattr(_naming.socket, "getaddrinfo", getaddrinfo(("::1", 0, 0), ("127.0.0.1",)))
    assert naming(shell, target).resolve()
    assert shell.next() == ([("[::1]:1", {}), ("127.0.0.1:1", {})], None)


def test_a_name_that_nobody_knows(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_naming.socket, "getaddrinfo", getaddrinfo())
    naming(shell, "absent:1").resolve()
    assert shell.next() == "DNS resolution failed for absent:1: Name or service not known"


@pytest.mark.parametrize("host", ["a" * 300, "a%00b", "ä" * 70, "..", "a..b"])
def test_what_cannot_be_a_name(shell: Shell, host: str) -> None:
    naming(shell, f"{host}:1").resolve()
    assert shell.next().startswith("DNS resolution failed for ")


def test_a_link_local_address_keeps_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_naming.socket, "getaddrinfo", getaddrinfo(("fe80::1", 0, 2), ("fe80::2%lo", 0, 3)))
    assert look_up(Address("name", 1)) == [Address("fe80::1%2", 1), Address("fe80::2%lo", 1)]


def test_what_the_systems_resolver_cannot_do_is_said_once(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _naming._report_settings.cache_clear()
    monkeypatch.setattr(_naming.socket, "getaddrinfo", getaddrinfo(("127.0.0.1",)))
    with caplog.at_level(logging.WARNING, "pygrpc"):
        for resolver in ("", "native", "ares", "ares"):
            monkeypatch.setenv("GRPC_DNS_RESOLVER", resolver)
            naming(shell, "a:1").resolve()
            shell.next()
        monkeypatch.delenv("GRPC_DNS_RESOLVER")
        for _ in range(2):
            naming(shell, "dns://8.8.8.8/a:1").resolve()
            shell.next()
    assert caplog.messages == [
        "GRPC_DNS_RESOLVER='ares' has no effect: names are looked up by the system's resolver",
        "names are looked up by the system's resolver, not by the DNS server '8.8.8.8'",
    ]


# Resolvers of the user's own.


class Mine(resolvers.Resolver):
    """Keeps what it is given."""

    made: list[Mine]

    def __init__(self, target: resolvers.Target, listener: resolvers.Listener) -> None:
        self.target, self.listener = target, listener
        self.hints = self.closed = 0
        self.made.append(self)

    def request_resolution(self) -> None:
        self.hints += 1

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def made() -> Iterator[list[Mine]]:
    Mine.made = []
    resolvers.register("Mine", Mine)
    yield Mine.made
    resolvers.unregister("MINE")
    assert resolvers.find("mine") is None


def test_a_resolver_is_made_when_it_is_needed_and_told_when_it_is_not(shell: Shell, made: list[Mine]) -> None:
    it = naming(shell, "mine://a/b")
    assert not made
    assert it.resolve()
    (mine,) = made
    assert mine.target == ("mine", "a", "b")
    # It is asked again, and may have nothing to say.
    assert not it.resolve()
    assert mine.hints == 1
    it.stop()
    assert mine.closed == 1
    it.stop()
    assert mine.closed == 1
    # Behind that nothing comes of what it says.
    mine.listener.update(["127.0.0.1:1"])
    mine.listener.error("late")
    assert shell.told.empty()
    assert it.resolve()
    assert len(made) == 2


def test_a_resolver_says_what_it_has_found(shell: Shell, made: list[Mine]) -> None:
    naming(shell, "mine:b").resolve()
    listener = made[0].listener
    listener.update(["127.0.0.1:1", resolvers.Address("unix:/a", {"weight": 2})], attributes={"zone": "x", "weight": 1})
    assert shell.next() == (
        [("127.0.0.1:1", {"zone": "x", "weight": 1}), ("unix:/a", {"zone": "x", "weight": 2})],
        None,
    )
    listener.update([])
    assert shell.next() == ([], None)
    listener.error("nobody home")
    assert shell.next() == "nobody home"


@pytest.mark.parametrize("config", ['{"methodConfig": [{"name": [{}], "timeout": "1s"}]}', None])
def test_a_resolver_may_have_a_service_config(shell: Shell, made: list[Mine], config: str | None) -> None:
    naming(shell, "mine:b").resolve()
    made[0].listener.update([], config or {"methodConfig": [{"name": [{}], "timeout": "1s"}]})
    assert shell.next()[1].method("/a/b").timeout == 1.0


def test_a_service_config_that_is_wrong_is_passed_on_as_such(
    shell: Shell, made: list[Mine], caplog: pytest.LogCaptureFixture
) -> None:
    naming(shell, "mine:b").resolve()
    made[0].listener.update([], {"methodConfig": 1})
    assert "methodConfig" in str(shell.next()[1])
    assert "the resolver of 'mine' has an invalid service config: methodConfig" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((["localhost:1"],), ValueError, "host name where a numeric IP address belongs"),
        ((["127.0.0.1:x"],), ValueError, "must be a number"),
        (([1],), TypeError, "must be text"),
        (("127.0.0.1:1",), TypeError, "must be a list of texts"),
        (([], 1), TypeError, "JSON"),
        (([], {"a": object()}), TypeError, "JSON"),
    ],
)
def test_who_says_what_cannot_be_is_told(
    shell: Shell, made: list[Mine], arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    naming(shell, "mine:b").resolve()
    with pytest.raises(error, match=text):
        made[0].listener.update(*arguments)
    assert shell.told.empty()


def test_a_resolver_that_raises(shell: Shell, made: list[Mine], caplog: pytest.LogCaptureFixture) -> None:
    def broken(target: resolvers.Target, listener: resolvers.Listener) -> Mine:
        if not made:
            made.append(None)  # type: ignore[arg-type]
            raise KeyError("once")
        return Mine(target, listener)

    resolvers.register("mine", broken)
    it = naming(shell, "mine:b")
    it.resolve()
    assert shell.next() == "the resolver of 'mine' raised KeyError: 'once'"
    it.resolve()
    mine = made[1]
    mine.request_resolution = mine.close = lambda: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    it.resolve()
    assert shell.next() == "the resolver of 'mine' raised ZeroDivisionError: division by zero"
    it.stop()
    assert "the resolver of 'mine' raised while it was closed" in caplog.text


@pytest.mark.parametrize(
    ("scheme", "text"),
    [("dns", "the library resolves it itself"), ("", "must be a letter"), ("a:b", "must be a letter")],
)
def test_a_scheme_that_cannot_be_registered(scheme: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        resolvers.register(scheme, Mine)
