"""The arguments of ``pygrpc load``."""

from __future__ import annotations

import argparse
import base64
import binascii
import math
import re
from collections.abc import Callable
from pathlib import Path

from pygrpc.load.requests import PLACEHOLDERS

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h)?")
#: PROTOCOL-HTTP2.md of the grpc repository: what names and text values of metadata may consist of.
_KEY = re.compile(r"[0-9a-z_.-]+")
_TEXT_VALUE = re.compile(r"[\x20-\x7e]+")


def duration(text: str) -> float:
    """Reads a duration such as ``500ms``, ``10s``, ``1.5m`` or, in seconds, ``3``.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write 500ms, 10s, 1.5m or 1h")
    return float(found[1]) * _UNITS[found[2] or ""]


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """Returns what reads a number of a kind, and refuses one that is not above zero."""

    def read(text: str) -> float:
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"{text!r} is not above zero")
        return value

    read.__name__ = getattr(kind, "__name__", "number")
    return read


def metadata(text: str) -> tuple[str, str | bytes]:
    """Reads a line of metadata, ``name: value``; the value of a name that ends in ``-bin`` is base64.

    Raises:
        argparse.ArgumentTypeError: It is none, or gRPC does not allow it.
    """
    name, colon, value = text.partition(":")
    name, value = name.strip().lower(), value.strip()
    if not colon or not _KEY.fullmatch(name) or name.startswith("grpc-"):
        raise argparse.ArgumentTypeError(f"{text!r} is no metadata: write 'name: value', and no name of gRPC itself")
    if name.endswith("-bin"):
        try:
            return name, base64.b64decode(value, validate=True)
        except binascii.Error:
            raise argparse.ArgumentTypeError(f"the value of {name} is not base64") from None
    if not _TEXT_VALUE.fullmatch(value):
        raise argparse.ArgumentTypeError(f"the value of {name} is not printable ASCII: give it to a name with -bin")
    return name, value


def channel_option(text: str) -> tuple[str, str | int]:
    """Reads a channel option, ``name=value``; a value that is a whole number becomes one.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is no channel option: write name=value")
    return name, int(value) if re.fullmatch(r"-?\d+", value) else value


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command's arguments."""
    parser = argparse.ArgumentParser(
        prog="pygrpc load",
        description="Makes calls to a gRPC server, as many as it takes or at a rate, and reports how long they took.",
        epilog="Times are such as 500ms, 10s or 1m. docs/load.md has examples.",
    )
    parser.add_argument("target", metavar="TARGET", help="where the server is, such as localhost:50051")
    parser.add_argument("method", metavar="METHOD", help="what to call, such as user.v1.UserService/GetUser")
    _add_contract(parser.add_argument_group("contract", "by default the server is asked, by reflection"))
    _add_requests(parser.add_argument_group("requests"))
    _add_load(parser.add_argument_group("load"))
    _add_connection(parser.add_argument_group("connection"))
    report = parser.add_argument_group("report")
    report.add_argument("--json", action="store_true", help="print the report as JSON")
    report.add_argument("--plot", type=Path, metavar="FILE", help="draw the histogram into an SVG file as well")
    return parser


def _add_contract(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--descriptor-set", type=Path, metavar="FILE", help="output of protoc --descriptor_set_out")
    group.add_argument("--proto", action="append", metavar="FILE", help="a .proto file; may be repeated")
    group.add_argument(
        "-I", "--proto-path", type=Path, action="append", metavar="DIR", help="where to look for .proto files"
    )


def _add_requests(group: argparse._ArgumentGroup) -> None:
    names = ", ".join(f"{{{{{name}}}}}" for name in PLACEHOLDERS)
    group.add_argument(
        "-d",
        "--data",
        action="append",
        metavar="JSON",
        help="a request, or a list of requests that are sent in turn; @FILE reads a file; may be repeated"
        f" (default: {{}}). In its strings stand for something else each time: {names}",
    )
    group.add_argument("--literal", action="store_true", help="leave double braces in requests as they are")
    group.add_argument(
        "--messages", type=positive(int), metavar="N", help="requests in a stream (default: each request once)"
    )
    group.add_argument(
        "--receive", type=positive(int), metavar="N", help="end a call, as OK, after N responses of its stream"
    )
    group.add_argument(
        "-H",
        "--metadata",
        type=metadata,
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="sent with each call; base64 for names in -bin",
    )
    group.add_argument(
        "--timeout", type=positive(duration), default=20.0, metavar="TIME", help="deadline of a call (default: 20s)"
    )


def _add_load(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-c", "--concurrency", type=positive(int), default=10, metavar="N", help="calls in flight (default: 10)"
    )
    group.add_argument(
        "--connections", type=positive(int), metavar="N", help="connections (default: one for each process)"
    )
    group.add_argument(
        "--rate",
        type=positive(float),
        metavar="R",
        help="calls that begin per second, whatever the server does; latencies count from when a call was due"
        " (default: the next call begins when one has ended)",
    )
    group.add_argument(
        "--duration", type=positive(duration), metavar="TIME", help="how long calls begin (default: 10s)"
    )
    group.add_argument("-n", "--calls", type=positive(int), metavar="N", help="how many calls there are")
    group.add_argument("--warmup", type=duration, default=0.0, metavar="TIME", help="calls before, not counted")
    group.add_argument(
        "--pause", type=duration, default=0.0, metavar="TIME", help="between a call and the next in its place"
    )
    group.add_argument(
        "--processes", type=positive(int), default=1, metavar="N", help="processes that share the work (default: 1)"
    )


def _add_connection(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--tls", action="store_true", help="use TLS, and trust the certificates of the system")
    group.add_argument("--ca", type=Path, metavar="FILE", help="use TLS, and trust the certificates of a PEM file")
    group.add_argument("--cert", type=Path, metavar="FILE", help="the client's certificate, as PEM")
    group.add_argument("--key", type=Path, metavar="FILE", help="the client's private key, as PEM")
    group.add_argument("--server-name", metavar="NAME", help="the name that the server's certificate has")
    group.add_argument(
        "--option",
        type=channel_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the channels, such as grpc.max_receive_message_length=-1",
    )
    group.add_argument(
        "--connect-timeout", type=positive(duration), default=10.0, metavar="TIME", help="(default: 10s)"
    )
