"""The policy ``outlier_detection``: addresses where more calls fail than elsewhere get none for a while (gRFC A50).

It has a policy of its own, which does the balancing, and counts how the calls end that this one places. At each
interval it looks at the counts, and holds the subchannels of who stands out, so that they show TRANSIENT_FAILURE;
their connections stay. It does nothing to pick_first, as gRFC A61 says.
"""

import functools
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.balancing.config import JsonObject, parse_policy, policy_fields
from pygrpc.core.balancing.policy import NOT_SENT, Balancer, Endpoint, Helper, Pick, Picker, PickResult, register
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.balancing.switching import Switch
from pygrpc.core.status import Status
from pygrpc.core.targets import Address
from pygrpc.status import StatusCode

if TYPE_CHECKING:
    from pygrpc.core.client_call import ClientCall

#: Looks at the counts are not closer together than this, in seconds.
SHORTEST_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class SuccessRate:
    """Ejects those whose share of calls that went well is far below the average.

    Attributes:
        stdev_factor: How many thousandths of a standard deviation below.
        enforcement_percentage: How likely it is that one is really ejected.
        minimum_hosts: The addresses with enough calls that there have to be.
        request_volume: How many calls are enough, in one interval.
    """

    stdev_factor: int = 1900
    enforcement_percentage: int = 100
    minimum_hosts: int = 5
    request_volume: int = 100


@dataclass(frozen=True, slots=True)
class FailurePercentage:
    """Ejects those where more than a share of calls fail.

    Attributes:
        threshold: That share, in percent.
        enforcement_percentage: How likely it is that one is really ejected.
        minimum_hosts: The addresses with enough calls that there have to be.
        request_volume: How many calls are enough, in one interval.
    """

    threshold: int = 85
    enforcement_percentage: int = 100
    minimum_hosts: int = 5
    request_volume: int = 50


@dataclass(frozen=True, slots=True)
class OutlierDetectionConfig:
    """The configuration; times in seconds.

    Attributes:
        child: The policy that does the balancing, and its configuration.
        interval: The time between two looks at the counts.
        base_ejection_time: How long the first ejection of an address lasts; the next ones last longer.
        max_ejection_time: How long one lasts at most, unless the base is longer.
        max_ejection_percent: No more are ejected when so many are.
        success_rate: The one algorithm, or None.
        failure_percentage: The other one, or None.
    """

    child: tuple[type[Balancer], Any]
    interval: float = 10.0
    base_ejection_time: float = 30.0
    max_ejection_time: float = 300.0
    max_ejection_percent: int = 10
    success_rate: SuccessRate | None = None
    failure_percentage: FailurePercentage | None = None

    @property
    def counts(self) -> bool:
        """Whether calls are counted at all."""
        return self.success_rate is not None or self.failure_percentage is not None


def _parse(fields: JsonObject) -> OutlierDetectionConfig:
    child = parse_policy(fields, "childPolicy")
    if child is None:
        raise fields.error("childPolicy", "a list of policies")

    def seconds(name: str, default: float) -> float:
        found = fields.duration(name)
        return default if found is None else found

    base = seconds("baseEjectionTime", 30.0)
    return OutlierDetectionConfig(
        child=child,
        interval=max(seconds("interval", 10.0), SHORTEST_INTERVAL),
        base_ejection_time=base,
        max_ejection_time=max(seconds("maxEjectionTime", 300.0), base),
        max_ejection_percent=fields.whole("maxEjectionPercent", 10, 0, 100),
        success_rate=fields.object("successRateEjection", _success_rate),
        failure_percentage=fields.object("failurePercentageEjection", _failure_percentage),
    )


def _success_rate(fields: JsonObject) -> SuccessRate:
    return SuccessRate(
        stdev_factor=fields.whole("stdevFactor", 1900, 0),
        enforcement_percentage=fields.whole("enforcementPercentage", 100, 0, 100),
        minimum_hosts=fields.whole("minimumHosts", 5, 0),
        request_volume=fields.whole("requestVolume", 100, 0),
    )


