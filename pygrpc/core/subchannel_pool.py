"""All subchannels of a channel, whichever policy made them, and what options and service configs have for them."""

from collections.abc import Callable, Iterator

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.backoff import Backoff
from pygrpc.core.balancing.policy import Endpoint
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.channel_shell import ChannelSettings, ChannelShell
from pygrpc.core.health_check import WATCH, Act, HealthCheck
from pygrpc.core.service_config import ServiceConfig


class SubchannelPool:
    """The subchannels that are not shut down, in the order in which they were made."""

    def __init__(self, shell: ChannelShell, settings: ChannelSettings, random: Callable[[], float], act: Act) -> None:
        """Makes a pool that is empty.

        Args:
            shell: Who makes connections.
            settings: The figures of the channel.
            random: Returns numbers from 0 to 1, 1 excluded.
            act: Runs something as one step of the channel.
        """
        self._shell = shell
        self._settings = settings
        self._random = random
        self._act = act
        self._config = ServiceConfig()
        self._subchannels: dict[Subchannel, None] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._subchannels)

    def __iter__(self) -> Iterator[Subchannel]:
        """Those that there are now; they may shut down meanwhile."""
        return iter(list(self._subchannels))

    def make(
        self,
        endpoint: Endpoint,
        on_change: Callable[[Subchannel, ChannelConnectivity], None],
        health: bool,
        now: float,
    ) -> Subchannel:
        """Makes a subchannel that is idle; ``on_change`` is told from within what changes it."""
        backoff = Backoff(self._settings.backoff, self._random)
        timeout = self._settings.min_connect_timeout
        subchannel = Subchannel(endpoint, self._shell, backoff, timeout, on_change, self._forget, self._act, health)
        self._subchannels[subchannel] = None
        self._configure(subchannel, now)
        return subchannel

    def _forget(self, subchannel: Subchannel) -> None:
        self._subchannels.pop(subchannel, None)

    def configure(self, config: ServiceConfig, now: float) -> None:
        """There is a service config."""
        self._config = config
        for subchannel in self:
            self._configure(subchannel, now)

    def _configure(self, subchannel: Subchannel, now: float) -> None:
        config, settings = self._config, self._settings
        subchannel.allow_connections(min(config.max_connections, settings.max_connections), now)
        service = config.health_service
        if settings.inhibit_health_checking or not subchannel.health:
            service = None
        if service != subchannel.watched_service:
            check = None
            if service is not None:
                backoff = Backoff(settings.backoff, self._random)
                check = HealthCheck(subchannel, service, self._shell.request_headers(WATCH), backoff, self._act)
            subchannel.check_health(check, now)

    def reset_backoff(self) -> None:
        """The next attempts may be made at once."""
        for subchannel in self._subchannels:
            subchannel.reset_backoff()

    # Time.

    def next_wakeup(self) -> float | None:
        """When ``handle_timeout`` is to be called, or None."""
        times = [subchannel.next_wakeup() for subchannel in self._subchannels]
        return min((time for time in times if time is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """Does what is due."""
        for subchannel in self:
            subchannel.handle_timeout(now)
