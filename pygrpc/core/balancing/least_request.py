"""The policy ``least_request``: calls go to the least busy one of a few that are drawn at random (gRFC A48)."""

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pygrpc.core.balancing.config import policy_fields
from pygrpc.core.balancing.group import GroupBalancer
from pygrpc.core.balancing.policy import Helper, Pick, PickResult, register
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.status import Status

if TYPE_CHECKING:
    from pygrpc.core.client_call import ClientCall

#: How many are drawn, unless the configuration says so; and at most.
CHOICES, MOST_CHOICES = 2, 10


class _Count:
    """The calls that one subchannel has at the moment."""

    def __init__(self) -> None:
        self.active = 0


class LeastRequestPicker:
    """Draws some subchannels, and chooses the one with the fewest calls."""

    def __init__(self, ready: Sequence[tuple[Subchannel, _Count]], choices: int, random: Callable[[], float]) -> None:
        """Draws among those that are ready, with replacement."""
        self._ready = ready
        self._choices = choices
        self._random = random

    def pick(self, call: "ClientCall") -> PickResult:
        """Chooses; among equals the one that was drawn first."""
        ready, random = self._ready, self._random
        subchannel, count = ready[int(random() * len(ready))]
        for _ in range(self._choices - 1):
            other = ready[int(random() * len(ready))]
            if other[1].active < count.active:
                subchannel, count = other
        count.active += 1
        return Pick(subchannel, functools.partial(_over, count))


def _over(count: _Count, status: Status) -> None:
    count.active -= 1


@register
class LeastRequest(GroupBalancer):
    """Sends calls to subchannels that have few."""

    name = "least_request"

    def __init__(self, helper: Helper) -> None:
        """Has no addresses yet."""
        super().__init__(helper)
        #: They go with their subchannels.
        self._counts: weakref.WeakKeyDictionary[Subchannel, _Count] = weakref.WeakKeyDictionary()

    @classmethod
    def parse_config(cls, config: Mapping[str, Any]) -> int:
        """Reads ``choiceCount``: 2 at least, and what is above 10 counts as 10."""
        return min(policy_fields(config).whole("choiceCount", CHOICES, 2), MOST_CHOICES)

    def make_picker(self, ready: Sequence[Subchannel]) -> LeastRequestPicker:
        """The counts outlive the picker."""
        counted = [(subchannel, self._counts.setdefault(subchannel, _Count())) for subchannel in ready]
        return LeastRequestPicker(counted, self.config, self.helper.random)


@register
class LeastRequestExperimental(LeastRequest):
    """The same, under the name that gRFC A48 and older configurations have for it."""

    name = "least_request_experimental"
