"""What stands for ``grpc.framework.foundation.logging_pool``."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_LOGGER = logging.getLogger("pygrpc")
_P = ParamSpec("_P")
_T = TypeVar("_T")


class _LoggingPool(ThreadPoolExecutor):
    """A pool of threads that logs what its tasks raise, whether or not somebody asks for their results."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(_log)
        return future


def _log(future: Future[_T]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _LOGGER.error("a task in a logging pool raised", exc_info=error)


def pool(max_workers: int) -> ThreadPoolExecutor:
    """Makes a pool of threads that logs what its tasks raise.

    Args:
        max_workers: The number of threads at most.
    """
    return _LoggingPool(max_workers)
