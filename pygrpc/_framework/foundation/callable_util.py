"""What stands for ``grpc.framework.foundation.callable_util``."""

import enum
import functools
import logging
from collections.abc import Callable
from typing import Any

_LOGGER = logging.getLogger("pygrpc")


class Outcome:
    """How calling something ended.

    Attributes:
        kind: Whether it returned or raised.
        return_value: What it returned.
        exception: What it raised.
    """

    @enum.unique
    class Kind(enum.Enum):
        """How it ended."""

        RETURNED = object()
        RAISED = object()

    def __init__(self, kind: Kind, return_value: Any, exception: BaseException | None) -> None:
        """Keeps how it ended."""
        self.kind = kind
        self.return_value = return_value
        self.exception = exception


def with_exceptions_logged(behavior: Callable[..., Any], message: str) -> Callable[..., Outcome]:
    """Wraps a function so that it logs what it raises.

    Args:
        behavior: The function.
        message: What to log besides.

    Returns:
        A function that never raises, and returns an Outcome.
    """

    @functools.wraps(behavior)
    def logging_exceptions(*args: Any, **kwargs: Any) -> Outcome:
        return call_logging_exceptions(behavior, message, *args, **kwargs)

    return logging_exceptions


def call_logging_exceptions(behavior: Callable[..., Any], message: str, *args: Any, **kwargs: Any) -> Outcome:
    """Calls a function, logs what it raises, and returns how it ended.

    Args:
        behavior: The function.
        message: What to log besides.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.
    """
    try:
        return Outcome(Outcome.Kind.RETURNED, behavior(*args, **kwargs), None)
    except Exception as error:
        _LOGGER.exception(message)
        return Outcome(Outcome.Kind.RAISED, None, error)
