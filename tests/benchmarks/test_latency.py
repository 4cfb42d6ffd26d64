"""The open loop, and the percentiles of it."""

import asyncio
import io
import time
from typing import Any

import pytest

from benchmarks.latency import START, open_loop, pace, percentile, summary
from benchmarks.work import WrongReply


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    hundred = [float(value) for value in range(1, 101)]
    assert [percentile(hundred, percent) for percent in (0, 50, 99, 99.9, 100)] == [1, 50, 99, 100, 100]
    assert percentile([7.0], 50) == 7.0


@pytest.mark.parametrize(("count", "known"), [(2, ["p50"]), (10, ["p50", "p90"]), (999, ["p50", "p90", "p99"])])
def test_a_percentile_needs_a_call_beyond_it(count: int, known: list[str]) -> None:
    assert list(summary([1.0] * count)) == known


def test_a_thousand_calls_have_them_all() -> None:
    assert summary([1.0] * 990 + [2.0] * 9 + [3.0]) == {"p50": 1.0, "p90": 1.0, "p99": 1.0, "p99.9": 2.0}


async def test_calls_begin_whether_or_not_earlier_ones_have_ended() -> None:
    begun, all_begun = 0, asyncio.Event()

    async def once() -> int:
        nonlocal begun
        begun += 1
        if begun == 10:
            all_begun.set()
        # A closed loop would wait for ever here.
        await all_begun.wait()
        return 1

    async with asyncio.timeout(20):
        found = await open_loop(once, offered=1000.0, seconds=0.001)
    assert (found["count"], found["offered"]) == (10, 1000.0)
    # The first calls were kept waiting until the last one was due.
    assert found["p90"] >= found["p50"] > 0.0


@pytest.mark.parametrize(("offered", "count"), [(0.5, 1), (10_000.0, 100), (200_000.0, 1000), (2_000_000.0, 2000)])
async def test_a_slow_one_gets_more_time_but_not_for_ever(offered: float, count: int) -> None:
    async def once() -> int:
        return 1

    async with asyncio.timeout(20):
        assert (await open_loop(once, offered, seconds=0.001))["count"] == count


async def test_a_call_that_fails_ends_it() -> None:
    async def once() -> int:
        raise ValueError("no")

    with pytest.raises(ExceptionGroup):
        async with asyncio.timeout(20):
            await open_loop(once, offered=1000.0, seconds=0.001)


def test_each_call_becomes_due_once() -> None:
    output = io.BytesIO()
    before = time.perf_counter()
    pace(100_000.0, 500, output)
    (started,) = START.unpack(output.getvalue()[: START.size])
    assert before < started < time.perf_counter()
    assert output.getvalue()[START.size :] == b"." * 500
    # The last one was due so much later than the first one.
    assert time.perf_counter() >= started + 499 / 100_000.0


async def test_a_pace_that_cannot_be_kept_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def once() -> int:
        return 1

    create = asyncio.create_subprocess_exec

    async def one_less(program: str, *arguments: str, **more: Any) -> asyncio.subprocess.Process:
        *others, total = arguments
        return await create(program, *others, str(int(total) - 1), **more)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", one_less)
    with pytest.raises(WrongReply, match="9 of 10 calls became due"):
        async with asyncio.timeout(20):
            await open_loop(once, offered=1000.0, seconds=0.001)
