"""Turns recorded bytes into a conversation: what each side said, in order, with what it means for gRPC."""

from typing import NamedTuple

from pygrpc.core.http2.observed import (
    CutOff,
    Data,
    GoAway,
    HeaderBlock,
    Item,
    NotHttp2,
    ObservedFrame,
    Opaque,
    Ping,
    Preface,
    Priority,
    RawBytes,
    Reset,
    Settings,
    WindowUpdate,
)
from pygrpc.core.http2.reader import FrameReader
from pygrpc.wire.calls import CallView
from pygrpc.wire.details import Detail, DetailKind
from pygrpc.wire.messages import Resolver, count, hex_dump
from pygrpc.wire.recording import Direction, Event, EventKind

__all__ = ["Conversation", "Detail", "DetailKind", "Entry"]

#: More calls than this at once and the one that was silent since the longest time is forgotten.
_MAX_CALLS = 256
#: How much of a frame is kept; a longer DATA frame is shown by its beginning.
_MAX_PAYLOAD = 1 << 20


class Entry(NamedTuple):
    """One step of the conversation: a frame, or something that happened to the connection.

    Attributes:
        time: Seconds since the recording began.
        connection: The number of the connection.
        direction: Who speaks, ``None`` if nobody does.
        name: The name of the frame, or what happened.
        stream_id: The stream of a frame, else ``None``.
        flags: The names of the frame's flags.
        summary: The rest of it in a few words.
        details: More lines: headers, prefixes, messages.
        problem: What is wrong with it, as a sentence; empty if nothing is.
    """

    time: float
    connection: int
    direction: Direction | None
    name: str
    stream_id: int | None = None
    flags: tuple[str, ...] = ()
    summary: str = ""
    details: tuple[Detail, ...] = ()
    problem: str = ""


class Conversation:
    """Annotates the events of a recording, whatever number of connections they belong to."""

    def __init__(self, resolve: Resolver | None = None) -> None:
        """Makes a conversation that nothing was said in.

        Args:
            resolve: Gives the message types of a path; without it messages are read by their shape alone.
        """
        self._resolve = resolve
        self._connections: dict[int, _Annotator] = {}

    def observe(self, event: Event) -> list[Entry]:
        """Takes the next event and returns the entries that it completes."""
        number = event.connection
        annotator = self._connections.get(number)
        if annotator is None:
            annotator = self._connections[number] = _Annotator(number, self._resolve)
        if event.kind is EventKind.DATA and event.direction is not None:
            return annotator.feed(event.time, event.direction, event.data)
        if event.kind is EventKind.EOF and event.direction is not None:
            return annotator.end(event.time, event.direction)
        entries = []
        if event.kind in (EventKind.RESET, EventKind.CLOSED, EventKind.FULL):
            directions = list(Direction) if event.direction is None else [event.direction]
            for direction in directions:
                entries += annotator.flush(event.time, direction)
        if event.kind in (EventKind.CLOSED, EventKind.FULL):
            del self._connections[number]
        entries.append(_happened(event))
        return entries


def _happened(event: Event) -> Entry:
    entry = Entry(event.time, event.connection, event.direction, event.kind.name)
    match event.kind:
        case EventKind.OPENED:
            return entry._replace(summary=f"connection {event.connection} {event.note}".rstrip())
        case EventKind.UNREACHABLE:
            problem = f"the target can't be reached ({event.note}), the client's connection is reset"
            return entry._replace(problem=problem)
        case EventKind.RESET:
            return entry._replace(summary=f"the connection is dropped without a goodbye: {event.note}")
        case EventKind.FULL:
            return entry._replace(problem="the recording is full, nothing more is recorded")
        case _:
            return entry._replace(summary=f"connection {event.connection}")


