"""The private attributes of grpcio's objects that programs read."""

import threading
import time
from typing import Any

import pytest

import pygrpc
from pygrpc.sync import private_views
from tests.sync.peers import BOUND, PAIRS, Gate, serve

#: grpcio's own pair too, which shows that its attributes are these.
pairs = pytest.mark.parametrize("pair", [*PAIRS, ("grpc", "grpc")], ids="-".join)
#: Its client fills them in while others look, so that only ours is tested.
our_client = pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair[0] == "pygrpc"], ids="-".join)


def refuse(request: bytes, context: Any) -> Any:
    context.set_trailing_metadata((("key", "value"),))
    context.abort(not_found(context), "té")


def not_found(context: Any) -> Any:
    """The code NOT_FOUND of the library that the context belongs to."""
    library = pygrpc if isinstance(context, pygrpc.ServicerContext) else __import__("grpc")
    return library.StatusCode.NOT_FOUND


@our_client
def test_the_state_of_an_error(pair: tuple[str, str]) -> None:
    with serve(pair, uu=refuse, us=refuse) as link:
        for fail in (
            lambda: link.method("uu")(b"", timeout=BOUND),
            lambda: link.method("uu").future(b"", timeout=BOUND).result(),
            lambda: list(link.method("us")(b"", timeout=BOUND)),
        ):
            with pytest.raises(link.client.RpcError) as caught:
                fail()
            state: Any = caught.value._state  # type: ignore[attr-defined]
            assert state.code is link.client.StatusCode.NOT_FOUND
            assert state.details == "té"
            assert tuple(state.trailing_metadata) == (("key", "value"),)
            assert tuple(state.initial_metadata) == ()
            assert isinstance(state.debug_error_string, str)
            assert not state.cancelled


@our_client
def test_the_state_of_a_call_that_goes_on(pair: tuple[str, str]) -> None:
    gate = Gate()
    with serve(pair, uu=gate) as link:
        future = link.method("uu").future(b"", timeout=BOUND)
        assert gate.entered.wait(BOUND)
        state = future._state
        assert (state.code, state.details, state.cancelled) == (None, None, False)
        future.cancel()
        assert future.cancelled()
        assert (state.code, state.cancelled) == (link.client.StatusCode.CANCELLED, True)
        gate.leave.set()
        assert gate.ended.wait(BOUND)


@pairs
def test_the_state_of_a_context(pair: tuple[str, str]) -> None:
    seen: list[Any] = []

    def handler(request: bytes, context: Any) -> bytes:
        state = context._state
        seen.append((state.code, state.details, state.client, state.aborted, state.trailing_metadata))
        context.set_code(not_found(context))
        context.set_details("té")
        context.set_trailing_metadata((("key", "value"),))
        state = context._state
        seen.append((state.code.name, state.details, state.client, state.aborted, state.trailing_metadata))
        return b""

    with serve(pair, uu=handler) as link, pytest.raises(link.client.RpcError):
        link.method("uu")(b"", timeout=BOUND)
    assert seen == [
        (None, None, "open", False, None),
        ("NOT_FOUND", "té".encode(), "open", False, (("key", "value"),)),
    ]


@pairs
def test_the_state_of_a_context_that_aborted(pair: tuple[str, str]) -> None:
    seen: list[Any] = []

    def handler(request: bytes, context: Any) -> None:
        try:
            context.abort(not_found(context), "no")
        finally:
            state = context._state
            seen.append((state.code.name, state.details, state.client, state.aborted))

    with serve(pair, uu=handler) as link, pytest.raises(link.client.RpcError):
        link.method("uu")(b"", timeout=BOUND)
    assert seen == [("NOT_FOUND", b"no", "open", True)]


@pairs
def test_the_state_of_a_context_whose_client_is_gone(pair: tuple[str, str]) -> None:
    gate = Gate()
    with serve(pair, uu=gate) as link:
        future = link.method("uu").future(b"", timeout=BOUND)
        assert gate.entered.wait(BOUND)
        assert gate.context._state.client == "open"
        future.cancel()
        assert gate.ended.wait(BOUND)
        assert gate.context._state.client == "cancelled"
        gate.leave.set()


@pairs
def test_the_event_of_a_context(pair: tuple[str, str]) -> None:
    seen: list[Any] = []

    def handler(request: bytes, context: Any) -> bytes:
        details = context._rpc_event.call_details
        left = details.deadline - time.time()
        metadata = dict(context._rpc_event.invocation_metadata)
        seen.append((details.method, details.host, 0 < left <= BOUND + 1, metadata["key"]))
        return b""

    with serve(pair, uu=handler) as link:
        link.method("uu")(b"", timeout=BOUND, metadata=(("key", "value"),))
    assert seen == [(b"/sync.Peer/uu", link.target.encode(), True, "value")]


def test_a_call_without_a_deadline_has_none() -> None:
    seen = []

    def handler(request: bytes, context: Any) -> bytes:
        seen.append(context._rpc_event.call_details.deadline)
        return b""

    with serve(uu=handler) as link:
        link.method("uu")(b"")
    assert seen == [None]


@pytest.mark.parametrize("library", ["pygrpc", "grpc"])
@pytest.mark.parametrize(
    ("target", "full"),
    [("localhost:1", b"dns:///localhost:1"), ("unix:/a", b"unix:/a"), ("ipv4:127.0.0.1:1", b"ipv4:127.0.0.1:1")],
)
def test_the_target_of_a_channel(library: str, target: str, full: bytes) -> None:
    with __import__(library).insecure_channel(target) as channel:
        assert channel._channel.target() == full


def test_the_state_of_a_channel() -> None:
    ready = threading.Event()
    with serve(uu=refuse) as link:
        channel: Any = link.channel
        view = channel._channel
        assert isinstance(view, private_views.ChannelView)
        assert view.check_connectivity_state(False) == 0
        link.channel.subscribe(lambda state: ready.set() if state is pygrpc.ChannelConnectivity.READY else None)
        assert view.check_connectivity_state(True) == 0
        assert ready.wait(BOUND)
        assert view.check_connectivity_state(True) == 2
        link.channel.close()
        assert view.check_connectivity_state(True) == 4
