"""Load balancing: which connection a call gets (doc/load-balancing.md in the grpc repository).

A policy is given the addresses of a target. It makes a subchannel for each that it wants, asks it to connect, hears of
its states, and publishes a state of the channel with a picker, which chooses a subchannel for each call.
"""

from pygrpc.core.balancing.least_request import LeastRequest
from pygrpc.core.balancing.load_report import LoadReport
from pygrpc.core.balancing.outlier_detection import OutlierDetection
from pygrpc.core.balancing.pick_first import PickFirst
from pygrpc.core.balancing.policy import (
    NOT_SENT,
    QUEUE,
    Balancer,
    Endpoint,
    Fail,
    FixedPicker,
    Helper,
    InvalidConfig,
    Pick,
    Picker,
    PickResult,
    QueuePicker,
    find,
    register,
)
from pygrpc.core.balancing.ring_hash import RingHash
from pygrpc.core.balancing.round_robin import RoundRobin
from pygrpc.core.balancing.subchannel import Connector, Subchannel
from pygrpc.core.balancing.switching import Switch
from pygrpc.core.balancing.weighted_round_robin import WeightedRoundRobin

__all__ = [
    "NOT_SENT",
    "QUEUE",
    "Balancer",
    "Connector",
    "Endpoint",
    "Fail",
    "FixedPicker",
    "Helper",
    "InvalidConfig",
    "LeastRequest",
    "LoadReport",
    "OutlierDetection",
    "Pick",
    "PickFirst",
    "PickResult",
    "Picker",
    "QueuePicker",
    "RingHash",
    "RoundRobin",
    "Subchannel",
    "Switch",
    "WeightedRoundRobin",
    "find",
    "register",
]
