"""Frames as the frame engine writes them, read by hyperframe."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hyperframe.frame import Frame, GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from pygrpc.core.http2 import ErrorCode, frames


def parsed(data: bytes) -> Frame:
    frame, length = Frame.parse_frame_header(memoryview(data[:9]), strict=True)
    assert len(data) == 9 + length
    frame.parse_body(memoryview(data[9:]))
    return frame


def test_small_frames() -> None:
    pairs: list[tuple[bytes, Frame]] = [
        (frames.rst_stream_frame(5, 8), RstStreamFrame(5, error_code=8)),
        (frames.window_update_frame(0, 2**31 - 1), WindowUpdateFrame(0, window_increment=2**31 - 1)),
        (frames.ping_frame(b"12345678", 0), PingFrame(0, b"12345678")),
        (frames.ping_frame(b"12345678", frames.ACK), PingFrame(0, b"12345678", flags=["ACK"])),
        (frames.goaway_frame(7, 11, b"debug"), GoAwayFrame(0, 7, 11, b"debug")),
        (frames.settings_frame([(4, 2**31 - 1), (3, 0)]), SettingsFrame(0, {4: 2**31 - 1, 3: 0})),
        (frames.settings_frame([]), SettingsFrame(0)),
        (frames.SETTINGS_ACK, SettingsFrame(0, flags=["ACK"])),
    ]
    for ours, theirs in pairs:
        assert ours == theirs.serialize()
        assert type(parsed(ours)) is type(theirs)


def test_settings_are_read_in_order() -> None:
    pairs = [(4, 1), (4, 2), (0xFFFF, 2**32 - 1)]
    assert list(frames.read_settings(frames.settings_frame(pairs)[9:])) == pairs


@pytest.mark.parametrize(("payload", "content"), [(b"\0abc", b"abc"), (b"\3abc", b""), (b"\1abc", b"ab"), (b"\0", b"")])
def test_padding(payload: bytes, content: bytes) -> None:
    assert frames.without_padding(payload) == content


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: frames.without_padding(b""), ErrorCode.FRAME_SIZE_ERROR),
        (lambda: frames.without_padding(b"\1"), ErrorCode.PROTOCOL_ERROR),
        (lambda: frames.without_padding(b"\4abc"), ErrorCode.PROTOCOL_ERROR),
        (lambda: frames.require_size("PING", b"1234567", 8), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_what_breaks_a_connection(call: Callable[[], object], code: ErrorCode) -> None:
    with pytest.raises(frames.ConnectionBroken) as caught:
        call()
    assert caught.value.error_code == code
    assert str(caught.value)


def test_the_right_size_is_no_error() -> None:
    frames.require_size("PING", b"12345678", 8)
