"""Which event loop a channel belongs to."""

import asyncio
import sys
import warnings
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def default_loop() -> asyncio.AbstractEventLoop:
    """The loop that was set to run in this thread: a call may be made before it runs, and awaited when it does.

    Raises:
        RuntimeError: There is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return asyncio.get_event_loop()


def loop_runs() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def start_task(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Does what ``create_task`` does, at less cost where it is done for each call; the name should say which call."""
    if loop.get_task_factory() is None:
        return asyncio.Task(coroutine, loop=loop, name=name)
    return loop.create_task(coroutine)


def start_now(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Starts a task that most likely ends without waiting, and then needs no turn of the loop from Python 3.12 on.

    Args:
        loop: The loop that runs it.
        coroutine: What it runs.
        name: What it is for, to be seen where it is made for less than ``create_task`` takes.
    """
    if sys.version_info >= (3, 12) and loop.get_task_factory() is None:
        return asyncio.Task(coroutine, loop=loop, eager_start=True)
    return start_task(loop, coroutine, name)
