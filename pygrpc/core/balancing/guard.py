"""A wall around pickers: what one raises, or returns that is no choice, fails the call and nothing else."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from pygrpc.core.balancing.policy import Fail, Pick, Picker, PickResult
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.status import Status
from pygrpc.status import StatusCode

if TYPE_CHECKING:
    from pygrpc.core.client_call import ClientCall

_LOGGER = logging.getLogger("pygrpc")


def choose(picker: Picker, call: "ClientCall") -> PickResult:
    """Lets a picker choose for a call; when it can't be understood the call fails with INTERNAL."""
    try:
        return _checked(picker.pick(call))
    except Exception as error:
        _LOGGER.exception("the picker of the load balancing policy raised")
        text = f"the picker of the load balancing policy raised {type(error).__name__}: {error}"
        return Fail(Status(StatusCode.INTERNAL, text), drop=True)


def _checked(result: PickResult) -> PickResult:
    if isinstance(result, Pick):
        if isinstance(result.subchannel, Subchannel):
            return result
    elif result is None or (isinstance(result, Fail) and isinstance(result.status, Status)):
        return result
    raise TypeError(f"pick returns a Pick of a subchannel, a Fail or QUEUE, not {result!r}")


def tell(on_done: Callable[[Status], None], status: Status) -> None:
    """Tells a policy how a call has ended; what it raises is no business of the call."""
    try:
        on_done(status)
    except Exception:
        _LOGGER.exception("on_done of a load balancing policy's pick raised")