def _failure_percentage(fields: JsonObject) -> FailurePercentage:
    return FailurePercentage(
        threshold=fields.whole("threshold", 85, 0, 100),
        enforcement_percentage=fields.whole("enforcementPercentage", 100, 0, 100),
        minimum_hosts=fields.whole("minimumHosts", 5, 0),
        request_volume=fields.whole("requestVolume", 50, 0),
    )


class _Host:
    """What is known of one address."""

    def __init__(self) -> None:
        self.successes = self.failures = 0
        #: The counts of the interval that is over.
        self.good = self.bad = 0
        self.ejected_at: float | None = None
        self.multiplier = 0
        self.subchannels: weakref.WeakSet[Subchannel] = weakref.WeakSet()

    @property
    def volume(self) -> int:
        return self.good + self.bad

    def swap(self) -> None:
        self.good, self.bad = self.successes, self.failures
        self.successes = self.failures = 0

    def over(self, on_done: Callable[[Status], None] | None, status: Status) -> None:
        """A call has ended."""
        if status is not NOT_SENT:
            if status.code is StatusCode.OK:
                self.successes += 1
            else:
                self.failures += 1
        if on_done is not None:
            on_done(status)


class CountingPicker:
    """Lets another picker choose, and counts how the calls end."""

    def __init__(self, picker: Picker, hosts: Mapping[Subchannel, _Host]) -> None:
        """Takes the picker of the policy within."""
        self._picker = picker
        self._hosts = hosts

    def pick(self, call: "ClientCall") -> PickResult:
        """Chooses as the other one does."""
        result = self._picker.pick(call)
        if isinstance(result, Pick):
            host = self._hosts.get(result.subchannel)
            if host is not None:
                return Pick(result.subchannel, functools.partial(host.over, result.on_done))
        return result


