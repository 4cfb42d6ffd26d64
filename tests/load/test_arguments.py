"""The arguments of the command, one by one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pygrpc.load.arguments import channel_option, duration, metadata, parser, positive


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5.0), ("5s", 5.0), ("500ms", 0.5), ("1.5m", 90.0), ("2h", 7200.0), (".5 s", 0.5), (" 1s ", 1.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("Authorization: Bearer abc", ("authorization", "Bearer abc")),
        ("x-key:a:b", ("x-key", "a:b")),
        ("x-key-bin: AAE=", ("x-key-bin", b"\x00\x01")),
    ],
)
def test_metadata(line: str, pair: tuple[str, str | bytes]) -> None:
    assert metadata(line) == pair


@pytest.mark.parametrize(
    ("text", "pair"), [("a.b=-1", ("a.b", -1)), ("a.b=1x", ("a.b", "1x")), ("a=b=c", ("a", "b=c")), ("a=", ("a", ""))]
)
def test_channel_options(text: str, pair: tuple[str, str | int]) -> None:
    assert channel_option(text) == pair


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (duration, "five", "'five' is no duration: write 500ms"),
        (duration, "-5s", "is no duration"),
        (duration, "", "is no duration"),
        (positive(duration), "0s", "'0s' is not above zero"),
        (positive(int), "0", "'0' is not above zero"),
        (positive(float), "inf", "'inf' is not above zero"),
        (positive(float), "nan", "'nan' is not above zero"),
        (metadata, "no colon", "is no metadata: write 'name: value'"),
        (metadata, "grpc-timeout: 1S", "no name of gRPC itself"),
        (metadata, "a b: c", "is no metadata"),
        (metadata, "x-key: ü", "the value of x-key is not printable ASCII"),
        (metadata, "x-key:", "the value of x-key is not printable ASCII"),
        (metadata, "x-bin: %", "the value of x-bin is not base64"),
        (channel_option, "grpc.x", "is no channel option: write name=value"),
    ],
)
def test_what_makes_no_sense(read: Callable[[str], Any], text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        read(text)
    assert said in str(caught.value)


def test_the_defaults() -> None:
    options = parser().parse_args(["host:1", "a.B/C"])
    assert (options.concurrency, options.processes, options.timeout) == (10, 1, 20.0)
    assert (options.rate, options.duration, options.calls) == (None, None, None)


def test_what_may_be_repeated() -> None:
    text = "host:1 a.B/C -d {} -d [] -H a:b -H c:d --proto x.proto --proto y.proto -I p -I q --option a=1 --option b=2"
    options = parser().parse_args(text.split())
    assert (options.data, options.metadata) == (["{}", "[]"], [("a", "b"), ("c", "d")])
    assert (options.proto, options.proto_path) == (["x.proto", "y.proto"], [Path("p"), Path("q")])
    assert options.option == [("a", 1), ("b", 2)]


def test_the_help_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    assert "{{uuid}}" in capsys.readouterr().out
