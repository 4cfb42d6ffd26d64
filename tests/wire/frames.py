"""Bytes of both sides of a connection, put together for the tests."""

from __future__ import annotations

from collections.abc import Sequence

import hpack
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame

from pygrpc.wire.annotate import Conversation, Entry
from pygrpc.wire.messages import Resolver
from pygrpc.wire.recording import Direction, Event, EventKind

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TO_SERVER, TO_CLIENT = Direction.CLIENT_TO_SERVER, Direction.SERVER_TO_CLIENT

Fields = Sequence[tuple[str, str | bytes]]

REQUEST: Fields = (
    (":method", "POST"),
    (":path", "/own.Oracle/Speak"),
    ("content-type", "application/grpc+proto"),
)
RESPONSE: Fields = ((":status", "200"), ("content-type", "application/grpc"))
OK: Fields = (("grpc-status", "0"),)


class Wire:
    """Writes the events of one connection."""

    def __init__(self, resolve: Resolver | None = None, connection: int = 1) -> None:
        self.conversation = Conversation(resolve)
        self.connection = connection
        self.time = 0.0
        self.encoders = {direction: hpack.Encoder() for direction in Direction}

    def begin(self) -> list[Entry]:
        """Sends what both sides begin with."""
        settings = SettingsFrame(0).serialize()
        return self.send(TO_SERVER, PREFACE + settings) + self.send(TO_CLIENT, settings)

    def send(self, direction: Direction, *frames: Frame | bytes) -> list[Entry]:
        data = b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames)
        return self.happen(EventKind.DATA, direction, data)

    def happen(
        self, kind: EventKind, direction: Direction | None = None, data: bytes = b"", note: str = ""
    ) -> list[Entry]:
        self.time += 0.001
        return self.conversation.observe(Event(self.time, self.connection, kind, direction, data, note))

    def headers(self, direction: Direction, stream: int, fields: Fields, last: bool = False) -> Entry:
        block = self.encoders[direction].encode(list(fields))
        [entry] = self.send(direction, HeadersFrame(stream, block, flags=["END_HEADERS", *_end(last)]))
        return entry

    def data(self, direction: Direction, stream: int, data: bytes, last: bool = False) -> Entry:
        [entry] = self.send(direction, DataFrame(stream, data, flags=_end(last)))
        return entry


def _end(last: bool) -> list[str]:
    return ["END_STREAM"] if last else []


def message(data: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(data).to_bytes(4, "big") + data


def lines(entry: Entry) -> list[str]:
    """The details of an entry, each as one line of plain text."""
    return [
        (f"{detail.label}: " if detail.label else "") + detail.text + (f" ({detail.note})" if detail.note else "")
        for detail in entry.details
    ]
