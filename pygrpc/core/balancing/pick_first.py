"""The policy ``pick_first``: all calls go to the first address that works (gRFCs A61 and A62).

The addresses are tried in order, IPv6 and IPv4 alternating; the next one is tried too when one has failed or has not
answered for ``HEAD_START`` seconds (RFC 8305, "Happy Eyeballs"). When each has failed once the channel is in
TRANSIENT_FAILURE, and stays there until one works: from then on each is tried again as soon as its delay is over.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.balancing.policy import (
    Balancer,
    Endpoint,
    Fail,
    FixedPicker,
    Helper,
    InvalidConfig,
    Pick,
    QueuePicker,
    register,
)
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.status import Status
from pygrpc.core.targets import Address
from pygrpc.status import StatusCode

#: Seconds that an address has for itself before the next one is tried too.
HEAD_START = 0.25

_IDLE, _CONNECTING, _READY, _FAILED, _ = ChannelConnectivity


@register
class PickFirst(Balancer):
    """Sends all calls to one subchannel."""

    name = "pick_first"
    #: Seconds between the beginnings of attempts.
    head_start = HEAD_START

    def __init__(self, helper: Helper) -> None:
        """Has no addresses yet."""
        super().__init__(helper)
        self._endpoints: list[Endpoint] = []
        self._subchannels: dict[Address, Subchannel] = {}
        self._selected: Subchannel | None = None
        #: Addresses that the first pass has not tried yet, and when the next of them is due.
        self._left: list[Subchannel] = []
        self._next_at: float | None = None
        #: Those that have failed in this pass; in TRANSIENT_FAILURE, since the last request for new addresses.
        self._failed: set[Subchannel] = set()
        self._state = _IDLE

    @classmethod
    def parse_config(cls, config: Mapping[str, Any]) -> bool:
        """Reads ``shuffleAddressList`` (gRFC A62)."""
        shuffle = config.get("shuffleAddressList", False)
        if not isinstance(shuffle, bool):
            raise InvalidConfig(f"shuffleAddressList must be true or false, not {shuffle!r}")
        return shuffle

    def _publish(self, state: ChannelConnectivity, picker: FixedPicker | QueuePicker) -> None:
        self._state = state
        self.helper.publish(state, picker)

    # What the channel tells.

    def update(self, endpoints: Sequence[Endpoint], config: Any) -> None:
        """Takes the addresses; a connection to one of them is kept."""
        first = not self._endpoints
        unique = list({endpoint.address: endpoint for endpoint in endpoints}.values())
        if config:
            _shuffle(unique, self.helper)
        self._endpoints = _alternating(unique)
        known = {endpoint.address for endpoint in unique}
        for address in [address for address in self._subchannels if address not in known]:
            gone = self._subchannels.pop(address)
            gone.close()
            if gone is self._selected:
                self._selected = None
                self._state = _CONNECTING
        if self._selected is None and (first or self._state is not _IDLE):
            self._begin()

    def resolution_failed(self, reason: str) -> None:
        """Fails calls if there are no addresses to go on with."""
        if not self._endpoints:
            self._publish(_FAILED, FixedPicker(Fail(Status(StatusCode.UNAVAILABLE, reason))))

    def exit_idle(self) -> None:
        """Connects if there is no connection, and no attempt under way."""
        if self._state is _IDLE and self._endpoints:
            self._begin()

    def next_wakeup(self) -> float | None:
        """When the next address is due."""
        return self._next_at

    def handle_timeout(self) -> None:
        """Tries the next address, if that is due."""
        if self._next_at is not None and self.helper.now >= self._next_at:
            self._try_next()

    def close(self) -> None:
        """Shuts all subchannels down."""
        for subchannel in self._subchannels.values():
            subchannel.close()
        self._subchannels = {}
        self._left = []
        self._selected = self._next_at = None

    # A pass over the addresses.

    def _begin(self) -> None:
        if self._state is not _FAILED:
            self._publish(_CONNECTING, QueuePicker())
        for endpoint in self._endpoints:
            if endpoint.address not in self._subchannels:
                # gRFCs A17 and A61: no health check and no outlier detection acts on it.
                subchannel = self.helper.create_subchannel(endpoint, self._on_change, health=False)
                self._subchannels[endpoint.address] = subchannel
        self._failed = set()
        self._left = [self._subchannels[endpoint.address] for endpoint in self._endpoints]
        self._try_next()

    def _try_next(self) -> None:
        self._next_at = None
        while self._left:
            subchannel = self._left.pop(0)
            if subchannel.state is _FAILED:
                # It failed a moment ago, in an earlier pass, and its delay is not over.
                self._failed.add(subchannel)
                continue
            subchannel.connect(self.helper.now)
            if self._left:
                self._next_at = self.helper.now + self.head_start
            return
        if len(self._failed) == len(self._subchannels):
            self._all_failed(next(reversed(self._subchannels.values())))

    def _on_change(self, subchannel: Subchannel, state: ChannelConnectivity) -> None:
        if self._subchannels.get(subchannel.endpoint.address) is not subchannel:
            return
        if subchannel is self._selected and state in (_CONNECTING, _FAILED):
            # gRFC A105: the last connection is gone while an attempt to have another one goes on, or its delay.
            self._selected = None
            self.helper.request_resolution()
            self._begin()
        elif state is _READY:
            self._select(subchannel)
        elif state is _FAILED:
            self._failed.add(subchannel)
            if len(self._failed) == len(self._subchannels):
                self._all_failed(subchannel)
            elif self._state is not _FAILED:
                self._try_next()
        elif state is _IDLE:
            if subchannel is self._selected:
                self._selected = None
                self._publish(_IDLE, QueuePicker(self.exit_idle))
                self.helper.request_resolution()
            elif self._selected is None and self._state is _FAILED:
                subchannel.connect(self.helper.now)

    def _select(self, subchannel: Subchannel) -> None:
        if self._selected is not None:
            return
        self._selected = subchannel
        self._left = []
        self._next_at = None
        for other in self._subchannels.values():
            if other is not subchannel:
                other.close()
        self._subchannels = {subchannel.endpoint.address: subchannel}
        self._publish(_READY, FixedPicker(Pick(subchannel)))

    def _all_failed(self, last: Subchannel) -> None:
        """Every address has failed once more."""
        reason = f"failed to connect to all addresses; last error: {last.last_error}"
        self._publish(_FAILED, FixedPicker(Fail(Status(StatusCode.UNAVAILABLE, reason))))
        self._failed = set()
        self.helper.request_resolution()
        for subchannel in list(self._subchannels.values()):
            subchannel.connect(self.helper.now)


def _shuffle(endpoints: list[Endpoint], helper: Helper) -> None:
    for last in range(len(endpoints) - 1, 0, -1):
        other = int(helper.random() * (last + 1))
        endpoints[last], endpoints[other] = endpoints[other], endpoints[last]


def _alternating(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    # RFC 8305, section 4: the families take turns, beginning with that of the first address.
    families: dict[tuple[bool, bool], list[Endpoint]] = {}
    for endpoint in endpoints:
        families.setdefault((bool(endpoint.address.path), ":" in endpoint.address.host), []).append(endpoint)
    turns = itertools.zip_longest(*families.values())
    return [endpoint for turn in turns for endpoint in turn if endpoint is not None]
