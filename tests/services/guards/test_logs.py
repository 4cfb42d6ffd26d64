"""Logs in JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pygrpc
from pygrpc import aio
from pygrpc.services.guards import (
    HEALTH,
    Access,
    AccessLog,
    Authentication,
    Identity,
    JsonFormatter,
    RequestIds,
    StaticTokens,
)
from pygrpc.services.guards.logs import shown
from tests.services.guards.support import KINDS, SERVICE, Clock, bearer, guarded, path, until

ANN = "token-of-ann-0123456"
AUTHENTICATION = Authentication([StaticTokens({ANN: Identity("ann")})], access=Access(public=[f"/{SERVICE}/*"]))


class Lines(logging.Handler):
    """Keeps what a log file would have."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("test.calls")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def log(**options: Any) -> AccessLog:
    return AccessLog(logging.getLogger("test.calls"), **options)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_line_for_each_call(client_aio: ModuleType, lines: Lines, kind: str) -> None:
    clock = Clock(10.0)
    guards = (RequestIds(), log(clock=clock), AUTHENTICATION)
    async with guarded(client_aio, *guards) as server:
        call = server.start(kind, b"wait", metadata=[*bearer(ANN), ("x-request-id", "one")])
        await server.methods.begun.wait()
        clock.now = 10.25
        server.methods.go_on.set()
        assert await call.code() is not None if not kind.endswith("stream") else [each async for each in call]
        await until(lambda: bool(lines.lines))
    [line] = lines.calls
    assert line.pop("time").endswith("Z")
    peer = line.pop("peer")
    assert peer.startswith("ipv4:127.0.0.1:")
    sent, answers = (2 if kind.startswith("stream") else 1), (2 if kind.endswith("stream") else 1)
    size = {"unary_unary": 4, "unary_stream": 5, "stream_unary": 8, "stream_stream": 8}[kind]
    assert line == {
        "level": "INFO",
        "logger": "test.calls",
        "message": f"{path(kind)} OK",
        "request_id": "one",
        "method": path(kind),
        "identity": "ann",
        "code": "OK",
        "duration_ms": 250.0,
        "requests": sent,
        "request_bytes": 4 * sent,
        "responses": answers,
        "response_bytes": size,
    }


@pytest.mark.parametrize(
    ("request_", "code", "level"),
    [(b"abort", "NOT_FOUND", "INFO"), (b"fail", "UNKNOWN", "ERROR"), (b"x", "OK", "INFO")],
)
async def test_the_code_and_its_level(lines: Lines, request_: bytes, code: str, level: str) -> None:
    async with guarded(aio, log()) as server:
        await server.start("unary_unary", request_).code()
        await until(lambda: bool(lines.lines))
    [line] = lines.calls
    assert (line["code"], line["level"], line["identity"], line["request_id"]) == (code, level, None, "")


async def test_refused_and_unknown_calls_are_logged(lines: Lines) -> None:
    refusing = Authentication([StaticTokens({ANN: Identity("ann")})], access=Access(public=HEALTH))
    async with guarded(aio, log(), refusing) as server:
        await server.failure("unary_unary")
        await server.failure("unary_unary", method="/a.B/C", metadata=bearer(ANN))
        await until(lambda: len(lines.lines) == 2)
    assert [(line["method"], line["code"]) for line in lines.calls] == [
        (path("unary_unary"), "UNAUTHENTICATED"),
        ("/a.B/C", "UNIMPLEMENTED"),
    ]


async def test_what_is_secret_is_not_logged(lines: Lines) -> None:
    async with guarded(aio, RequestIds(), log(), AUTHENTICATION) as server:
        metadata = [*bearer(ANN), ("password", "hidden-1")]
        await server.call("unary_unary", b"hidden-2", metadata=metadata)
        await server.failure("unary_unary", b"abort", metadata=bearer("hidden-3"))
        await until(lambda: len(lines.lines) == 2)
    text = "".join(lines.lines)
    assert "hidden" not in text and ANN not in text and "there is none" not in text


