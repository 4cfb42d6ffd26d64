"""The measurements of the services, with little to do."""

from __future__ import annotations

import asyncio
import sys

import pytest

from benchmarks import services


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_everything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"FILE_SIZE": 2 * services.MIB, "MEMBERS": 5, "MESSAGES": 3, "WATCHERS": 4, "CHANGES": 3}
    for name, value in small.items():
        monkeypatch.setattr(services, name, value)
    text = services.page(await services.measure())
    for expected in ("download of 1 GiB", "a room of 5 members", "4 watchers of a user", " messages/s", " MiB/s"):
        assert expected in text


async def test_a_reader_that_fails_ends_the_wait() -> None:
    async def fails() -> None:
        raise ValueError("dropped")

    with pytest.raises(ValueError, match="dropped"):
        await services.reached(asyncio.Event(), [asyncio.ensure_future(fails())])
