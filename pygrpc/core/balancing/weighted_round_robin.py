"""The policy ``weighted_round_robin``: servers say how busy they are, and get calls accordingly (gRFCs A58, A114)."""

import functools
import heapq
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.balancing.config import policy_fields
from pygrpc.core.balancing.group import GroupBalancer
from pygrpc.core.balancing.load_report import LoadReport, find_report
from pygrpc.core.balancing.policy import Helper, Pick, PickResult, register
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.status import Status

if TYPE_CHECKING:
    from pygrpc.core.client_call import ClientCall


@dataclass(frozen=True, slots=True)
class WeightedRoundRobinConfig:
    """The configuration; times in seconds.

    Attributes:
        blackout_period: How long a server has to send reports before they count.
        weight_expiration_period: How long a report counts.
        weight_update_period: The time between two looks at the weights, 0.1 at least.
        error_utilization_penalty: What the share of errors is multiplied by before it adds to the utilization.
        metric_names: The metrics that the utilization is the largest of; without any, it is that of the application,
            or of the CPU.
    """

    blackout_period: float = 10.0
    weight_expiration_period: float = 180.0
    weight_update_period: float = 1.0
    error_utilization_penalty: float = 1.0
    metric_names: tuple[str, ...] = ()


class Weight:
    """The weight of one address, from its reports."""

    def __init__(self) -> None:
        """Has no reports yet."""
        self._weight = 0.0
        self._updated_at: float | None = None
        self._since: float | None = None

    def report(self, report: LoadReport, config: WeightedRoundRobinConfig, now: float) -> None:
        """Takes a report; one that says nothing changes nothing."""
        utilization = max((report.metric(name) for name in config.metric_names), default=0.0)
        utilization = utilization or report.application_utilization or report.cpu_utilization
        rate = report.rps_fractional
        if not utilization or not rate:
            return
        weight = rate / (utilization + report.eps / rate * config.error_utilization_penalty)
        # What underflows or overflows is no weight; numbers like that are no honest report.
        if not 0 < weight < float("inf"):
            return
        if self._since is None:
            self._since = now
        self._updated_at = now
        self._weight = weight

    def connected(self) -> None:
        """There is a new connection: reports count only when they have come for a while again."""
        self._since = None

    def value(self, config: WeightedRoundRobinConfig, now: float) -> float:
        """The weight that counts now; 0 for none."""
        if self._updated_at is None or now - self._updated_at >= config.weight_expiration_period:
            self._since = None
            return 0.0
        if config.blackout_period > 0 and (self._since is None or now - self._since < config.blackout_period):
            return 0.0
        return self._weight


class EdfScheduler:
    """Earliest deadline first: each entry comes back behind a period that is the inverse of its weight."""

    def __init__(self, weights: Sequence[float], random: Callable[[], float]) -> None:
        """Begins anywhere within each period, so that clients don't march in step.

        Args:
            weights: All above zero.
            random: Returns numbers from 0 to 1, 1 excluded.
        """
        heaviest = max(weights)
        # In relation to the heaviest, and with a bound, so that deadlines stay within what a float tells apart.
        periods = [min(heaviest / weight, 1e6) for weight in weights]
        self._queue = [(random() * period, index, period) for index, period in enumerate(periods)]
        heapq.heapify(self._queue)

    def next(self) -> int:
        """The index of the next entry."""
        deadline, index, period = self._queue[0]
        heapq.heapreplace(self._queue, (deadline + period, index, period))
        return index


class WeightedPicker:
    """Chooses by a scheduler, or in turn while there are no weights."""

    def __init__(self, picks: Sequence[Pick], first: int) -> None:
        """Begins in turn, at an index."""
        self._picks = picks
        self._next = first
        self.scheduler: EdfScheduler | None = None

    def pick(self, call: "ClientCall") -> PickResult:
        """Chooses the next one."""
        if self.scheduler is not None:
            return self._picks[self.scheduler.next()]
        index = self._next
        self._next = (index + 1) % len(self._picks)
        return self._picks[index]


def full_weights(weights: Sequence[float]) -> list[float] | None:
    """Gives those without a weight the average of the others; None if there are fewer than two others."""
    known = [weight for weight in weights if weight]
    if len(known) < 2:
        return None
    average = sum(known) / len(known)
    return [weight or average for weight in weights]


@register
class WeightedRoundRobin(GroupBalancer):
    """Sends more calls to subchannels whose servers have more room."""

    name = "weighted_round_robin"

    def __init__(self, helper: Helper) -> None:
        """Has no addresses yet."""
        super().__init__(helper)
        self._weights: weakref.WeakKeyDictionary[Subchannel, Weight] = weakref.WeakKeyDictionary()
        self._ready: Sequence[Subchannel] = ()
        self._picker: WeightedPicker | None = None
        self._update_at: float | None = None

    @classmethod
    def parse_config(cls, config: Mapping[str, Any]) -> WeightedRoundRobinConfig:
        """Reads the fields of ``WeightedRoundRobinLbConfig``; reports come with calls, and in no other way."""
        fields = policy_fields(config)
        if fields.get("enableOobLoadReport", bool):
            raise fields.error("enableOobLoadReport", "false: reports that come apart from calls are not supported")
        fields.duration("oobReportingPeriod")
        names = fields.get("metricNamesForComputingUtilization", list) or []
        if not all(isinstance(name, str) for name in names):
            raise fields.error("metricNamesForComputingUtilization", "a list of names")

        def seconds(name: str, default: float) -> float:
            found = fields.duration(name)
            return default if found is None else found

        return WeightedRoundRobinConfig(
            blackout_period=seconds("blackoutPeriod", 10.0),
            weight_expiration_period=seconds("weightExpirationPeriod", 180.0),
            weight_update_period=max(seconds("weightUpdatePeriod", 1.0), 0.1),
            error_utilization_penalty=fields.number_or("errorUtilizationPenalty", 1.0),
            metric_names=tuple(names),
        )

    def _weight(self, subchannel: Subchannel) -> Weight:
        return self._weights.setdefault(subchannel, Weight())

    def _on_change(self, subchannel: Subchannel, state: ChannelConnectivity) -> None:
        if state is ChannelConnectivity.READY:
            self._weight(subchannel).connected()
        super()._on_change(subchannel, state)

    def make_picker(self, ready: Sequence[Subchannel]) -> WeightedPicker:
        """Begins with the weights of now."""
        picks = [Pick(each, functools.partial(self._over, self._weight(each))) for each in ready]
        self._ready = ready
        self._picker = WeightedPicker(picks, int(self.helper.random() * len(ready)))
        self._schedule()
        return self._picker

    def _schedule(self) -> None:
        assert self._picker is not None
        now = self.helper.now
        weights = full_weights([self._weight(each).value(self.config, now) for each in self._ready])
        self._picker.scheduler = None if weights is None else EdfScheduler(weights, self.helper.random)
        self._update_at = now + self.config.weight_update_period

    def _over(self, weight: Weight, status: Status) -> None:
        if status.metadata:
            report = find_report(status.metadata)
            if report is not None:
                weight.report(report, self.config, self.helper.now)

    def next_wakeup(self) -> float | None:
        """When to look at the weights again."""
        return self._update_at

    def handle_timeout(self) -> None:
        """Looks at the weights, if that is due."""
        if self._update_at is not None and self.helper.now >= self._update_at:
            self._schedule()

    def refresh(self) -> None:
        """Publishes the state and a picker; without one that is ready there is nothing to update."""
        self._update_at = None
        super().refresh()

    def close(self) -> None:
        """Shuts all subchannels down."""
        self._update_at = None
        super().close()
