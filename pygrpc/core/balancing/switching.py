"""Policies that come and go: a hand-over without a gap, and a wall around what a user wrote.

When a service config names another policy, the old one serves until the new one is READY, or has failed, or the old one
itself is not READY any more. What a policy raises is logged, and calls fail with its text until the policy publishes
something else; it never reaches the channel.
"""

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.balancing.policy import Balancer, Endpoint, Fail, FixedPicker, Helper, Picker, QueuePicker
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.status import Status
from pygrpc.status import StatusCode

_LOGGER = logging.getLogger("pygrpc")
_IDLE, _CONNECTING, _READY, _FAILED, _ = ChannelConnectivity


class Child:
    """One policy, with what it asks for and what it has published."""

    def __init__(self, parent: "Switch", policy: type[Balancer]) -> None:
        """Makes a policy."""
        self.kind = policy
        self.state = _CONNECTING
        self.picker: Picker = QueuePicker()
        self._parent = parent
        self._closed = False
        self._subchannels: weakref.WeakSet[Subchannel] = weakref.WeakSet()
        self._complained: set[str] = set()
        self._balancer: Balancer | None = self._guard("__init__", policy, self)
        if self._balancer is not None and parent.on_made is not None:
            parent.on_made(self._balancer)

    def _guard(self, what: str, method: Callable[..., Any], *arguments: Any) -> Any:
        """Calls the policy; when it raises, calls fail and None is returned."""
        try:
            return method(*arguments)
        except Exception as error:
            if what not in self._complained:
                self._complained.add(what)
                _LOGGER.exception("%s of the load balancing policy %r raised", what, self.kind.name)
            text = f"the load balancing policy {self.kind.name!r} raised {type(error).__name__}: {error}"
            self.publish(_FAILED, FixedPicker(Fail(Status(StatusCode.UNAVAILABLE, text))))
            return None

    # What the parent tells.

    def update(self, endpoints: Sequence[Endpoint], config: Any) -> None:
        """Passes addresses on."""
        if self._balancer is not None:
            self._guard("update", self._update, self._balancer, endpoints, config)

    def _update(self, balancer: Balancer, endpoints: Sequence[Endpoint], config: Any) -> None:
        if config is None:
            # Nobody configured it: it is the default of the channel.
            config = self.kind.parse_config({})
        balancer.update(endpoints, config)

    def resolution_failed(self, reason: str) -> None:
        """Passes a failed look-up on."""
        if self._balancer is not None:
            self._guard("resolution_failed", self._balancer.resolution_failed, reason)

    def exit_idle(self) -> None:
        """Passes on that somebody wants a connection."""
        if self._balancer is not None:
            self._guard("exit_idle", self._balancer.exit_idle)

    def next_wakeup(self) -> float | None:
        """When the policy wants to be called."""
        if self._balancer is None:
            return None
        when = self._guard("next_wakeup", self._balancer.next_wakeup)
        return when if isinstance(when, (int, float)) else None

    def handle_timeout(self) -> None:
        """Lets the policy do what is due."""
        if self._balancer is not None:
            self._guard("handle_timeout", self._balancer.handle_timeout)

    def close(self) -> None:
        """Ends the policy, and its subchannels even if it forgets them."""
        self._closed = True
        if self._balancer is not None:
            self._guard("close", self._balancer.close)
        for subchannel in list(self._subchannels):
            subchannel.close()

    # Helper: what the policy asks for.

    @property
    def now(self) -> float:
        """Monotonic time in seconds."""
        return self._parent.helper.now

    def random(self) -> float:
        """A number from 0 to 1, 1 excluded."""
        return self._parent.helper.random()

    def create_subchannel(
        self,
        endpoint: Endpoint,
        on_change: Callable[[Subchannel, ChannelConnectivity], None],
        *,
        health: bool = True,
    ) -> Subchannel:
        """Makes a subchannel."""

        def changed(subchannel: Subchannel, state: ChannelConnectivity) -> None:
            if not self._closed:
                self._guard("on_change", on_change, subchannel, state)

        subchannel = self._parent.helper.create_subchannel(endpoint, changed, health=health)
        self._subchannels.add(subchannel)
        return subchannel

    def publish(self, state: ChannelConnectivity, picker: Picker) -> None:
        """Takes the policy's word, unless it has been replaced."""
        if not isinstance(state, ChannelConnectivity) or not hasattr(picker, "pick"):
            raise TypeError(f"publish takes a ChannelConnectivity and a picker, not {state!r} and {picker!r}")
        if not self._closed:
            self.state, self.picker = state, picker
            self._parent.published(self)

    def request_resolution(self) -> None:
        """Asks for the addresses anew."""
        if not self._closed:
            self._parent.helper.request_resolution()


class Switch(Balancer):
    """The policy of the moment; its configuration is a policy and that policy's configuration."""

    def __init__(self, helper: Helper, on_made: Callable[[Balancer], object] | None = None) -> None:
        """Has no policy yet.

        Args:
            helper: What the policies may ask for.
            on_made: Told each policy that is made, before it gets addresses.
        """
        super().__init__(helper)
        self.on_made = on_made
        self._current: Child | None = None
        self._next: Child | None = None

    def update(self, endpoints: Sequence[Endpoint], config: tuple[type[Balancer], Any]) -> None:
        """Passes addresses to the policy of the configuration, which is made if it is another one."""
        policy, own_config = config
        newest = self._next or self._current
        if newest is None or newest.kind is not policy:
            if self._next is not None:
                self._next.close()
            newest = self._next = Child(self, policy)
            if self._current is None or self._current.state is not _READY or newest.state is not _CONNECTING:
                self._promote()
        newest.update(endpoints, own_config)

    def published(self, child: Child) -> None:
        """A policy has said something."""
        current = self._current
        if child is self._next:
            if child.state is not _CONNECTING or current is None:
                self._promote()
        elif child is current:
            if self._next is not None and child.state is not _READY:
                self._promote()
            else:
                self.helper.publish(child.state, child.picker)

    def _promote(self) -> None:
        old, self._current, self._next = self._current, self._next, None
        assert self._current is not None
        # Before the old one goes, whose picker has subchannels that close with it.
        self.helper.publish(self._current.state, self._current.picker)
        if old is not None:
            old.close()

    def _children(self) -> list[Child]:
        return [child for child in (self._current, self._next) if child is not None]

    def resolution_failed(self, reason: str) -> None:
        """Fails calls if there are no addresses to go on with."""
        if self._current is None:
            self.helper.publish(_FAILED, FixedPicker(Fail(Status(StatusCode.UNAVAILABLE, reason))))
        for child in self._children():
            child.resolution_failed(reason)

    def exit_idle(self) -> None:
        """Connects if that needs somebody who wants it."""
        for child in self._children():
            child.exit_idle()

    def next_wakeup(self) -> float | None:
        """When a policy wants to be called."""
        if self._next is None:
            return None if self._current is None else self._current.next_wakeup()
        times = [child.next_wakeup() for child in self._children()]
        return min((time for time in times if time is not None), default=None)

    def handle_timeout(self) -> None:
        """Lets the policies do what is due."""
        for child in self._children():
            child.handle_timeout()

    def close(self) -> None:
        """Ends the policies."""
        for child in self._children():
            child.close()
        self._current = self._next = None
