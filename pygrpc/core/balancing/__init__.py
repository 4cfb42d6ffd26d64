"""Load balancing: which connection a call gets (doc/load-balancing.md in the grpc repository).

A policy is given the addresses of a target. It makes a subchannel for each that it wants, asks it to connect, hears of
its states, and publishes a state of the channel with a picker, which chooses a subchannel for each call.
"""

from pygrpc.core.balancing.pick_first import PickFirst
from pygrpc.core.balancing.policy import (
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
from pygrpc.core.balancing.round_robin import RoundRobin
from pygrpc.core.balancing.subchannel import Connector, Subchannel

__all__ = [
    "QUEUE",
    "Balancer",
    "Connector",
    "Endpoint",
    "Fail",
    "FixedPicker",
    "Helper",
    "InvalidConfig",
    "Pick",
    "PickFirst",
    "PickResult",
    "Picker",
    "QueuePicker",
    "RoundRobin",
    "Subchannel",
    "find",
    "register",
]
