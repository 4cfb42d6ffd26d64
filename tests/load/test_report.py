"""The report, in text and as JSON."""

from __future__ import annotations

import json

import pytest

from pygrpc.load.plan import Plan
from pygrpc.load.report import as_json, as_text, latency_summary, remarks
from pygrpc.load.requests import Requests
from pygrpc.load.result import LoadResult, Outcome

PLAN = Plan("host:1", "a.B/C", Requests((b"",)), concurrency=5, connections=2)
OPEN = Plan("host:1", "a.B/C", Requests((b"",)), concurrency=1, rate=50.0)


def result() -> LoadResult:
    made = LoadResult(seconds=10.0)
    for number in range(1, 1000):
        made.record(Outcome("OK", "", 1, 2, 100, 4096), number / 1000)
    made.record(Outcome("NOT_FOUND", "no user\nhas id 7", 1, 0, 100, 0), 1.0)
    return made


def test_the_text() -> None:
    lines = as_text(PLAN, result()).splitlines()
    assert lines[:5] == [
        "a.B/C on host:1: 5 calls in flight at most on 2 connections, 10.00 s",
        "",
        "  calls          1,000  100.0/s",
        "  messages       1,000  sent, 97.7 KiB",
        "                 1,998  received, 3.9 MiB",
    ]
    assert lines[7] == "    OK                          999"
    assert lines[8].startswith("    NOT_FOUND                     1  p50 1000.000 ms  'no user has id 7'")
    latencies = dict(line.split() for line in lines[11:19])
    assert list(latencies) == ["mean", "min", "p50", "p90", "p95", "p99", "p99.9", "max"]
    assert (latencies["mean"], latencies["min"], latencies["max"]) == ("500.500", "1.000", "1000.000")
    assert float(latencies["p99"]) == pytest.approx(990, rel=0.005)
    rows = [line.split() for line in lines[21:]]
    assert len(rows) == 12 and sum(int(row[3].replace(",", "")) for row in rows) == 1000
    assert (rows[0][0], rows[-1][2], max(len(row[-1]) for row in rows)) == ("1.000", "1000.000", 40)


def test_the_text_without_a_call() -> None:
    assert as_text(OPEN, LoadResult(interrupted=True, unfinished=1)).splitlines() == [
        "a.B/C on host:1: 50 calls/s, 1 call in flight at most on 1 connection, 0.00 s",
        "  The test was interrupted; not counted: 1 call in flight.",
        "",
        "  calls              0  0.0/s",
    ]


def test_the_json() -> None:
    report = json.loads(json.dumps(as_json(PLAN, result())))
    assert (report["calls"], report["seconds"], report["calls_per_second"]) == (1000, 10.0, 100.0)
    assert report["messages"] == {"sent": 1000, "received": 1998}
    assert report["bytes"] == {"sent": 100_000, "received": 999 * 4096}
    assert report["codes"]["NOT_FOUND"]["example"] == "no user\nhas id 7"
    assert report["codes"]["OK"]["calls"] == 999
    assert report["latency_ms"]["p50"] == pytest.approx(500, rel=0.005)
    assert report["latency_ms"]["max"] == 1000.0
    assert sum(count for _, _, count in report["histogram"]) == 1000
    assert "rate" not in report


def test_a_rate_that_was_not_held() -> None:
    made = result()
    made.began_late(0.75)
    made.missed = 12
    assert remarks(OPEN, made) == [
        "The rate of 50/s could not be held: of the calls that were due, 12 never began and 1 began late, by up to"
        " 750 ms, because all 1 in flight were still going on."
    ]
    assert as_json(OPEN, made)["rate"] == {
        "asked_per_second": 50.0, "held": False, "late": 1, "latest_ms": 750.0, "missed": 12,
    }  # fmt: skip


def test_a_rate_that_was_held_in_the_end() -> None:
    made = result()
    assert remarks(OPEN, made) == []
    made.began_late(0.75)
    made.began_late(0.0)
    (said,) = remarks(OPEN, made)
    assert said == "The rate was held, but 1 call began late, by up to 750.0 ms; the latencies have that in them."


def test_no_latencies() -> None:
    assert latency_summary(LoadResult().latencies()) == {}