async def test_a_sample_of_what_went_well(lines: Lines) -> None:
    draws = iter([0.0, 0.3, 0.29, 0.99])
    async with guarded(aio, log(sample=0.3, draw=lambda: next(draws))) as server:
        for _ in range(4):
            await server.call("unary_unary")
            await server.failure("unary_unary", b"abort")
        await until(lambda: len(lines.lines) == 6)
    assert [line["code"] for line in lines.calls].count("OK") == 2


async def test_a_log_that_nobody_wants_costs_no_line(lines: Lines) -> None:
    logging.getLogger("test.calls").setLevel(logging.ERROR)
    async with guarded(aio, log()) as server:
        await server.call("unary_unary")
        await server.failure("unary_unary", b"fail")
        await until(lambda: bool(lines.lines))
    assert [line["code"] for line in lines.calls] == ["UNKNOWN"]


async def test_the_log_has_a_name_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pygrpc.services.calls")
    async with guarded(aio, AccessLog()) as server:
        await server.call("unary_unary")
        await until(lambda: bool(caplog.records))
    assert caplog.messages == [f"{path('unary_unary')} OK"]


async def test_names_of_methods_cannot_make_lines(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger("test.calls").propagate = True
    async with guarded(aio, log()) as server:
        await server.failure("unary_unary", method='/a.B/C", "code": "OK')
        await server.failure("unary_unary", method="/a.B/" + "x" * 3000)
        await until(lambda: len(lines.lines) == 2)
    logging.getLogger("test.calls").propagate = False
    quoted, long = lines.calls
    assert (quoted["method"], quoted["code"]) == ('/a.B/C", "code": "OK', "UNIMPLEMENTED")
    assert len(long["method"]) == 259


async def test_a_method_makes_no_fields_of_its_own(client_aio: ModuleType, lines: Lines) -> None:
    forged = "/a.B/C OK request_id=forged identity=root"
    async with guarded(client_aio, log()) as server:
        await server.failure("unary_unary", method=forged)
        await until(lambda: len(lines.lines) == 1)
    [call] = lines.calls
    assert call["method"] == forged
    assert call["message"] == r"/a.B/C\x20OK\x20request_id=forged\x20identity=root UNIMPLEMENTED"


@given(st.text(max_size=400))
def test_what_is_shown_is_one_line_of_ascii(text: str) -> None:
    line = shown(text)
    assert line.isascii() and line.isprintable() and len(line) <= 260


@given(st.text(max_size=50), st.text(max_size=50))
def test_whatever_is_logged_is_one_line_of_json(message: str, field: str) -> None:
    record = logging.LogRecord("a", logging.INFO, "file", 1, "%s", (message,), None)
    record.call = {"field": field}
    line = JsonFormatter().format(record)
    assert line.isascii() and line.isprintable()
    assert (json.loads(line)["message"], json.loads(line)["field"]) == (message, field)


def test_errors_are_in_the_same_line() -> None:
    try:
        raise ValueError("a mistake")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "file", 1, "failed", (), sys.exc_info(), sinfo="Stack")
    line = JsonFormatter().format(record)
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed["exception"].endswith("ValueError: a mistake")
    assert parsed["stack"] == "Stack"


async def test_other_lines_of_a_call_have_its_id(lines: Lines) -> None:
    async def handler(request: bytes, context: Any) -> bytes:
        logging.getLogger("test.calls").info("working")
        return request

    methods = {"Logs": pygrpc.unary_unary_rpc_method_handler(handler)}
    generic = pygrpc.method_handlers_generic_handler("test.Logs", methods)
    async with guarded(aio, RequestIds(make=lambda: "one"), handlers=[generic]) as server:
        await server.call("unary_unary", method="/test.Logs/Logs")
    logging.getLogger("test.calls").info("outside")
    assert [(line["message"], line.get("request_id")) for line in lines.calls] == [
        ("working", "one"),
        ("outside", None),
    ]
