"""What stands for ``grpc._interceptor``."""

from pygrpc._outcomes import Failure as _FailureOutcome
from pygrpc._outcomes import Success as _UnaryOutcome
from pygrpc.interceptors import ClientCallDetails as _ClientCallDetails
from pygrpc.interceptors import _InterceptedChannel as _Channel
from pygrpc.interceptors import _StreamStream as _StreamStreamMultiCallable
from pygrpc.interceptors import _StreamUnary as _StreamUnaryMultiCallable
from pygrpc.interceptors import _UnaryStream as _UnaryStreamMultiCallable
from pygrpc.interceptors import _UnaryUnary as _UnaryUnaryMultiCallable
from pygrpc.interceptors import intercept_channel as intercept_channel

__all__ = [
    "_Channel",
    "_ClientCallDetails",
    "_FailureOutcome",
    "_StreamStreamMultiCallable",
    "_StreamUnaryMultiCallable",
    "_UnaryOutcome",
    "_UnaryStreamMultiCallable",
    "_UnaryUnaryMultiCallable",
    "intercept_channel",
]
