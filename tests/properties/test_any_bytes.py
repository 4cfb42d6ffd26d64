"""A core that is fed any bytes in any split: answers, a documented error or a closed connection, never an exception."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pygrpc.core import http2
from pygrpc.core.call import MessageLimits
from pygrpc.core.client_call import ClientState
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.connection import AbuseLimits, Connection
from pygrpc.core.framing import frame_message
from pygrpc.core.http2 import Http2Settings
from pygrpc.core.server_call import ServerState
from pygrpc.core.server_connection import ServerConnection
from pygrpc.status import StatusCode
from tests.core.framed import parts
from tests.core.pair import PREFACE, REQUEST, RESPONSE, ClientEnd, ClientOwner, Pair, ServerEnd, ServerOwner, cut
from tests.properties.strategies import any_frames, block, frame, mutated, mutations, pieces, splits

SETTINGS_FRAME = frame(4, 0, 0, b"")
LIMITS = MessageLimits(1000, -1)
ABUSE = AbuseLimits(burst=30, per_second=1.0)
ENGINE_SETTINGS = Http2Settings(stream_window=2000, connection_window=70_000, max_concurrent_streams=3)

many = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(params=sorted(http2._ENGINES), autouse=True, scope="module")
def each_engine(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(http2.ENGINE_VARIABLE, request.param)
        yield


def check_connection(core: Connection) -> None:
    """What holds for a connection at any time."""
    assert core.unread == sum(call.unread for call in core.calls.values()) >= 0
    assert core._owed >= 0
    for stream_id, call in core.calls.items():
        assert (call.stream_id, call.connection) == (stream_id, core)
        assert call._waiting == sum(len(frame_message(*parts(message))) for message in call._messages)
        assert call.pending_bytes == sum(map(len, call._out))
    waiting = set(core._senders) | set(core._blocked)
    assert waiting <= set(core.calls.values())
    for call in core.calls.values():
        # Whoever has something to say is in line, or waits for the window; or nobody would ever send it.
        assert call in waiting or not (call.pending_bytes or (call._ending and not call.local_ended))
    if core.failure is not None:
        assert core.closing
        assert not core.calls


# The server.


class Handlers(ServerOwner):
    """Serves calls in different ways, so that bytes meet calls in all states."""

    def __init__(self, styles: list[str]) -> None:
        super().__init__()
        self.styles = styles
        self.accept = self.serve

    def serve(self, end: ServerEnd) -> None:
        style = self.styles[len(self.calls) % len(self.styles)]
        end.call.request_streaming = style != "unary"
        if style == "refuse":
            end.finish(StatusCode.UNIMPLEMENTED, "Method not found!")
        elif style == "early":
            end.send(b"early" * 50).finish()
        elif style == "headers":
            end.call.send_headers([(b"k", b"v")])

    def work(self) -> None:
        """Lets each handler do something."""
        for number, end in enumerate(self.calls):
            style = self.styles[(number + 1) % len(self.styles)]
            if end.call.ended or style == "idle":
                continue
            for message in end.read():
                end.send(message)
            if end.call.requests_ended and not end.call.ended:
                end.finish()


styles = st.lists(st.sampled_from(["echo", "unary", "refuse", "early", "headers", "idle"]), min_size=1, max_size=4)


def serve(data: bytes, sizes: list[int], chosen: list[str], paused: int) -> ServerConnection:
    owner = Handlers(chosen)
    core = ServerConnection(owner, ENGINE_SETTINGS, LIMITS, 0.0, abuse=ABUSE)
    output = b""
    for number, piece in enumerate(pieces(data, sizes)):
        core.sending_paused = number % 7 < paused
        core.receive_data(piece, number / 100)
        check_connection(core)
        owner.work()
        check_connection(core)
        while out := core.data_to_send():
            output += out
        check_connection(core)
    check_frames(output)
    core.lost("the end")
    check_connection(core)
    assert core.unread == 0
    for end in owner.calls:
        assert end.call.state is ServerState.CLOSED
        assert end.events.count("closed") == 1
        assert end.events[-1] == "closed"
        assert end.events.count("cancelled") <= 1
        assert end.code is not None
    return core


def check_frames(output: bytes) -> None:
    """What a core says is whole frames of known types and of legal size, whatever it has heard."""
    offset = len(PREFACE) if output.startswith(PREFACE) else 0
    while offset < len(output):
        size = int.from_bytes(output[offset : offset + 3], "big")
        assert size <= 16_384
        assert output[offset + 3] in (0, 1, 3, 4, 6, 7, 8, 9)
        offset += 9 + size
    assert offset == len(output)


request_blocks = st.sampled_from(
    [
        REQUEST,
        [*REQUEST, (b"grpc-timeout", b"1S"), (b"k", b"v"), (b"k-bin", b"YQ")],
        [*REQUEST, (b"grpc-encoding", b"gzip"), (b"grpc-accept-encoding", b"gzip")],
        [*REQUEST, (b"grpc-encoding", b"nonsense")],
        [*REQUEST, (b"grpc-timeout", b"nonsense")],
        [*REQUEST, (b"content-length", b"7")],
        [*REQUEST, (b"Key", b"v")],
        REQUEST[1:],
        [(b"trailer", b"v")],
        [],
    ]
)


@many
@given(st.binary(max_size=300), splits, styles, st.booleans())
def test_a_server_that_is_fed_any_bytes(data: bytes, sizes: list[int], chosen: list[str], greeted: bool) -> None:
    serve(PREFACE + SETTINGS_FRAME + data if greeted else data, sizes, chosen, 0)


@many
@given(st.lists(any_frames(request_blocks), max_size=25), splits, styles, st.integers(0, 7))
def test_a_server_that_is_fed_any_frames(frames: list[bytes], sizes: list[int], chosen: list[str], paused: int) -> None:
    serve(PREFACE + SETTINGS_FRAME + b"".join(frames), sizes, chosen, paused)


def client_bytes() -> bytes:
    """What a client says in a conversation in which much happens."""
    pair = Pair(connect=False)
    said: list[bytes] = []
    start = pair.client.data_to_send
    pair.client.data_to_send = lambda: said.append(start()) or said[-1]  # type: ignore[func-returns-value, method-assign]
    first = pair.start(b"request")
    second = pair.start(b"x" * 500, b"", end=False, send_encoding=b"gzip", metadata=[(b"k-bin", b"YWI"), (b"k", b"v")])
    pair.exchange()
    third = pair.start(b"1", end=False, deadline=50.0)
    pair.exchange()
    third.call.cancel()
    second.send(b"more" * 100)
    pair.exchange()
    for end in pair.server_owner.calls[:2]:
        end.send(*end.read()).finish()
    pair.exchange()
    assert first.read() == [b"request"]
    pair.server.shutdown(0.0)
    pair.exchange()
    return b"".join(said)


CLIENT_BYTES = client_bytes()


def test_the_conversation_is_a_good_one() -> None:
    for sizes in ([1], [1 << 20]):
        core = serve(CLIENT_BYTES, sizes, ["echo"], 0)
        assert core.failure is not None
        assert core.failure.details == "the end"


@many
@given(mutations, splits, styles, st.integers(0, 7))
def test_a_server_that_is_fed_a_mutated_conversation(
    changes: list, sizes: list[int], chosen: list[str], paused: int
) -> None:
    serve(mutated(CLIENT_BYTES, changes), sizes, chosen, paused)


# The client.


def converse(data: bytes, sizes: list[int], calls: int, eager: bool) -> ClientConnection:
    owner = ClientOwner()
    core = ClientConnection(owner, ENGINE_SETTINGS, 0.0, ABUSE)
    ends = [ClientEnd(limits=LIMITS, response_streaming=number % 2 == 0, deadline=0.5) for number in range(calls)]
    for number, end in enumerate(ends):
        core.start(end.call)
        end.send(b"request" * number, end=number % 3 != 0)
    output = core.data_to_send()
    for number, piece in enumerate(pieces(data, sizes)):
        core.receive_data(piece, number / 100)
        check_connection(core)
        for end in ends if eager else ():
            end.read()
        check_connection(core)
        while out := core.data_to_send():
            output += out
        check_connection(core)
    check_frames(output)
    core.lost("the end")
    check_connection(core)
    for end in ends:
        end.read()
        if end.call in owner.unsent:
            # The server has not handled it: whoever owns the connection takes it to another one.
            assert end.call.state is ClientState.IDLE
            assert set(end.events) <= {"started", "writable"}
        else:
            assert end.call.state is ClientState.DONE
            assert end.events.count("done") == 1
            assert end.events[-1] == "done"
            assert end.events.count("initial_metadata") == 1
    assert len(owner.unsent) == len(set(owner.unsent))
    assert core.unread == 0
    assert core.closing
    return core


response_blocks = st.sampled_from(
    [
        RESPONSE,
        [*RESPONSE, (b"k", b"v"), (b"k-bin", b"YQ")],
        [*RESPONSE, (b"grpc-encoding", b"gzip")],
        [*RESPONSE, (b"grpc-encoding", b"nonsense")],
        [*RESPONSE, (b"grpc-status", b"0")],
        [*RESPONSE, (b"grpc-status", b"5"), (b"grpc-message", b"%C3")],
        [(b":status", b"100")],
        [(b":status", b"503")],
        [(b":status", b"nonsense")],
        [(b"grpc-status", b"0")],
        [(b"grpc-status", b"0")],
        [(b"grpc-status", b"nonsense")],
        [(b"Key", b"v")],
        [],
    ]
)


@many
@given(st.binary(max_size=300), splits, st.integers(0, 4), st.booleans(), st.booleans())
def test_a_client_that_is_fed_any_bytes(data: bytes, sizes: list[int], calls: int, eager: bool, greeted: bool) -> None:
    converse(SETTINGS_FRAME + data if greeted else data, sizes, calls, eager)


@many
@given(st.lists(any_frames(response_blocks), max_size=25), splits, st.integers(0, 4), st.booleans())
def test_a_client_that_is_fed_any_frames(frames: list[bytes], sizes: list[int], calls: int, eager: bool) -> None:
    converse(SETTINGS_FRAME + b"".join(frames), sizes, calls, eager)


def server_bytes() -> bytes:
    """What a server says to four calls, one of which is answered in each way."""
    message = frame_message(b"response")
    return SETTINGS_FRAME + b"".join(
        [
            frame(1, 4, 1, block(RESPONSE)),
            frame(0, 0, 1, message + message[:3]),
            frame(6, 0, 0, b"12345678"),
            frame(1, 4, 3, block([*RESPONSE, (b"k", b"v")])),
            frame(0, 0, 3, message),
            frame(1, 5, 3, block([(b"grpc-status", b"0"), (b"grpc-message", b"fine")])),
            frame(0, 0, 1, message[3:]),
            frame(1, 5, 5, block([*RESPONSE, (b"grpc-status", b"5"), (b"k-bin", b"YQ")])),
            frame(7, 0, 0, (2**31 - 1).to_bytes(4, "big") + bytes(4)),
            frame(3, 0, 7, (8).to_bytes(4, "big")),
            frame(8, 0, 0, (1000).to_bytes(4, "big")),
            frame(1, 5, 1, block([(b"grpc-status", b"9")])),
        ]
    )


SERVER_BYTES = server_bytes()


def test_the_answers_are_good_ones() -> None:
    for piece in (1, 1 << 20):
        owner = ClientOwner()
        core = ClientConnection(owner, ENGINE_SETTINGS, 0.0, ABUSE)
        ends = [ClientEnd(limits=LIMITS, response_streaming=number % 2 == 0) for number in range(4)]
        for end in ends:
            core.start(end.call)
        for data in cut(SERVER_BYTES, piece):
            core.receive_data(data, 0.0)
        assert [end.read() for end in ends] == [[b"response"] * 2, [b"response"], [], []]
        assert [end.code for end in ends] == [
            StatusCode.FAILED_PRECONDITION, StatusCode.OK, StatusCode.NOT_FOUND, StatusCode.CANCELLED,
        ]  # fmt: skip
        assert core.failure is None


@many
@given(mutations, splits, st.integers(0, 4), st.booleans())
def test_a_client_that_is_fed_mutated_answers(changes: list, sizes: list[int], calls: int, eager: bool) -> None:
    converse(mutated(SERVER_BYTES, changes), sizes, calls, eager)
