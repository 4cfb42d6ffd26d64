"""What policies that keep a connection to every address have in common."""

from collections.abc import Sequence
from typing import Any

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.balancing.policy import Balancer, Endpoint, Fail, FixedPicker, Helper, Picker, QueuePicker
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.status import Status
from pygrpc.core.targets import Address
from pygrpc.status import StatusCode

_IDLE, _CONNECTING, _READY, _FAILED, _ = ChannelConnectivity


class GroupBalancer(Balancer):
    """Connects to all addresses, and lets a subclass choose among those that are ready.

    The channel is READY while any is, CONNECTING while any may become so, else in TRANSIENT_FAILURE. An address that
    has failed counts as failed until it is ready, so that calls don't wait for one that fails again and again.
    """

    def __init__(self, helper: Helper) -> None:
        """Has no addresses yet."""
        super().__init__(helper)
        #: By address, in the resolver's order.
        self.subchannels: dict[Address, Subchannel] = {}
        self._failed: set[Subchannel] = set()
        self.config: Any = None

    def make_picker(self, ready: Sequence[Subchannel]) -> Picker:
        """Makes the picker for the subchannels that are ready, of which there is at least one."""
        raise NotImplementedError

    def update(self, endpoints: Sequence[Endpoint], config: Any) -> None:
        """Takes the addresses; the connections to those that stay are kept."""
        self.config = config
        old, self.subchannels = self.subchannels, {}
        added: list[Subchannel] = []
        for endpoint in endpoints:
            if endpoint.address in self.subchannels:
                continue
            subchannel = old.pop(endpoint.address, None)
            if subchannel is None:
                subchannel = self.helper.create_subchannel(endpoint, self._on_change)
                added.append(subchannel)
            subchannel.endpoint = endpoint
            self.subchannels[endpoint.address] = subchannel
        for subchannel in old.values():
            self._failed.discard(subchannel)
            subchannel.close()
        for subchannel in added:
            subchannel.connect(self.helper.now)
        self.refresh()

    def resolution_failed(self, reason: str) -> None:
        """Fails calls if there are no addresses to go on with."""
        if not self.subchannels:
            self.helper.publish(_FAILED, FixedPicker(Fail(Status(StatusCode.UNAVAILABLE, reason))))

    def close(self) -> None:
        """Shuts all subchannels down."""
        for subchannel in self.subchannels.values():
            subchannel.close()
        self.subchannels = {}
        self._failed = set()

    def _on_change(self, subchannel: Subchannel, state: ChannelConnectivity) -> None:
        if self.subchannels.get(subchannel.endpoint.address) is not subchannel:
            return
        if state is _READY:
            self._failed.discard(subchannel)
        elif state is _FAILED:
            self._failed.add(subchannel)
            self.helper.request_resolution()
        elif state is _IDLE:
            if subchannel not in self._failed:
                self.helper.request_resolution()
            subchannel.connect(self.helper.now)
        self.refresh()

    def refresh(self) -> None:
        """Publishes the state and a picker."""
        ready = [each for each in self.subchannels.values() if each.state is _READY]
        if ready:
            self.helper.publish(_READY, self.make_picker(ready))
        elif len(self._failed) == len(self.subchannels):
            last = next((each.last_error for each in reversed(self.subchannels.values()) if each.last_error), "")
            reason = f"failed to connect to all addresses; last error: {last}"
            self.helper.publish(_FAILED, FixedPicker(Fail(Status(StatusCode.UNAVAILABLE, reason))))
        else:
            self.helper.publish(_CONNECTING, QueuePicker())
