"""Load balancing policies of one's own, and load reports of servers; docs/balancing.md tells how to write a policy.

A policy is a class with a ``name``, registered with ``register``; a service config chooses it by that name::

    {"loadBalancingConfig": [{"my_policy": {"some": "setting"}}]}
"""

from typing import Any

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.balancing import (
    NOT_SENT,
    QUEUE,
    Balancer,
    Endpoint,
    Fail,
    FixedPicker,
    Helper,
    InvalidConfig,
    LoadReport,
    Pick,
    Picker,
    PickResult,
    QueuePicker,
    Subchannel,
    register,
)
from pygrpc.core.balancing.group import GroupBalancer
from pygrpc.core.client_call import ClientCall
from pygrpc.core.status import Status

__all__ = [
    "NOT_SENT",
    "QUEUE",
    "Balancer",
    "ChannelConnectivity",
    "ClientCall",
    "Endpoint",
    "Fail",
    "FixedPicker",
    "GroupBalancer",
    "Helper",
    "InvalidConfig",
    "LoadReport",
    "Pick",
    "PickResult",
    "Picker",
    "QueuePicker",
    "Status",
    "Subchannel",
    "register",
    "report_load",
]


def report_load(context: Any, report: LoadReport) -> None:
    """Sends a load report with the status of a call, for clients that balance by ``weighted_round_robin``.

    Args:
        context: The context of the call, of either API; trailing metadata that it has already are kept.
        report: How busy the server is (gRFC A51).
    """
    context.set_trailing_metadata((*(context.trailing_metadata() or ()), report.metadata()))
