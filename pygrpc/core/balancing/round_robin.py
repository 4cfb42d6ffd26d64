"""The policy ``round_robin``: calls go to all addresses in turn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pygrpc.core.balancing.group import GroupBalancer
from pygrpc.core.balancing.policy import Pick, PickResult, register
from pygrpc.core.balancing.subchannel import Subchannel

if TYPE_CHECKING:
    from pygrpc.core.client_call import ClientCall


class RoundRobinPicker:
    """Chooses the next subchannel each time."""

    def __init__(self, ready: Sequence[Subchannel], first: int) -> None:
        """Begins at an index."""
        self._picks = [Pick(subchannel) for subchannel in ready]
        self._next = first

    def pick(self, call: "ClientCall") -> PickResult:
        """Chooses the next one."""
        index = self._next
        self._next = (index + 1) % len(self._picks)
        return self._picks[index]


@register
class RoundRobin(GroupBalancer):
    """Sends calls to all subchannels that are ready, in turn."""

    name = "round_robin"

    def make_picker(self, ready: Sequence[Subchannel]) -> RoundRobinPicker:
        """Begins anywhere, so that the clients of a service don't all begin at its first server."""
        return RoundRobinPicker(ready, int(self.helper.random() * len(ready)))
