"""What both versions need to tell one API from the other."""

import inspect
from typing import Any


def is_asynchronous(server: Any) -> bool:
    """Tells whether a server is one of the asyncio API; a wrapper around one is one too."""
    return inspect.iscoroutinefunction(server.start)
