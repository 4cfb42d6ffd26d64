"""Runs async tests, and fails those that leave something behind."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import hypothesis
import pytest

from tests.grpcio_writes import wait_for_the_status

wait_for_the_status()

collect_ignore = ["protos"]

# Channels of pygrpc and of grpcio go through the proxy that these name, and tests are to reach their own servers.
for _name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
    os.environ.pop(_name, None)

#: Seconds that an async test may take. A bound against hangs only: tests wait for events, not for time.
TEST_BOUND = 60.0

#: Turns of the loop that tasks get to finish after a test, for those that are cancelled but have not run yet.
GRACE_TURNS = 20

# A shared machine makes single examples slow, which says nothing about the code: hence no deadline. In CI the examples
# are the same in each run, so that a red run can be repeated; on a desk they vary and find more.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs an ``async def`` test, also one under ``@given``, in an event loop of its own."""
    function = pyfuncitem.obj
    given = getattr(function, "hypothesis", None)
    if given is not None and inspect.iscoroutinefunction(given.inner_test):
        # Hypothesis calls inner_test once for each example: each gets its own loop.
        given.inner_test = in_fresh_loop(given.inner_test)
        return None
    if not inspect.iscoroutinefunction(function):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(function).parameters}
    in_fresh_loop(function)(**arguments)
    return True


def in_fresh_loop(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Makes a plain function of an async test."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(watched(function(*args, **kwargs)))

    return run


async def watched(test: Awaitable[None]) -> None:
    """Awaits a test under the bound; fails if it leaves tasks running or an error went to the loop's handler."""
    loop = asyncio.get_running_loop()
    problems: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    async with asyncio.timeout(TEST_BOUND):
        await test
    leaked = await leaked_tasks()
    errors = [problem for problem in problems if not is_noise_of_grpcio(problem)]
    if errors:
        lines = [f"{problem['message']}: {problem.get('exception')!r}" for problem in errors]
        raise AssertionError("errors reached the event loop's exception handler: " + "; ".join(lines))
    if leaked:
        raise AssertionError("tasks were left running: " + ", ".join(sorted(repr(task) for task in leaked)))


async def leaked_tasks() -> set[asyncio.Task[Any]]:
    """Returns the tasks of pygrpc and of the tests that still run when the loop has had some turns."""
    current = asyncio.current_task()
    for _ in range(GRACE_TURNS):
        left = {task for task in asyncio.all_tasks() if task is not current and not is_task_of_grpcio(task)}
        if not left:
            break
        await asyncio.sleep(0)
    return left


def is_task_of_grpcio(task: asyncio.Task[Any]) -> bool:
    """Tells whether a task belongs to grpcio, the peer of interop tests, which cleans up in its own time."""
    coroutine = task.get_coro()
    code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "ag_code", None)
    # Coroutines that are compiled by Cython have no code object to say which file they come from.
    return not inspect.iscoroutine(coroutine) or code is None or "/grpc/aio/" in code.co_filename.replace("\\", "/")


def is_noise_of_grpcio(problem: dict[str, Any]) -> bool:
    """Tells whether the poller of grpcio caused an error.

    All loops of a process share one poller there. When loops come and go, as they do between tests, it reads the
    wake-up of another loop (BlockingIOError), or finds a late event for one that is closed (RuntimeError).
    """
    return "PollerCompletionQueue._handle_events" in problem["message"]
