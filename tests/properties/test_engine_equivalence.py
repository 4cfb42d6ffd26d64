"""The frame engine against the h2 engine: the same traffic, legal or not, has the same meaning for both.

What they report, what they send and the state they end in are compared. Where they differ on purpose, a row of
``EXPLAINED`` says in what, and why; the comparison of that script ends there.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event as H2Event
from h2.events import RequestReceived
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pygrpc.core.http2.codes import ErrorCode
from pygrpc.core.http2.frame_engine import FrameEngine
from pygrpc.core.http2.h2_engine import H2Engine
from tests.core import wire
from tests.properties.engines import (
    REQUEST,
    RESPONSE,
    SIZES,
    Act,
    Block,
    Event,
    Owner,
    Step,
    acts,
    compile_script,
    greeting,
    reactions,
    steps,
)

pytestmark = pytest.mark.filterwarnings("error")
thorough = settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

STREAM_FRAMES = frozenset([wire.DATA, wire.HEADERS, wire.PRIORITY, wire.WINDOW_UPDATE])
ROLES = pytest.mark.parametrize("client_side", [False, True], ids=["server", "client"])


@dataclass(frozen=True)
class Difference:
    """Where the engines part on a step: what each of them does there.

    Attributes:
        frame: What the peer sent, or nothing if the owner acted.
        h2: The first event of the h2 engine that the other one doesn't have, without the stream; () if there is none.
        ours: The same for the frame engine.
        resets: The errors that the frame engine's RST_STREAM frames tell in this step.
    """

    frame: bytes
    h2: Event
    ours: Event
    resets: frozenset[int]

    @property
    def kind(self) -> int | None:
        """The type of the frame."""
        return self.frame[3] if self.frame else None


def failed(event: Event, *codes: ErrorCode) -> bool:
    return event[:1] == ("connection_failed",) and (not codes or event[1] in codes)


def is_stream_error(difference: Difference) -> bool:
    # RFC 9113: 5.1 and 8.1.1, 6.3, 6.9, 6.9.1; RFC 7540: 5.3.1. Of a stream that the owner never heard of, it hears
    # nothing.
    if not failed(difference.h2) or difference.kind not in STREAM_FRAMES:
        return False
    code = difference.h2[1]
    if difference.kind == wire.WINDOW_UPDATE and not difference.ours:
        # The stream is closed, where nobody minds (section 5.1).
        return code == ErrorCode.PROTOCOL_ERROR
    return code in difference.resets and difference.ours[:2] in ((), ("stream_reset", code))


def is_content_length_without_data(difference: Difference) -> bool:
    return difference.h2[:1] == ("headers_received",) and ErrorCode.PROTOCOL_ERROR in difference.resets


def is_stream_of_the_server(difference: Difference) -> bool:
    even = difference.kind == wire.HEADERS and difference.frame[8] % 2 == 0
    return even and difference.h2[:1] == ("headers_received",) and failed(difference.ours, ErrorCode.PROTOCOL_ERROR)


def is_information_as_request(difference: Difference) -> bool:
    return failed(difference.h2, ErrorCode.PROTOCOL_ERROR) and difference.ours[:1] == ("headers_received",)


def is_two_errors_at_once(difference: Difference) -> bool:
    both = [ErrorCode.FRAME_SIZE_ERROR, ErrorCode.PROTOCOL_ERROR, ErrorCode.COMPRESSION_ERROR]
    if difference.kind == wire.SETTINGS:
        both.append(ErrorCode.FLOW_CONTROL_ERROR)
    return failed(difference.h2, *both) and failed(difference.ours, *both)


def is_information_on_half_closed(difference: Difference) -> bool:
    closed = ("stream_reset", ErrorCode.STREAM_CLOSED, False)
    return (
        difference.kind == wire.HEADERS
        and failed(difference.h2, ErrorCode.PROTOCOL_ERROR)
        and difference.ours == closed
    )


def is_push(difference: Difference) -> bool:
    return difference.kind == wire.PUSH_PROMISE and failed(difference.ours, ErrorCode.PROTOCOL_ERROR)


def is_continuation(difference: Difference) -> bool:
    if difference.kind != wire.CONTINUATION or not failed(difference.ours, ErrorCode.PROTOCOL_ERROR):
        return False
    return failed(difference.h2, ErrorCode.STREAM_CLOSED) or difference.h2[:1] in ((), ("stream_reset",))


def is_early_refusal(difference: Difference) -> bool:
    return not difference.h2 and failed(difference.ours, ErrorCode.ENHANCE_YOUR_CALM)


def is_repeated_setting(difference: Difference) -> bool:
    return difference.kind == wire.SETTINGS and difference.h2 == ("settings_received",) and failed(difference.ours)


def is_reserved_bit(difference: Difference) -> bool:
    if difference.kind not in (wire.GOAWAY, wire.WINDOW_UPDATE) or not difference.frame[9] & 0x80:
        return False
    # The increment is beyond what a window can hold, or the last stream is.
    return failed(difference.h2, ErrorCode.PROTOCOL_ERROR) or difference.h2[:1] == ("goaway_received",)


def room_behind_padding(frame: bytes) -> int | None:
    """What the padding and the priority of a HEADERS frame leave for the fragment, or None if there is no padding."""
    length, kind, flags = int.from_bytes(frame[:3], "big"), frame[3], frame[4]
    if kind != wire.HEADERS or not flags & wire.PADDED or not length or not frame[9]:
        return None
    return length - 1 - frame[9] - (5 if flags & wire.HAS_PRIORITY else 0)


def is_padding_alone(difference: Difference) -> bool:
    alone = bool(difference.frame) and room_behind_padding(difference.frame) == 0
    return alone and failed(difference.h2, ErrorCode.PROTOCOL_ERROR)


def is_padding_in_priority(difference: Difference) -> bool:
    room = room_behind_padding(difference.frame) if difference.frame else None
    return room is not None and room < 0 and failed(difference.ours, ErrorCode.PROTOCOL_ERROR)


def is_unknown_setting(difference: Difference) -> bool:
    return failed(difference.h2, ErrorCode.PROTOCOL_ERROR) and difference.ours == ("settings_received",)


def is_early_window(difference: Difference) -> bool:
    return failed(difference.h2, ErrorCode.FLOW_CONTROL_ERROR) and difference.ours[:1] == ("data_received",)


EXPLAINED = {
    "h2 fails the connection where one stream is at fault": is_stream_error,
    "h2 checks content-length only where there is DATA": is_content_length_without_data,
    "h2 lets a server open streams without a promise": is_stream_of_the_server,
    "h2 takes a request with a 1xx status for information; the layer above resets it": is_information_as_request,
    "h2 looks for a 1xx status first, and then at the state of the stream": is_information_on_half_closed,
    "a frame breaks two rules, and the engines check another one first": is_two_errors_at_once,
    "h2 reads a PUSH_PROMISE before it refuses it": is_push,
    "h2 looks at the stream of a CONTINUATION without a header block": is_continuation,
    "h2 waits for the end of a header block that is too large already": is_early_refusal,
    "h2 takes the last of several values of a setting, and doesn't check the others": is_repeated_setting,
    "h2 takes the reserved bit of GOAWAY and WINDOW_UPDATE for a part of the number": is_reserved_bit,
    "h2 wants no padding around a piece of a header block that is empty": is_padding_alone,
    "h2 lets padding reach into the priority": is_padding_in_priority,
    "h2 checks a setting of RFC 8441, which we don't know": is_unknown_setting,
    "h2 wants a grown window acknowledged before it is used; the peer may know of it earlier": is_early_window,
}


def difference(step: bytes | Act, h2: list[Event], ours: list[Event], sent: list[wire.Read]) -> Difference:
    pairs = itertools.zip_longest(h2, ours, fillvalue=("nothing", 0))
    theirs, mine = next((one, other) for one, other in pairs if one != other)
    resets = frozenset(int.from_bytes(frame.payload, "big") for frame in sent if frame.kind == wire.RST_STREAM)

    def shown(event: Event) -> Event:
        return () if event[0] == "nothing" else (event[0], *event[2:])

    return Difference(step if isinstance(step, bytes) else b"", shown(theirs), shown(mine), resets)


def explanation(found: Difference) -> str | None:
    return next((text for text, explains in EXPLAINED.items() if explains(found)), None)


#: The bytes of a setting.
_ONE_SETTING = 6


def meaning(owner: Owner) -> tuple[Any, ...]:
    """What an engine has sent, as far as it must be the same."""
    frames = []
    goaway = None
    credit: Counter[int] = Counter()
    resets: dict[int, int] = {}
    for kind, flags, stream_id, payload, fields in owner.sent:
        if kind in (wire.HEADERS, wire.CONTINUATION):
            # Blocks differ in length, and so in pieces; HPACK leaves it open how fields are written.
            if kind == wire.HEADERS:
                frames.append((kind, flags & wire.END_STREAM, stream_id))
            if fields is not None:
                frames.append((fields,))
        elif kind == wire.WINDOW_UPDATE:
            credit[stream_id] += int.from_bytes(payload, "big")
        elif kind == wire.RST_STREAM:
            # h2 answers late frames on a stream that it has reset with another reset.
            resets.setdefault(stream_id, int.from_bytes(payload, "big"))
        elif kind == wire.GOAWAY:
            # h2 counts streams that a server can't open, and so names another last one.
            goaway = payload[4:8] if owner.client_side else payload[:8]
        elif kind != wire.SETTINGS or flags & wire.ACK or len(payload) == _ONE_SETTING:
            # What is announced at the start is left out: the engines say the same with other settings.
            frames.append((kind, flags, stream_id, payload))
    # DATA that nobody hears of is credited in portions, and the engines have other portions.
    del credit[0]
    return frames, goaway, resets, credit


def state(owner: Owner) -> tuple[Any, ...]:
    engine = owner.engine
    windows = {stream_id: engine.send_window(stream_id) for stream_id in range(13)}
    concurrent = min(engine.peer_max_concurrent_streams, 2**32 - 1)
    return windows, engine.last_peer_stream_id, engine.peer_max_frame_size, concurrent


def play(owner: Owner, step: bytes | Act) -> None:
    if isinstance(step, Act):
        owner.act(step)
    else:
        owner.engine.receive_data(step)


def compare(client_side: bool, script: list[Step], reacting: list[Act | None]) -> str | None:
    """Runs a script on both engines; returns the explanation if they part on purpose."""
    owners = [Owner(engine, client_side, reacting) for engine in (H2Engine, FrameEngine)]
    for owner in owners:
        play(owner, greeting(client_side))
        assert owner.take()[0] == [("settings_received", 0)]
    for step in compile_script(script):
        for owner in owners:
            play(owner, step)
        (h2, _), (ours, sent) = (owner.take() for owner in owners)
        if h2 != ours:
            found = difference(step, h2, ours, sent)
            explained = explanation(found)
            assert explained, found
            return explained
        if owners[0].failed:
            break
        assert state(owners[0]) == state(owners[1])
    assert meaning(owners[0]) == meaning(owners[1])
    return None


@ROLES
@thorough
@given(script=steps, reacting=reactions)
def test_any_traffic(client_side: bool, script: list[Step], reacting: list[Act | None]) -> None:
    compare(client_side, script, reacting)


def block(stream_id: int, *more: tuple[bytes, bytes], end: bool = False, **options: Any) -> Block:
    defaults: dict[str, Any] = {"padding": None, "depends_on": None, "pieces": 1, "finished": True}
    fields = options.pop("fields", REQUEST)
    return Block(stream_id=stream_id, headers=[*fields, *more], end=end, **{**defaults, **options})


LENGTH = (b"content-length", b"10")
OPEN = Act("open", 0)
ON_PURPOSE: list[tuple[str, bool, list[Step]]] = [
    ("h2 fails the connection", False, [block(1), wire.window_update(1, 0)]),
    ("h2 fails the connection", False, [block(1), wire.frame(wire.PRIORITY, 0, 1, b"1234")]),
    ("h2 fails the connection", False, [block(1), wire.priority(1, depends_on=1)]),
    ("h2 fails the connection", False, [block(1, depends_on=1)]),
    ("h2 fails the connection", False, [block(1), block(1)]),
    ("h2 fails the connection", False, [block(1, LENGTH), wire.data(1, bytes(11))]),
    ("h2 fails the connection", False, [block(1, LENGTH), wire.data(1, bytes(9), end=True)]),
    ("h2 fails the connection", False, [block(1), *[wire.data(1, bytes(18_000))] * 4]),
    ("h2 fails the connection", True, [OPEN, wire.data(1, b"x")]),
    ("h2 fails the connection", True, [OPEN, block(1, fields=[(b":status", b"100")], end=True)]),
    ("h2 fails the connection", True, [OPEN, block(1), block(1, fields=[(b":status", b"100")])]),
    ("h2 checks content-length", False, [block(1, LENGTH, end=True)]),
    ("h2 checks content-length", True, [OPEN, block(1, LENGTH, end=True)]),
    ("h2 lets a server open", True, [block(2)]),
    ("h2 takes a request", False, [block(1, fields=[(b":status", b"100")])]),
    ("a frame breaks two rules", False, [wire.frame(wire.SETTINGS, wire.ACK, 1, b"123456")]),
    ("h2 reads a PUSH_PROMISE", True, [OPEN, wire.frame(wire.PUSH_PROMISE, 0, 1, wire.number(2))]),
    ("h2 looks at the stream", False, [block(1), wire.rst_stream(1), wire.continuation(1, b"")]),
    ("h2 waits for the end", False, [block(1, (b"k", b"x" * 4000), finished=False)]),
    ("h2 takes the last", False, [wire.settings((wire.MAX_FRAME_SIZE, 0), (wire.MAX_FRAME_SIZE, 1 << 14))]),
    ("h2 takes the reserved bit", False, [wire.goaway(1 << 31)]),
    ("h2 takes the reserved bit", True, [OPEN, wire.window_update(1, 1 << 31 | 5)]),
    ("h2 looks for a 1xx status", False, [block(1, end=True), block(1, fields=[(b":status", b"100")])]),
    ("h2 wants no padding", False, [block(1, fields=[], padding=9, finished=False)]),
    ("h2 lets padding reach", False, [wire.frame(wire.HEADERS, 0x2C, 1, b"\3" + bytes(3) + b"\3\0\x82")]),
    ("h2 checks a setting", False, [wire.settings((8, 2))]),
    ("h2 wants a grown window", False, [block(1), Act("grow", 0, 19_000), *[wire.data(1, bytes(18_000))] * 4]),
]


@pytest.mark.parametrize(("reason", "client_side", "script"), ON_PURPOSE, ids=str)
def test_differences_on_purpose(reason: str, client_side: bool, script: list[Step]) -> None:
    found = compare(client_side, script, [])
    assert found is not None
    assert found.startswith(reason)


@ROLES
@pytest.mark.parametrize("acknowledged", [1, 2])
def test_grown_windows_that_are_acknowledged(client_side: bool, acknowledged: int) -> None:
    grown = [Act("grow", 0, 19_000), Act("grow", 0, 1)][:acknowledged]
    opened = [OPEN, block(1, fields=RESPONSE)] if client_side else [block(1)]
    acknowledgements = [wire.frame(wire.SETTINGS, wire.ACK, 0, b"")] * acknowledged
    script = [*opened, *grown, *acknowledgements, *[wire.data(1, bytes(17_800))] * 5, wire.data(1, b"one too many")]
    # Up to the last frame they agree; then h2 fails the connection, as it does with windows that never grew.
    assert compare(client_side, script[:-1], []) is None
    assert compare(client_side, script, []) == next(iter(EXPLAINED))


def test_every_difference_on_purpose_is_shown() -> None:
    for text in EXPLAINED:
        assert any(text.startswith(reason) for reason, _, _ in ON_PURPOSE), text


# The bytes may be cut anywhere.


@ROLES
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(script=steps, reacting=reactions, sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_any_split_is_the_same(
    client_side: bool, script: list[Step], reacting: list[Act | None], sizes: list[int]
) -> None:
    whole, split, single = (Owner(FrameEngine, client_side, reacting) for _ in range(3))
    # What the owner does by itself would come at another time: only what it does from inside of events is compared.
    stream = greeting(client_side) + b"".join(step for step in compile_script(script) if isinstance(step, bytes))
    whole.engine.receive_data(stream)
    offset = 0
    for size in itertools.cycle(sizes):
        split.engine.receive_data(stream[offset : offset + size])
        offset += size
        if offset >= len(stream):
            break
    for number in range(len(stream)):
        single.engine.receive_data(stream[number : number + 1])
    expected = whole.take()
    assert expected == split.take() == single.take()
    assert state(whole) == state(split) == state(single)


# Any bytes at all.


@ROLES
@settings(max_examples=300)
@given(chunks=st.lists(st.binary(max_size=60), max_size=10), greeted=st.booleans(), reacting=reactions)
@example(chunks=[b"\0\0\0\4\0\0\0\0\0"], greeted=False, reacting=[])
def test_any_bytes(client_side: bool, chunks: list[bytes], greeted: bool, reacting: list[Act | None]) -> None:
    owner = Owner(FrameEngine, client_side, reacting)
    if greeted:
        owner.engine.receive_data(greeting(client_side))
    for chunk in chunks:
        owner.engine.receive_data(chunk)
    events, frames = owner.take()
    codes = [event[2] for event in events if event[0] == "connection_failed"]
    assert codes == [code for code in codes[:1] if code in list(ErrorCode)]
    if codes:
        assert frames[-1].kind == wire.GOAWAY
        assert int.from_bytes(frames[-1].payload[4:8], "big") == codes[0]
        owner.engine.receive_data(wire.ping())
        assert owner.take() == ([], [])


# An h2 peer, which keeps to the rules.


class Peer:
    """The other end of an engine, on stock h2."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        client_side = not owner.client_side
        self.h2 = H2Connection(H2Configuration(client_side, header_encoding=None, validate_inbound_headers=False))
        if not client_side:
            self.h2.local_settings.enable_connect_protocol = 0
        self.h2.initiate_connection()
        self.events: list[str] = []
        #: Streams that are open for sending here: whether headers were sent.
        self.streams: dict[int, bool] = {}
        self.exchange()

    def exchange(self) -> None:
        while True:
            to_engine, (_, _), to_peer = self.h2.data_to_send(), ((), ()), self.owner.engine.data_to_send()
            if not to_engine and not to_peer:
                return
            self.owner.engine.receive_data(to_engine)
            self.owner.sent += self.owner.reader.feed(to_peer)
            for event in self.h2.receive_data(to_peer):
                self._note(event)

    def _note(self, event: H2Event) -> None:
        name = type(event).__name__
        stream_id = getattr(event, "stream_id", 0)
        if isinstance(event, RequestReceived):
            self.streams[stream_id] = False
        if name in ("WindowUpdated", "RemoteSettingsChanged", "SettingsAcknowledged"):
            return
        fields = ("headers", "data", "flow_controlled_length", "error_code", "last_stream_id", "ping_data")
        self.events.append(f"{name} {stream_id} {[getattr(event, each, None) for each in fields]}")

    def say(self, step: Say) -> None:
        connection, stream_id = self.h2, step.stream_id
        try:
            if step.what == "open" and connection.config.client_side and stream_id not in self.streams:
                if stream_id > (connection.highest_outbound_stream_id or 0):
                    connection.send_headers(stream_id, [*REQUEST, (b"n", b"%d" % step.size)], step.end)
                    self.streams[stream_id] = True
            elif step.what == "ping":
                connection.ping(b"h2s ping")
            elif step.what == "settings":
                connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: step.size})
            elif step.what == "credit":
                known = stream_id in self.streams and stream_id in connection.streams
                connection.increment_flow_control_window(step.size + 1, stream_id if known else None)
            elif stream_id in self.streams:
                self._say_on_stream(step)
        except (StreamClosedError, ProtocolError) as error:
            # h2 knows that the stream doesn't allow it, on both runs or on none.
            self.events.append(f"refused {type(error).__name__}")

    def _say_on_stream(self, step: Say) -> None:
        connection, stream_id = self.h2, step.stream_id
        if not self.streams[stream_id]:
            self.streams[stream_id] = True
            connection.send_headers(stream_id, RESPONSE)
        if step.what == "data":
            size = min(step.size, connection.local_flow_control_window(stream_id), connection.max_outbound_frame_size)
            connection.send_data(stream_id, bytes(max(size, 0)), step.end, pad_length=None)
        elif step.what == "trailers":
            connection.send_headers(stream_id, [(b"grpc-status", b"0")], end_stream=True)
        elif step.what == "reset":
            connection.reset_stream(stream_id, step.size % 9)


