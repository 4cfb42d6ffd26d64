"""Mistakes of users: the errors of grpcio, which runs beside, with texts that say what to do."""

import importlib
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import pytest

from tests.sync.peers import ARITIES, BOUND, ECHO, NAMES, Link, serve

#: What has to come of a mistake: a type of error, or the name of a status; and what pygrpc's text says of it.
Expected = type[Exception] | str


@pytest.fixture(params=NAMES)
def api(request: pytest.FixtureRequest) -> Any:
    """The package that the mistake is made with."""
    return importlib.import_module(request.param)


@pytest.fixture
def link(api: Any) -> Iterator[Link]:
    with serve((api.__name__, "pygrpc"), **ECHO) as opened:
        yield opened


def check(api: Any, expected: Expected, text: str, act: Callable[[], Any]) -> None:
    """Does something that fails as expected; texts are pygrpc's own."""
    with pytest.raises(api.RpcError if isinstance(expected, str) else expected) as caught:
        act()
    error: Any = caught.value
    if isinstance(expected, str):
        assert error.code() is api.StatusCode[expected]
    if api.__name__ == "pygrpc":
        assert text in (error.details() if isinstance(expected, str) else str(error))


def start(link: Link, arity: str, **arguments: Any) -> Any:
    """Makes a call with one request and returns its outcome."""
    request = b"x" if arity[0] == "u" else iter([b"x"])
    outcome = link.method(arity)(request, **{"timeout": BOUND, **arguments})
    return list(outcome) if arity[1] == "s" else outcome


ARGUMENTS: dict[str, tuple[dict[str, Any], Expected, str]] = {
    "not ASCII": ({"metadata": (("key", "é"),)}, "INTERNAL", "use a key that ends in -bin"),
    "line break": ({"metadata": (("key", "a\nb"),)}, "INTERNAL", "may hold only printable ASCII"),
    "upper case": ({"metadata": (("Key", "v"),)}, "INTERNAL", "the key 'Key' may hold only 0-9 a-z _ . -"),
    "empty key": ({"metadata": (("", "v"),)}, "INTERNAL", "may hold only"),
    "text for bytes": ({"metadata": (("k-bin", "v"),)}, TypeError, "the value of 'k-bin' must be bytes"),
    "number": ({"metadata": (("k", 1),)}, TypeError, "the value of 'k' must be str or bytes"),
    "no pair": ({"metadata": (("k",),)}, ValueError, "is not a pair of key and value"),
    "dict": ({"metadata": {"k": "v"}}, ValueError, "pass its items()"),
    "no metadata": ({"metadata": 42}, TypeError, "must be pairs such as"),
    "timeout": ({"timeout": "a"}, TypeError, "a timeout must be a number of seconds, or None, not 'a'"),
    "negative timeout": ({"timeout": -1}, "DEADLINE_EXCEEDED", "Deadline Exceeded"),
    "no time": ({"timeout": float("nan")}, "DEADLINE_EXCEEDED", "Deadline Exceeded"),
    "compression": ({"compression": "gzip"}, KeyError, "use a member of grpc.Compression"),
}