class _Annotator:
    """Annotates one connection."""

    def __init__(self, connection: int, resolve: Resolver | None) -> None:
        self._connection = connection
        self._resolve = resolve
        self._readers = {
            direction: FrameReader(
                from_client=direction is Direction.CLIENT_TO_SERVER,
                max_payload=_MAX_PAYLOAD,
            )
            for direction in Direction
        }
        self._calls: dict[int, CallView] = {}

    def feed(self, time: float, direction: Direction, data: bytes) -> list[Entry]:
        return self._entries(time, direction, self._readers[direction].feed(data))

    def flush(self, time: float, direction: Direction) -> list[Entry]:
        return self._entries(time, direction, self._readers[direction].close())

    def end(self, time: float, direction: Direction) -> list[Entry]:
        entries = self.flush(time, direction)
        summary = "closes its side of the connection"
        entries.append(Entry(time, self._connection, direction, "EOF", summary=summary))
        return entries

    def _entries(self, time: float, direction: Direction, items: list[Item]) -> list[Entry]:
        return [self._entry(time, direction, item) for item in items]

    def _entry(self, time: float, direction: Direction, item: Item) -> Entry:
        entry = Entry(time, self._connection, direction, "RAW")
        match item:
            case ObservedFrame():
                return self._frame(entry, direction, item)
            case Preface():
                return entry._replace(name="PREFACE", summary="PRI * HTTP/2.0 SM")
            case NotHttp2(reason):
                return entry._replace(name="NOT HTTP/2", problem=reason)
            case CutOff(reason, data):
                return entry._replace(name="CUT OFF", problem=reason, details=_dump(data))
            case RawBytes(data):
                return entry._replace(summary=count(len(data)), details=_raw(data))

    def _frame(self, entry: Entry, direction: Direction, frame: ObservedFrame) -> Entry:
        entry = entry._replace(name=frame.name, stream_id=frame.stream_id, flags=frame.flags, problem=frame.problem)
        match frame.payload:
            case HeaderBlock() | Data():
                return self._call_frame(entry, direction, frame)
            case Reset(_, name):
                self._calls.pop(frame.stream_id, None)
                return entry._replace(summary=name + _reset_meaning(direction, name))
            case Settings(values):
                return entry._replace(
                    summary="the peer's settings are in force"
                    if "ACK" in frame.flags
                    else _settings_count(len(values)),
                    details=tuple(_setting(name, value) for _, name, value in values),
                )
            case Ping(data):
                return entry._replace(summary=data.hex())
            case GoAway(last, _, name, debug):
                note = (Detail(DetailKind.FIELD, _text(debug), "debug data"),) if debug else ()
                return entry._replace(summary=f"{name}, last stream {last}", details=note)
            case WindowUpdate(increment):
                return entry._replace(summary=f"{count(increment)} more may be sent")
            case Priority(depends_on, weight, _):
                return entry._replace(summary=f"weight {weight}, depends on stream {depends_on}")
            case Opaque(data):
                return entry._replace(summary=count(frame.length), details=_dump(data))

    def _call_frame(self, entry: Entry, direction: Direction, frame: ObservedFrame) -> Entry:
        stream = frame.stream_id
        # The call that spoke last is the last of the dict.
        call = self._calls.pop(stream, None) or CallView(self._resolve)
        if isinstance(frame.payload, Data):
            summary, details = call.data(direction, frame.payload, frame.flags)
        elif isinstance(frame.payload, HeaderBlock) and frame.name != "PUSH_PROMISE":
            summary, details = call.headers(direction, frame.payload, frame.flags)
        else:
            summary, details = "", ()
        if not call.over:
            self._calls[stream] = call
            if len(self._calls) > _MAX_CALLS:
                del self._calls[next(iter(self._calls))]
        return entry._replace(summary=summary, details=details)


def _reset_meaning(direction: Direction, name: str) -> str:
    if direction is Direction.CLIENT_TO_SERVER and name == "CANCEL":
        return ": the client gives the call up"
    if direction is Direction.SERVER_TO_CLIENT and name == "NO_ERROR":
        # RFC 9113, section 8.1: the response is complete without the rest of the request.
        return ": the rest of the request is not needed"
    return ""


def _settings_count(number: int) -> str:
    return "1 setting" if number == 1 else f"{number} settings"


def _setting(name: str, value: int) -> Detail:
    note = ""
    if value >= 1024 and value % 1024 == 0:
        note = f"{value >> 20} MiB" if value % (1 << 20) == 0 else f"{value >> 10} KiB"
    return Detail(DetailKind.FIELD, str(value), name, note)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _dump(data: bytes) -> tuple[Detail, ...]:
    return tuple(Detail(DetailKind.RAW, line) for line in hex_dump(data))


def _raw(data: bytes) -> tuple[Detail, ...]:
    line = data.rstrip(b"\r\n")
    if line.isascii() and all(byte >= 32 or byte == 9 for byte in line):
        return (Detail(DetailKind.RAW, line.decode("ascii")),)
    return _dump(data)
