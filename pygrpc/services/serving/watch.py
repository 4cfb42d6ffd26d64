"""The health of services, which follows what they need: databases, folders, Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from pygrpc import StatusCode, aio
from pygrpc.health.v1 import health
from pygrpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Dependency:
    """Something that services need to work.

    Attributes:
        name: What it is called in a sentence, such as "user database".
        check: Returns while it works, and raises if it does not.
    """

    name: str
    check: Callable[[], Awaitable[None]]


class Health(health.aio.HealthServicer):
    """The health service, whose calls of Watch end with the server.

    They would last as long as their clients like, and so hold up each graceful stop until its grace is over.
    """

    def __init__(self) -> None:
        """See the base class."""
        super().__init__()
        self._ending = asyncio.Event()

    async def Watch(
        self, request: HealthCheckRequest, context: aio.ServicerContext[HealthCheckRequest, HealthCheckResponse]
    ) -> None:
        """Tells the status of a service now and whenever it has changed, until the client or the server ends."""
        watching = asyncio.ensure_future(super().Watch(request, context))
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait((watching, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            watching.cancel()
            await asyncio.wait((watching,))
        if watching.cancelled():
            await context.abort(StatusCode.UNAVAILABLE, "the server is shutting down")
        watching.result()

    async def shut_down(self) -> None:
        """Says NOT_SERVING of everything, and ends the calls that watch."""
        await self.enter_graceful_shutdown()
        # Those who watch were woken first, so they have written the news before their calls end.
        self._ending.set()


class Watcher:
    """Checks what services need, and sets their health by it.

    A service is SERVING while all works that it needs, and the server as a whole while all services are.
    """

    def __init__(
        self,
        health: health.aio.HealthServicer,
        needs: Mapping[str, Sequence[Dependency]],
        *,
        interval: float,
        timeout: float,
    ) -> None:
        """Sets nothing before the first check.

        Args:
            health: Where to set it.
            needs: What each service needs, by the full name of the service.
            interval: Seconds between two checks.
            timeout: Seconds that a check may take.
        """
        self._health = health
        self._needs = needs
        self._interval = interval
        self._timeout = timeout
        self._dependencies = tuple(dict.fromkeys(each for group in needs.values() for each in group))
        self._running: dict[Dependency, asyncio.Future[None]] = {}
        self._failed: dict[Dependency, str] = {}

    async def check(self) -> None:
        """Checks everything once, all at the same time."""
        results = await asyncio.gather(*map(self._check_one, self._dependencies))
        for dependency, problem in zip(self._dependencies, results, strict=True):
            self._report(dependency, problem)
        failed = {name for name, group in self._needs.items() if any(each in self._failed for each in group)}
        for name in self._needs:
            await self._set(name, name not in failed)
        await self._set(health.OVERALL_HEALTH, not failed)

    async def run(self) -> None:
        """Checks again and again, until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(self._interval)
                await self.check()
        finally:
            for check in self._running.values():
                check.cancel()
            if self._running:
                await asyncio.wait(self._running.values(), timeout=self._timeout)

    async def _check_one(self, dependency: Dependency) -> str:
        """Returns what is wrong, nothing if all is well."""
        # A check that does not even end when it is cancelled is not begun a second time beside itself.
        check = self._running.get(dependency)
        if check is None or check.done():
            check = asyncio.ensure_future(dependency.check())
            self._running[dependency] = check
        done, _ = await asyncio.wait((check,), timeout=self._timeout)
        if not done:
            check.cancel()
            return f"it did not answer within {self._timeout:g} seconds"
        del self._running[dependency]
        if check.cancelled():
            return "its check was cancelled"
        error = check.exception()
        return "" if error is None else str(error) or type(error).__name__

    def _report(self, dependency: Dependency, problem: str) -> None:
        if problem and dependency not in self._failed:
            _log.error("The %s does not work: %s.", dependency.name, problem)
            self._failed[dependency] = problem
        elif not problem and self._failed.pop(dependency, None) is not None:
            _log.info("The %s works again.", dependency.name)

    async def _set(self, name: str, serving: bool) -> None:
        await self._health.set(name, HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING)
