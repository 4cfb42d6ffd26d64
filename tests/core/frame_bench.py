"""A frame engine before a peer that is played by hand."""

from __future__ import annotations

from typing import Any

import hpack

from pygrpc.core.http2 import ErrorCode, Http2Settings
from pygrpc.core.http2.frame_engine import FrameEngine
from pygrpc.core.metadata import Header
from tests.core import wire

REQUEST: list[Header] = [
    (b":method", b"POST"),
    (b":path", b"/a.B/C"),
    (b"content-type", b"application/grpc"),
]
RESPONSE: list[Header] = [(b":status", b"200"), (b"content-type", b"application/grpc")]
TRAILERS: list[Header] = [(b"grpc-status", b"0")]
MAX_WINDOW = 2**31 - 1

Event = tuple[Any, ...]


class End:
    """A frame engine, the bytes of its peer, and what it says and reports."""

    def __init__(self, client_side: bool = False, *, greet: bool = True, ack: bool = True, **settings: Any) -> None:
        self.events: list[Event] = []
        self.engine = FrameEngine(self, Http2Settings(**settings), client_side)
        self.reader = wire.Reader(preface=client_side)
        self.encoder = hpack.Encoder()
        #: Called with each event, from inside of it.
        self.reaction: Any = lambda *event: None
        self.engine.start()
        if greet:
            self.feed((b"" if client_side else wire.PREFACE) + wire.settings() + (wire.SETTINGS_ACK if ack else b""))
            self.frames()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def report(*arguments: Any) -> None:
            self.events.append((name, *arguments))
            self.reaction(name, *arguments)

        return report

    def feed(self, *chunks: bytes) -> list[Event]:
        """Hands over bytes; returns what the engine reports."""
        for chunk in chunks:
            self.engine.receive_data(chunk)
        events, self.events = self.events, []
        return events

    def frames(self) -> list[wire.Read]:
        """What the engine has said since the last time."""
        assert self.engine.queued == sum(map(len, self.engine._out))
        return self.reader.feed(self.engine.data_to_send())

    def block(self, fields: list[Header], *more: Header) -> bytes:
        return self.encoder.encode([*fields, *more], huffman=False)

    def request(self, stream_id: int, *more: Header, end: bool = False) -> list[Event]:
        return self.feed(wire.headers(stream_id, self.block(REQUEST, *more), end))

    def response(self, stream_id: int, *more: Header, end: bool = False) -> list[Event]:
        return self.feed(wire.headers(stream_id, self.block(RESPONSE, *more), end))

    def open(self, end: bool = False) -> int:
        """Opens a stream of a client."""
        stream_id = self.engine.open_stream(REQUEST, end)
        self.frames()
        return stream_id


def failure(events: list[Event]) -> ErrorCode | None:
    """The code of a connection error, which is the last event."""
    return ErrorCode(events[-1][1]) if events and events[-1][0] == "connection_failed" else None


def resets(frames: list[wire.Read]) -> list[tuple[int, int]]:
    return [(each.stream_id, int.from_bytes(each.payload, "big")) for each in frames if each.kind == wire.RST_STREAM]


def credits(frames: list[wire.Read]) -> list[tuple[int, int]]:
    updates = (each for each in frames if each.kind == wire.WINDOW_UPDATE)
    return [(each.stream_id, int.from_bytes(each.payload, "big")) for each in updates]
