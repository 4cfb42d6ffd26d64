"""What stands for ``grpc.framework.foundation.future``."""

from pygrpc.call_interfaces import Future as Future
from pygrpc.call_interfaces import FutureCancelledError as CancelledError
from pygrpc.call_interfaces import FutureTimeoutError as TimeoutError

__all__ = ["CancelledError", "Future", "TimeoutError"]
