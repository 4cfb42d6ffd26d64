"""Health that follows what services need."""

from __future__ import annotations

import asyncio
import logging

import pytest

from pygrpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from pygrpc.services.serving.watch import Dependency, Health, Watcher

BOUND = 20.0


class Switched:
    """Something that works or does not, as it is told."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.checks = 0
        self.hangs: asyncio.Event | None = None
        self.stubborn = False

    async def check(self) -> None:
        self.checks += 1
        while self.hangs is not None and not self.hangs.is_set():
            try:
                await self.hangs.wait()
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise
        if self.error is not None:
            raise self.error


def statuses(health: Health) -> dict[str, str]:
    listed = health._statuses.listed()
    assert listed is not None
    return {
        name: HealthCheckResponse.ServingStatus.Name(answer.status)
        .replace("NOT_SERVING", "no")
        .replace("SERVING", "yes")
        for name, answer in listed.statuses.items()
    }


def watcher(health: Health, *, timeout: float = BOUND, **needs: list[Dependency]) -> Watcher:
    return Watcher(health, needs, interval=0.001, timeout=timeout)


async def test_a_service_serves_while_all_works_that_it_needs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    health, database, folder = Health(), Switched(), Switched()
    one, two = Dependency("database", database.check), Dependency("folder", folder.check)
    watching = watcher(health, user=[one], file=[one, two], other=[])
    await watching.check()
    assert statuses(health) == {"": "yes", "user": "yes", "file": "yes", "other": "yes"}
    folder.error = OSError("it is gone")
    await watching.check()
    await watching.check()
    assert statuses(health) == {"": "no", "user": "yes", "file": "no", "other": "yes"}
    folder.error, database.error = None, ValueError()
    await watching.check()
    assert statuses(health) == {"": "no", "user": "no", "file": "no", "other": "yes"}
    database.error = None
    await watching.check()
    assert statuses(health) == {"": "yes", "user": "yes", "file": "yes", "other": "yes"}
    # What several services need is checked once.
    assert database.checks == 5
    assert caplog.messages == [
        "The folder does not work: it is gone.",
        "The database does not work: ValueError.",
        "The folder works again.",
        "The database works again.",
    ]


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_check_that_hangs_has_failed(stubborn: bool, caplog: pytest.LogCaptureFixture) -> None:
    health, database = Health(), Switched()
    database.hangs, database.stubborn = asyncio.Event(), stubborn
    watching = watcher(health, timeout=0.001, user=[Dependency("database", database.check)])
    await watching.check()
    await watching.check()
    assert statuses(health)["user"] == "no"
    # One that does not end when it is cancelled is not begun again beside itself.
    assert database.checks == (1 if stubborn else 2)
    assert caplog.messages == ["The database does not work: it did not answer within 0.001 seconds."]
    database.hangs.set()
    watching._timeout = BOUND
    await watching.check()
    assert statuses(health)["user"] == "yes"


async def test_it_checks_again_and_again() -> None:
    health, database = Health(), Switched()
    watching = watcher(health, user=[Dependency("database", database.check)])
    running = asyncio.create_task(watching.run())
    while database.checks < 3:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_check_under_way_ends_with_the_watcher() -> None:
    health, database = Health(), Switched()
    database.hangs = asyncio.Event()
    running = asyncio.create_task(watcher(health, user=[Dependency("database", database.check)]).run())
    while not database.checks:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_nothing_serves_any_more_behind_the_end() -> None:
    health, database = Health(), Switched()
    watching = watcher(health, user=[Dependency("database", database.check)])
    await watching.check()
    await health.shut_down()
    await watching.check()
    assert statuses(health) == {"": "no", "user": "no"}


class Broken:
    """The context of a call whose client has gone."""

    async def write(self, message: HealthCheckResponse) -> None:
        raise ConnectionError("the client has gone")


async def test_an_error_of_a_call_that_watches_ends_it() -> None:
    with pytest.raises(ConnectionError, match="the client has gone"):
        await Health().Watch(HealthCheckRequest(), Broken())  # type: ignore[arg-type]