@register
class OutlierDetection(Balancer):
    """Keeps calls away from addresses where they fail; it is the helper of the policy that it has."""

    name = "outlier_detection"

    def __init__(self, helper: Helper) -> None:
        """Has no addresses yet."""
        super().__init__(helper)
        self._config: OutlierDetectionConfig | None = None
        self._hosts: dict[Address, _Host] = {}
        self._host_of: weakref.WeakKeyDictionary[Subchannel, _Host] = weakref.WeakKeyDictionary()
        self._started_at: float | None = None
        self._child = Switch(self)
        self._published: tuple[ChannelConnectivity, Picker] | None = None

    @classmethod
    def parse_config(cls, config: Mapping[str, Any]) -> OutlierDetectionConfig:
        """Reads the fields of ``OutlierDetectionLoadBalancingConfig``."""
        return _parse(policy_fields(config))

    # What the channel tells.

    def update(self, endpoints: Sequence[Endpoint], config: OutlierDetectionConfig) -> None:
        """Takes the addresses; what is known of those that stay is kept."""
        counted = self._config is not None and self._config.counts
        self._config = config
        addresses = {endpoint.address for endpoint in endpoints}
        self._hosts = {address: host for address, host in self._hosts.items() if address in addresses}
        for address in addresses:
            self._hosts.setdefault(address, _Host())
        if not config.counts:
            self._started_at = None
            for host in self._hosts.values():
                self._restore(host)
                host.multiplier = 0
        elif self._started_at is None:
            self._started_at = self.helper.now
            for host in self._hosts.values():
                host.successes = host.failures = 0
        self._child.update(endpoints, config.child)
        if counted != config.counts and self._published is not None:
            self.publish(*self._published)

    def resolution_failed(self, reason: str) -> None:
        """Passes it on."""
        self._child.resolution_failed(reason)

    def exit_idle(self) -> None:
        """Passes it on."""
        self._child.exit_idle()

    def close(self) -> None:
        """Ends the policy within."""
        self._started_at = None
        self._child.close()

    def next_wakeup(self) -> float | None:
        """When to look at the counts, or what the policy within wants."""
        inner = self._child.next_wakeup()
        if self._started_at is None or self._config is None:
            return inner
        own = self._started_at + self._config.interval
        return own if inner is None else min(own, inner)

    def handle_timeout(self) -> None:
        """Looks at the counts, if that is due."""
        config = self._config
        if config is not None and self._started_at is not None:
            now = self.helper.now
            if now >= self._started_at + config.interval:
                self._started_at = now
                self._look(config, now)
        self._child.handle_timeout()

    # The algorithms; gRFC A50 numbers their steps.

    def _look(self, config: OutlierDetectionConfig, now: float) -> None:
        hosts = list(self._hosts.values())
        for host in hosts:
            host.swap()
        if config.success_rate is not None:
            self._by_success_rate(config.success_rate, hosts, now)
        if config.failure_percentage is not None:
            self._by_failure_percentage(config.failure_percentage, hosts, now)
        for host in hosts:
            if host.ejected_at is None:
                host.multiplier = max(host.multiplier - 1, 0)
            elif now >= host.ejected_at + min(config.base_ejection_time * host.multiplier, config.max_ejection_time):
                self._restore(host)

    def _by_success_rate(self, rule: SuccessRate, hosts: Sequence[_Host], now: float) -> None:
        rates = [
            (host, host.good / host.volume) for host in hosts if host.volume and host.volume >= rule.request_volume
        ]
        if not rates or len(rates) < rule.minimum_hosts:
            return
        mean = sum(rate for _, rate in rates) / len(rates)
        deviation = math.sqrt(sum((rate - mean) ** 2 for _, rate in rates) / len(rates))
        threshold = mean - deviation * rule.stdev_factor / 1000
        for host, rate in rates:
            if self._enough_are_ejected():
                return
            if rate < threshold and self._enforced(rule.enforcement_percentage):
                self._eject(host, now)

    def _by_failure_percentage(self, rule: FailurePercentage, hosts: Sequence[_Host], now: float) -> None:
        enough = [host for host in hosts if host.volume and host.volume >= rule.request_volume]
        if len(enough) < rule.minimum_hosts:
            return
        for host in enough:
            if self._enough_are_ejected():
                return
            failed = 100 * host.bad > rule.threshold * host.volume
            if failed and self._enforced(rule.enforcement_percentage):
                self._eject(host, now)

    def _enough_are_ejected(self) -> bool:
        assert self._config is not None
        ejected = sum(host.ejected_at is not None for host in self._hosts.values())
        return 100 * ejected >= self._config.max_ejection_percent * len(self._hosts)

    def _enforced(self, percentage: int) -> bool:
        return int(self.helper.random() * 100) < percentage

    def _eject(self, host: _Host, now: float) -> None:
        # Calls that were under way may have ended since, so that it stands out a second time.
        if host.ejected_at is None:
            host.multiplier += 1
        host.ejected_at = now
        for subchannel in list(host.subchannels):
            self._hold(subchannel)

    def _hold(self, subchannel: Subchannel) -> None:
        reason = f"{subchannel}: too many calls failed there, so it gets none for a while"
        subchannel.hold(self, ChannelConnectivity.TRANSIENT_FAILURE, reason)

    def _restore(self, host: _Host) -> None:
        host.ejected_at = None
        for subchannel in list(host.subchannels):
            subchannel.release(self)

    # Helper: what the policy within asks for.

    @property
    def now(self) -> float:
        """Monotonic time in seconds."""
        return self.helper.now

    def random(self) -> float:
        """A number from 0 to 1, 1 excluded."""
        return self.helper.random()

    def create_subchannel(
        self,
        endpoint: Endpoint,
        on_change: Callable[[Subchannel, ChannelConnectivity], None],
        *,
        health: bool = True,
    ) -> Subchannel:
        """Makes a subchannel, held from the beginning if its address is ejected."""
        subchannel = self.helper.create_subchannel(endpoint, on_change, health=health)
        host = self._hosts.get(endpoint.address)
        if host is not None and health:
            host.subchannels.add(subchannel)
            self._host_of[subchannel] = host
            if host.ejected_at is not None:
                self._hold(subchannel)
        return subchannel

    def publish(self, state: ChannelConnectivity, picker: Picker) -> None:
        """Passes the state on, with a picker that counts if there is a reason to."""
        self._published = state, picker
        counting = self._config is not None and self._config.counts
        self.helper.publish(state, CountingPicker(picker, self._host_of) if counting else picker)

    def request_resolution(self) -> None:
        """Passes it on."""
        self.helper.request_resolution()


@register
class OutlierDetectionExperimental(OutlierDetection):
    """The same, under the name that older configurations have for it."""

    name = "outlier_detection_experimental"
