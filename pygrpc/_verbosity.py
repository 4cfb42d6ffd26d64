"""What the environment says of logging: ``GRPC_VERBOSITY`` and ``GRPC_TRACE``, as grpcio has them.

Logging is the standard library's. Where a program has set it up, its handlers decide; otherwise the variables alone
make this library's messages show up on the standard error stream.
"""

import logging
import sys
from collections.abc import Mapping
from typing import TextIO

VERBOSITY, TRACE = "GRPC_VERBOSITY", "GRPC_TRACE"

_LEVELS = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "ERROR": logging.ERROR,
    "NONE": logging.CRITICAL + 1,
}


class _UntilLoggingIsSetUp(logging.StreamHandler[TextIO]):
    """Writes to standard error as long as no logger above has a handler, and then leaves it to that one."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        above = self._logger.parent
        while above is not None:
            if not all(isinstance(handler, logging.NullHandler) for handler in above.handlers):
                return
            above = above.parent
        # The stream of now: programs replace it.
        self.stream = sys.stderr
        super().emit(record)


def apply(environment: Mapping[str, str], logger: logging.Logger) -> None:
    """Sets the level of a logger, and of its children that are traced.

    Args:
        environment: The environment variables. ``GRPC_VERBOSITY`` is debug, info, error or none in any case.
            ``GRPC_TRACE`` is names with commas between; a minus before one takes it out again.
        logger: The logger of the library.
    """
    verbosity = environment.get(VERBOSITY, "").strip()
    level = _LEVELS.get(verbosity.upper())
    if level is None:
        if verbosity:
            logger.warning("%s can't be %r: expected debug, info, error or none", VERBOSITY, verbosity)
        return
    logger.setLevel(level)
    if level <= logging.ERROR:
        handler = _UntilLoggingIsSetUp(logger)
        handler.setFormatter(logging.Formatter("%(levelname).1s %(asctime)s %(name)s: %(message)s"))
        logger.addHandler(handler)
    for name in environment.get(TRACE, "").split(","):
        name = name.strip()
        if name.startswith("-"):
            logger.getChild(name[1:]).setLevel(max(level, logging.INFO))
        elif name == "all":
            logger.setLevel(logging.DEBUG)
        elif name:
            logger.getChild(name).setLevel(logging.DEBUG)