@dataclass(frozen=True)
class Say:
    """Something that the h2 peer says, if it may."""

    what: str
    stream_id: int
    size: int
    end: bool


def is_peaceful(act: Act) -> bool:
    # Stock h2 takes GOAWAY for the end of everything.
    return act.what != "goaway"


says = st.builds(
    Say,
    st.sampled_from(["open", "open", "data", "data", "trailers", "reset", "ping", "settings", "credit"]),
    st.sampled_from([1, 3, 5]),
    SIZES,
    st.booleans(),
)


@ROLES
@thorough
@given(
    script=st.lists(says | acts.filter(is_peaceful), max_size=25),
    reacting=reactions.map(lambda acts: [act for act in acts if act is None or is_peaceful(act)]),
)
def test_an_h2_peer_sees_no_difference(client_side: bool, script: list[Say | Act], reacting: list[Act | None]) -> None:
    peers = [Peer(Owner(engine, client_side, reacting)) for engine in (H2Engine, FrameEngine)]
    for step in script:
        for peer in peers:
            if isinstance(step, Say):
                peer.say(step)
            else:
                peer.owner.act(step)
            peer.exchange()
        assert not peers[1].owner.failed
        assert peers[0].owner.events == peers[1].owner.events
        assert peers[0].events == peers[1].events
        assert state(peers[0].owner) == state(peers[1].owner)
    assert meaning(peers[0].owner) == meaning(peers[1].owner)