@pytest.mark.parametrize("arity", ARITIES)
@pytest.mark.parametrize(("arguments", "expected", "text"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_an_argument_of_a_call(
    api: Any, link: Link, arity: str, arguments: dict[str, Any], expected: Expected, text: str
) -> None:
    check(api, expected, text, lambda: start(link, arity, **arguments))
    # Nothing else has suffered.
    assert link.method("uu")(b"x") == b"x"


@pytest.mark.parametrize("arity", ["uu", "su"])
@pytest.mark.parametrize("key", [b"key", b"key-bin"])
def test_a_key_may_be_bytes(link: Link, arity: str, key: bytes) -> None:
    assert start(link, arity, metadata=((key, b"v"),)) == b"x"


def fail(value: Any) -> Any:
    raise KeyError("a mistake")


def nothing(value: Any) -> Any:
    return None


@pytest.mark.parametrize("arity", ARITIES)
@pytest.mark.parametrize("broken", [fail, nothing])
def test_a_serializer_that_gives_nothing(api: Any, link: Link, arity: str, broken: Callable[[Any], Any]) -> None:
    for argument, text in (("request_serializer", "serializing request"), ("response_deserializer", "deserializing")):
        method = link.method(arity, **{argument: broken})
        request = b"x" if arity[0] == "u" else iter([b"x"])

        def act(method: Any = method, request: Any = request) -> None:
            outcome = method(request, timeout=BOUND)
            if arity[1] == "s":
                list(outcome)

        check(api, "INTERNAL", text, act)


HANDLERS: dict[str, tuple[Callable[[Any, Any], Any], str, str]] = {
    "returns None": (lambda request, context: None, "INTERNAL", "Failed to serialize response!"),
    "raises": (fail, "UNKNOWN", "Exception calling application: "),
    "has too few parameters": (lambda request: request, "UNKNOWN", "takes 1 positional argument"),  # type: ignore[misc]
    "has a code that is none": (lambda request, context: context.set_code("x") or request, "UNKNOWN", ""),
    "aborts with OK": (lambda request, context: context.abort("OK", ""), "UNKNOWN", ""),
    "sends bad trailers": (
        lambda request, context: context.set_trailing_metadata((("Key", "v"),)) or request,
        "INTERNAL",
        "the key 'Key' may hold only",
    ),
}


@pytest.mark.parametrize(("handler", "code", "text"), HANDLERS.values(), ids=HANDLERS)
def test_a_handler(handler: Callable[..., Any], code: str, text: str) -> None:
    api = importlib.import_module("pygrpc")
    with serve(uu=handler) as opened:
        check(api, code, text, lambda: opened.method("uu")(b"x", timeout=BOUND))


TARGETS = {
    "127.0.0.1:abc": "must be a number from 0 to 65535, not 'abc'",
    "[::1": "closing bracket",
    ":": "has no host",
    "http://localhost:1": "neither host:port nor an IPv6 address",
    "unix:": "has no socket path",
}


@pytest.mark.parametrize(("target", "text"), TARGETS.items())
def test_a_target(api: Any, target: str, text: str) -> None:
    with api.insecure_channel(target) as channel:
        check(api, "UNAVAILABLE", text, lambda: channel.unary_unary("/a/b")(b"", timeout=BOUND))


def test_a_target_that_is_no_text() -> None:
    api = importlib.import_module("pygrpc")
    check(api, TypeError, "must be text such as 'localhost:50051', not None", lambda: api.insecure_channel(None))
    server = api.server(futures.ThreadPoolExecutor(1))
    check(api, TypeError, "must be text such as", lambda: server.add_insecure_port(50051))


@pytest.mark.parametrize("arity", ARITIES)
def test_a_closed_channel(api: Any, link: Link, arity: str) -> None:
    link.channel.close()
    check(api, ValueError, "Cannot invoke RPC on closed channel!", lambda: start(link, arity))


def test_a_server(api: Any) -> None:
    with futures.ThreadPoolExecutor(1) as pool, serve((api.__name__, api.__name__), **ECHO) as link:
        check(api, ValueError, "Cannot start already-started server!", link.server.start)
        other = api.server(pool, options=[("grpc.so_reuseport", 0)])
        check(api, RuntimeError, "Address already in use", lambda: other.add_insecure_port(link.target))
        check(api, AttributeError, 'does not have "service" method', lambda: other.add_generic_rpc_handlers((5,)))
        # Handlers may be added while a server runs.
        handler = api.unary_unary_rpc_method_handler(lambda request, context: b"late")
        added = api.method_handlers_generic_handler("test.Late", {"Call": handler})
        link.server.add_generic_rpc_handlers((added,))
        assert link.channel.unary_unary("/test.Late/Call")(b"") == b"late"


def test_a_server_that_was_stopped_or_made_wrong() -> None:
    api = importlib.import_module("pygrpc")
    with futures.ThreadPoolExecutor(1) as pool:
        server = api.server(pool)
        server.stop(None).wait(BOUND)
        check(api, ValueError, "a server that was stopped", server.start)
        check(api, TypeError, "must be a number", lambda: api.server(pool, maximum_concurrent_rpcs="a"))


def test_an_executor_that_was_shut_down() -> None:
    api = importlib.import_module("pygrpc")
    pool = futures.ThreadPoolExecutor(1)
    handler = api.unary_unary_rpc_method_handler(ECHO["uu"])
    server = api.server(pool, handlers=[api.method_handlers_generic_handler("test.S", {"Call": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    pool.shutdown()
    with api.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/test.S/Call")
        check(api, "UNAVAILABLE", "the server's executor takes no work", lambda: call(b"", timeout=BOUND))
    assert server.stop(None).wait(BOUND)


def test_a_callback_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    api = importlib.import_module("pygrpc")
    with serve(uu=fail) as opened:
        call = opened.method("uu").future(b"x")
        assert call.exception(BOUND) is call
        call.add_done_callback(fail)
        with pytest.raises(api.RpcError) as caught:
            opened.method("uu")(b"x")
        error: Any = caught.value
        error.add_done_callback(fail)
        ready = api.channel_ready_future(opened.channel)
        ready.result(BOUND)
        ready.add_done_callback(fail)
    assert caplog.text.count("KeyError: 'a mistake'") >= 3
