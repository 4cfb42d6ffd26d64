"""An engine before a peer that is played by hand."""

from typing import Any

from hyperframe.frame import ExtensionFrame, Frame

from pygrpc.core.http2 import Http2Engine, Http2Settings, create_engine
from tests.core.pair import REQUEST, Cut, RawPeer, cut


class Recorder:
    """Writes down what an engine reports."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: self.events.append((name, *arguments))

    def take(self) -> list[tuple[Any, ...]]:
        events, self.events = self.events, []
        return events


class Bench:
    """An engine before a hand-made peer."""

    def __init__(self, *, client: bool, greet: bool = True, peer: dict[int, int] | None = None, **settings: Any):
        self.client = client
        self.recorder = Recorder()
        self.engine: Http2Engine = create_engine(self.recorder, Http2Settings(**settings), client)
        self.engine.start()
        self._fed: Cut = None
        self.peer = RawPeer(self, is_client=not client, greet=greet, settings=peer)  # type: ignore[arg-type]
        if greet:
            self.recorder.take()

    # What RawPeer needs of a core.

    def receive_data(self, data: bytes, now: float) -> None:
        for piece in cut(data, self._fed):
            self.engine.receive_data(piece)

    def data_to_send(self) -> bytes:
        return self.engine.data_to_send()

    def feed(self, *frames: Frame) -> list[tuple[Any, ...]]:
        """Sends frames of the peer; returns what the engine reports."""
        self.peer.send(*frames)
        return self.recorder.take()

    def answers(self, kind: type[Frame] = Frame) -> list[Any]:
        return [frame for frame in self.peer.receive() if isinstance(frame, kind)]

    def open(self, *, end: bool = False) -> int:
        """Opens the next stream from the client's side."""
        if self.client:
            stream_id = self.engine.open_stream(REQUEST, end)
            self.peer.receive()
            return stream_id
        stream_id = self.engine.last_peer_stream_id + 2 if self.engine.last_peer_stream_id else 1
        self.feed(self.peer.headers(stream_id, REQUEST, end))
        return stream_id


def failures(events: list[tuple[Any, ...]]) -> list[int]:
    return [event[1] for event in events if event[0] == "connection_failed"]


def raw(kind: int, stream_id: int, body: bytes, flags: int = 0) -> ExtensionFrame:
    """Any frame, also one that hyperframe would not make."""
    frame = ExtensionFrame(kind, stream_id, flags, body)
    frame.body_len = len(body)
    return frame
