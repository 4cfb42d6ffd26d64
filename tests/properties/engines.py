"""Traffic for an engine, made up by hypothesis, and an owner that answers from inside the events.

A script is a list of steps. A step is bytes of the peer, legal or not, or something that the owner does. The same
script runs on any engine: bytes are made before any engine sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import hpack
from hypothesis import strategies as st

from pygrpc.core.http2.engine import HeadersTooLarge, Http2Engine, Http2Settings
from pygrpc.core.metadata import Header
from tests.core import wire

#: What both engines announce: windows and limits within reach of a short script.
SETTINGS = Http2Settings(
    stream_window=70_000,
    connection_window=100_000,
    max_frame_size=20_000,
    max_header_list_size=1_000,
    hard_header_list_size=3_000,
    max_concurrent_streams=4,
)

REQUEST: list[Header] = [(b":method", b"POST"), (b":path", b"/a.B/C"), (b"content-type", b"application/grpc")]
RESPONSE: list[Header] = [(b":status", b"200"), (b"content-type", b"application/grpc")]
TRAILERS: tuple[Header, ...] = ((b"grpc-status", b"0"),)
BLOCKS: list[list[Header]] = [
    REQUEST,
    RESPONSE,
    [*REQUEST, (b"content-length", b"10")],
    [*RESPONSE, (b"content-length", b"10")],
    [*REQUEST, (b"content-length", b"x")],
    [(b":status", b"100")],
    [(b"grpc-status", b"0")],
    [(b"trace", b"x" * 200)],
    [(b"k", b"y" * 4000)],
    [],
]

Event = tuple[Any, ...]


# What the peer sends.

STREAMS = st.sampled_from([1, 1, 1, 3, 3, 5, 7, 9, 11, 2, 4, 0])
SIZES = st.sampled_from([0, 1, 5, 10, 100, 16_384, 19_000])
CODES = st.sampled_from([0, 1, 8, 0xFF])


@st.composite
def header_blocks(draw: st.DrawFn) -> list[Header]:
    # The first ones are the usual ones.
    return BLOCKS[min(draw(st.integers(0, len(BLOCKS) - 1)), draw(st.integers(0, len(BLOCKS) - 1)))]


@dataclass(frozen=True)
class Block:
    """HEADERS and CONTINUATION, still to be encoded, since that depends on what comes before."""

    stream_id: int
    headers: list[Header]
    end: bool
    padding: int | None
    depends_on: int | None
    pieces: int
    finished: bool

    def encode(self, encoder: hpack.Encoder) -> bytes:
        block = encoder.encode(self.headers)
        size = len(block) // self.pieces + 1
        parts = [block[start : start + size] for start in range(0, len(block), size)] or [b""]
        frames = [
            wire.headers(
                self.stream_id,
                parts[0],
                self.end,
                complete=len(parts) == 1 and self.finished,
                padding=self.padding,
                depends_on=self.depends_on,
            )
        ]
        for part in parts[1:]:
            frames.append(wire.continuation(self.stream_id, part, part is parts[-1] and self.finished))
        return b"".join(frames)


RARELY = st.integers(0, 9).map(lambda number: number == 0)

blocks = st.builds(
    Block,
    STREAMS,
    header_blocks(),
    st.booleans(),
    st.none() | st.sampled_from([0, 9]),
    st.none() | st.none() | st.sampled_from([0, 1, 3]),
    st.sampled_from([1, 1, 1, 2, 4]),
    RARELY.map(lambda rarely: not rarely),
)
setting = st.one_of(
    st.tuples(st.just(wire.INITIAL_WINDOW_SIZE), st.sampled_from([0, 5, 30_000, 65_535, 2**31 - 1])),
    st.tuples(st.just(wire.MAX_FRAME_SIZE), st.sampled_from([16_384, 50_000, 2**24 - 1])),
    st.tuples(st.just(wire.HEADER_TABLE_SIZE), st.sampled_from([0, 50, 4096])),
    st.tuples(st.just(wire.MAX_CONCURRENT_STREAMS), st.sampled_from([0, 1, 100])),
    st.tuples(st.integers(0, 9), st.sampled_from([0, 1, 2, 16_383, 2**31, 2**32 - 1])),
)
frames = st.one_of(
    st.builds(wire.data, STREAMS, SIZES.map(bytes), st.booleans(), st.none() | st.sampled_from([0, 30])),
    st.builds(wire.window_update, STREAMS, st.sampled_from([1, 1000, 100_000, 0, 2**31 - 1])),
    st.builds(wire.rst_stream, STREAMS, CODES),
    st.builds(wire.priority, STREAMS, st.sampled_from([0, 1, 3, 13])),
    st.lists(setting, max_size=3).map(lambda values: wire.settings(*values)),
    st.just(wire.SETTINGS_ACK),
    st.builds(wire.ping, st.just(b"12345678"), st.booleans()),
    st.builds(wire.goaway, st.sampled_from([0, 1, 3, 2**31 - 1]), CODES, st.binary(max_size=5)),
    st.builds(wire.continuation, STREAMS, st.just(b"\x82"), st.booleans()),
    # Types from 0x0B on are unknown to both engines.
    st.builds(wire.frame, st.sampled_from([0xB, 0x16, 0xFF]), st.integers(0, 255), STREAMS, st.binary(max_size=9)),
    st.builds(wire.frame, st.integers(0, 9), st.integers(0, 255), STREAMS, st.binary(max_size=9)),
)


# What the owner does.


@dataclass(frozen=True)
class Act:
    """Something that the owner does with a stream, if it is possible."""

    what: str
    stream_id: int
    size: int = 0
    end: bool = False


acts = st.builds(
    Act,
    st.sampled_from(
        [
            *("open", "open", "headers", "data", "end", "respond", "reset"),
            *("credit", "credit connection", "grow", "ping", "goaway"),
        ]
    ),
    st.sampled_from([1, 3, 5]),
    SIZES,
    st.booleans(),
)
#: What the owner does at the first events, on the stream of the event.
reactions = st.lists(st.none() | acts, max_size=6)

Step = bytes | Block | Act
steps = st.lists(blocks | frames | acts, min_size=1, max_size=14)


@dataclass
class Owner:
    """Writes down events, and acts, also from inside of them.

    What it has sent is kept here, so that it asks no engine for what HTTP/2 forbids.
    """

    make: Callable[[Any, Http2Settings, bool], Http2Engine]
    client_side: bool
    reactions: list[Act | None]
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = self.make(self, SETTINGS, self.client_side)
        self.reader = wire.Reader(preface=self.client_side)
        # A peer may allow a large table, and hpack uses it.
        self.reader.decoder.max_allowed_table_size = 2**32
        self.sent: list[wire.Read] = []
        self.failed = False
        self._reactions: Iterator[Act | None] = iter(self.reactions)
        #: Streams that are known to be open: whether headers were sent on them.
        self.open: dict[int, bool] = {}
        self.remote_ended: set[int] = set()
        self.local_ended: set[int] = set()
        self.window = SETTINGS.stream_window
        self.engine.start()

    def take(self) -> tuple[list[Event], list[wire.Read]]:
        """Returns what happened since the last time: events and frames."""
        events, self.events = self.events, []
        frames = self.reader.feed(self.engine.data_to_send())
        self.sent += frames
        return events, frames

    # Http2Events.

    def headers_received(self, stream_id: int, headers: list[Header], end_stream: bool) -> None:
        if not self.client_side:
            self.open.setdefault(stream_id, False)
        self._report("headers_received", stream_id, [tuple(header) for header in headers], end_stream)

    def data_received(self, stream_id: int, data: bytes, flow_controlled: int, end_stream: bool) -> None:
        assert type(data) is bytes
        self._report("data_received", stream_id, data, flow_controlled, end_stream)

    def stream_reset(self, stream_id: int, error_code: int, remote: bool) -> None:
        self.open.pop(stream_id, None)
        self._report("stream_reset", stream_id, error_code, remote)

    def window_opened(self, stream_id: int) -> None:
        self._report("window_opened", stream_id)

    def settings_received(self) -> None:
        self._report("settings_received", 0)

    def ping_acknowledged(self, payload: bytes) -> None:
        self._report("ping_acknowledged", 0, payload)

    def ping_received(self) -> None:
        self._report("ping_received", 0)

    def goaway_received(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        self._report("goaway_received", 0, last_stream_id, error_code, debug)

    def connection_failed(self, error_code: int, message: str) -> None:
        assert message
        self.failed = True
        self._report("connection_failed", 0, error_code)

    def _report(self, what: str, stream_id: int, *rest: Any) -> None:
        assert not self.failed or what == "connection_failed"
        self.events.append((what, stream_id, *rest))
        if what in ("headers_received", "data_received") and rest[-1]:
            self.remote_ended.add(stream_id)
            if stream_id in self.local_ended:
                self.open.pop(stream_id, None)
        reaction = next(self._reactions, None)
        if reaction is not None:
            self.act(Act(reaction.what, stream_id or reaction.stream_id, reaction.size, reaction.end))

    # Acting.

    def act(self, act: Act) -> None:
        try:
            self._act(act)
        except HeadersTooLarge as error:
            self.events.append(("too large", act.stream_id, error.size, error.limit))

    def _act(self, act: Act) -> None:
        if self.failed:
            return
        stream_id, engine = act.stream_id, self.engine
        if act.what == "open":
            if self.client_side and len(self.open) < 4:
                opened = engine.open_stream([*REQUEST, (b"n", b"%d" % act.size)], act.end)
                self.open[opened] = True
                if act.end:
                    self.local_ended.add(opened)
        elif act.what == "ping":
            engine.send_ping(b"our ping")
        elif act.what == "goaway":
            engine.send_goaway(engine.last_peer_stream_id, act.size & 7, b"debug")
        elif act.what == "credit connection":
            # The peer has at most what it had at the beginning, and a little more.
            engine.increment_window(0, act.size)
        elif act.what == "grow":
            self.window += act.size
            engine.grow_stream_window(self.window)
        elif stream_id not in self.open:
            engine.reset_stream(stream_id, 8)
            engine.increment_window(stream_id, 1)
        elif act.what == "reset":
            del self.open[stream_id]
            engine.reset_stream(stream_id, 8)
        elif act.what == "credit":
            if stream_id not in self.remote_ended:
                engine.increment_window(stream_id, act.size)
        elif stream_id not in self.local_ended:
            self._send(act)

    def _send(self, act: Act) -> None:
        stream_id, engine = act.stream_id, self.engine
        if act.what == "respond":
            fresh = not self.client_side and not self.open[stream_id]
            if fresh and engine.send_response(stream_id, tuple(RESPONSE), bytes(act.size), TRAILERS):
                self._ended(stream_id)
            return
        if not self.open[stream_id]:
            engine.send_headers(stream_id, RESPONSE, False)
            self.open[stream_id] = True
        window = engine.send_window(stream_id)
        self.events.append(("window", stream_id, window))
        if act.what == "data" and window >= 0:
            engine.send_data(stream_id, bytes(min(act.size, window, engine.peer_max_frame_size)), act.end)
            if act.end:
                self._ended(stream_id)
        elif act.what == "end" and not self.client_side:
            engine.send_headers(stream_id, [(b"grpc-status", b"%d" % (act.size % 7))], True)
            self._ended(stream_id)

    def _ended(self, stream_id: int) -> None:
        self.local_ended.add(stream_id)
        if stream_id in self.remote_ended:
            del self.open[stream_id]


def compile_script(script: list[Step]) -> list[bytes | Act]:
    """Makes bytes of what is still to be encoded."""
    encoder = hpack.Encoder()
    return [step.encode(encoder) if isinstance(step, Block) else step for step in script]


def greeting(client_side: bool) -> bytes:
    """What the peer of an engine says first."""
    return (b"" if client_side else wire.PREFACE) + wire.settings() + wire.SETTINGS_ACK
