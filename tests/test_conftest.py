"""The hook that runs async tests, tried on tests that ought to fail."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import conftest


async def test_a_test_runs_in_a_loop(tmp_path: Any) -> None:
    assert asyncio.get_running_loop().is_running()
    assert tmp_path.exists()


@given(st.integers())
async def test_a_property_runs_in_a_loop(number: int) -> None:
    await asyncio.sleep(0)
    assert isinstance(number, int)
    assert asyncio.get_running_loop().is_running()


def test_a_task_that_is_left_running_fails_the_test() -> None:
    async def test() -> None:
        test.task = asyncio.create_task(asyncio.Event().wait(), name="forgotten")  # type: ignore[attr-defined]

    with pytest.raises(AssertionError, match=r"tasks were left running: .*forgotten"):
        conftest.in_fresh_loop(test)()


def test_a_task_that_is_being_cancelled_may_finish() -> None:
    async def test() -> None:
        task = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(0)
        task.cancel()

    conftest.in_fresh_loop(test)()


def test_an_error_in_a_callback_fails_the_test() -> None:
    def callback() -> None:
        raise ValueError("in a callback")

    async def test() -> None:
        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="in a callback"):
        conftest.in_fresh_loop(test)()


def test_an_error_in_the_poller_of_grpcio_is_passed_over() -> None:
    class PollerCompletionQueue:
        def _handle_events(self) -> None:
            raise RuntimeError("Event loop is closed")

    PollerCompletionQueue._handle_events.__qualname__ = "PollerCompletionQueue._handle_events"

    async def test() -> None:
        asyncio.get_running_loop().call_soon(PollerCompletionQueue()._handle_events)
        await asyncio.sleep(0)

    conftest.in_fresh_loop(test)()


def test_a_test_that_hangs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "TEST_BOUND", 0.01)

    async def test() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        conftest.in_fresh_loop(test)()
