"""Which event loop a channel belongs to."""

import asyncio
import warnings


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
