"""A channel without its I/O: when to resolve, when to connect, which connection a call gets, and what waits.

A shell moves what happens outside in here, with the time, and does what it is asked for: it resolves, connects, leaves
connections, and calls ``handle_timeout`` when it is due. What it reports may come from within such a request as well;
it is dealt with in order.

    IDLE: nothing is resolved and no policy exists. The first call, or ``exit_idle``, makes the policy and resolves.
    CONNECTING, READY, TRANSIENT_FAILURE: what the load balancing policy publishes.
    SHUTDOWN: for good.

In front of all that is a short cut for the hot path: while the policy sends everything to one connection, that is
``direct``, and a call goes there without further thought.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.backoff import Backoff
from pygrpc.core.balancing.guard import choose, tell
from pygrpc.core.balancing.pick_first import PickFirst
from pygrpc.core.balancing.policy import (
    NOT_SENT,
    Balancer,
    Endpoint,
    Fail,
    FixedPicker,
    Pick,
    Picker,
    QueuePicker,
)
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.balancing.switching import Switch
from pygrpc.core.call_factory import CallFactory, Calls, DeferringFactory
from pygrpc.core.channel_shell import ChannelSettings, ChannelShell
from pygrpc.core.client_call import DEADLINE_EXCEEDED, ClientCall
from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.deadlines import Appointment, Deadlines
from pygrpc.core.deferred_call import DeferredCall
from pygrpc.core.resolution import Resolution
from pygrpc.core.retrying_call import RetryingCall
from pygrpc.core.service_config import InvalidServiceConfig, ServiceConfig
from pygrpc.core.status import Status
from pygrpc.core.subchannel_pool import SubchannelPool
from pygrpc.status import StatusCode

_IDLE, _CONNECTING, _READY, _FAILED, _SHUTDOWN = ChannelConnectivity


class ClientChannel:
    """The decisions of one channel."""

    def __init__(
        self,
        shell: ChannelShell,
        settings: ChannelSettings,
        random: Callable[[], float],
        config: ServiceConfig | None = None,
        default_policy: type[Balancer] = PickFirst,
        awaits_config: bool = False,
    ) -> None:
        """Makes a channel that is idle.

        Args:
            shell: Who does the I/O.
            settings: The figures.
            random: Returns numbers from 0 to 1, 1 excluded.
            config: The service config that holds unless the resolver has one.
            default_policy: The load balancing policy if no service config names one.
            awaits_config: Whether the resolver may have a service config, so that calls wait for it.
        """
        self.state = _IDLE
        #: The connection that all calls go to, or None: then each is to be picked for.
        self.direct: ClientConnection | None = None
        self.now = 0.0
        self.random = random
        #: What further connections begin with.
        self.keepalive = settings.keepalive
        self._shell = shell
        self._settings = settings
        self._own_config = config or ServiceConfig()
        self._default_policy = default_policy
        buffer = settings.retry_buffer if settings.enable_retries else None
        self._factory = CallFactory(self, self._own_config, buffer)
        #: Makes the calls while the target is not resolved.
        self._early_calls: Calls = self._factory
        if awaits_config and settings.take_configs:
            self._early_calls = DeferringFactory(self, buffer)
        #: Makes the calls.
        self.calls = self._early_calls
        #: Calls that wait for the service config, in order.
        self._deferred: dict[DeferredCall, None] = {}
        self._balancer: Switch | None = None
        self._picker: Picker = QueuePicker(self._leave_idle)
        self._subchannels = SubchannelPool(shell, settings, random, self._do)
        self._connections: dict[ClientConnection, Subchannel] = {}
        #: Calls that wait for another picker, in order.
        self._waiting: dict[ClientCall, None] = {}
        self._picker_is_new = False
        self._events: list[Callable[[], object]] = []
        self._busy = False
        self._target_is_bad = False
        backoff = Backoff(settings.backoff, random)
        self._resolution = Resolution(shell.resolve, settings.min_time_between_resolutions, backoff)
        self._idle_at: float | None = None
        #: Whether somebody has asked for a connection, not for a call, and there has not been one since.
        self._to_be_ready = False
        #: What calls want to have done, and when.
        self._appointments: Deadlines[Appointment] = Deadlines()
        self._wakeup: float | None = None
        #: Calls that are tried again, and have not ended.
        self._retrying: dict[ClientCall, None] = {}

    # Calls.

    def start(self, call: ClientCall, now: float) -> None:
        """Gives a call to a connection, or lets it wait for one, or ends it because none can be had."""
        if isinstance(call, RetryingCall):
            self.now = now
            self._retrying[call] = None
            call.on_end = functools.partial(self._retrying_over, call)
            if isinstance(call, DeferredCall):
                self._do(functools.partial(self._begin_deferred, call), now)
            else:
                call.begin()
            return
        direct = self.direct
        if direct is not None:
            direct.now = now
            direct.start(call)
        else:
            self._do(functools.partial(self._pick, call), now)

    def _pick(self, call: ClientCall) -> None:
        if call.ended:
            return
        result = choose(self._picker, call)
        if isinstance(result, Pick):
            connection, on_done = result.subchannel.connection, result.on_done
            if connection is not None:
                if on_done is not None:
                    call.on_end = functools.partial(self._over, connection, on_done)
                connection.now = self.now
                connection.start(call)
                return
            if on_done is not None:
                tell(on_done, NOT_SENT)
        elif isinstance(result, Fail) and (result.drop or not call.wait_for_ready):
            call.cancel(result.status)
            return
        self._waiting[call] = None
        call.stop_waiting = functools.partial(self._waiting.pop, call, None)

    def _over(self, connection: ClientConnection, on_done: Callable[[Status], None], status: Status) -> None:
        # It is the connection that knows the time now.
        self.now = max(self.now, connection.now)
        tell(on_done, status)
        if self._picker_is_new or self._events:
            self._do(lambda: None, self.now)

    def _pick_again(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            call.stop_waiting = None
        for call in waiting:
            self._pick(call)
        if self._deferred:
            deferred, self._deferred = self._deferred, {}
            for one in deferred:
                one.stop_waiting = None
                self._begin_deferred(one)

    def _begin_deferred(self, call: DeferredCall) -> None:
        """Begins a call that was made before the service config was known, or lets it wait for that."""
        if call.ended:
            return
        if self.calls is self._factory:
            deadline = call.deadline
            self._factory.configure_call(call)
            if call.deadline is not None and call.deadline != deadline:
                # The shell knows only of the deadline that the user gave it.
                self.call_at(call.deadline, functools.partial(call.cancel, DEADLINE_EXCEEDED))
            call.begin()
            return
        result = choose(self._picker, call)
        if isinstance(result, Fail) and (result.drop or not call.wait_for_ready):
            call.cancel(result.status)
            return
        self._deferred[call] = None
        call.stop_waiting = functools.partial(self._deferred.pop, call, None)

    def _retrying_over(self, call: ClientCall, status: Status) -> None:
        self._retrying.pop(call, None)

    def all_calls(self) -> list[ClientCall]:
        """All calls that have not ended; those that are tried again come before their attempts."""
        on_connections = [call for connection in self._connections for call in connection.all_calls()]
        return [*self._retrying, *self._waiting, *on_connections]

    @property
    def waiting(self) -> list[ClientCall]:
        """The calls that wait for a connection."""
        return list(self._waiting)

    def call_at(self, when: float, action: Callable[[], object]) -> Appointment:
        """Has something done at a time; for calls that are tried again."""
        appointment = Appointment(when, action)
        self._do(functools.partial(self._appointments.add, appointment), self.now)
        return appointment

    # What users want.

    def exit_idle(self, now: float) -> None:
        """Connects if the channel is idle; it is not idle again before it has been READY, or closed."""
        if self.state is not _READY:
            self._to_be_ready = True
        self._do(self._leave_idle, now)

    def reset_backoff(self, now: float) -> None:
        """Makes the next attempts at once: there is reason to believe that the network is back."""
        self._do(self._reset_backoff, now)

    def _reset_backoff(self) -> None:
        self._resolution.reset_backoff(self.now)
        self._subchannels.reset_backoff()

    def close(self, now: float) -> None:
        """Ends the channel. The calls that wait, and those on connections, are the shell's to cancel."""
        self._do(functools.partial(self._stop, _SHUTDOWN), now)

    # What the shell reports.

    def resolved(
        self, endpoints: Sequence[Endpoint], now: float, config: ServiceConfig | InvalidServiceConfig | None = None
    ) -> None:
        """The target has been looked up.

        Args:
            endpoints: Its addresses.
            now: Monotonic time in seconds.
            config: The service config that came with them, or None for the channel's own. One that can't be understood
                changes nothing if there was one before, and else is a failure (gRFC A21).
        """
        self._do(functools.partial(self._resolved, endpoints, config), now)

    def _resolved(self, endpoints: Sequence[Endpoint], config: ServiceConfig | InvalidServiceConfig | None) -> None:
        if self._balancer is None:
            return
        if not self._settings.take_configs:
            config = None
        if not isinstance(config, InvalidServiceConfig):
            self._factory.configure(config or self._own_config)
            self._subchannels.configure(self._factory.config, self.now)
        elif self.calls is not self._factory:
            self._resolution_failed(f"the service config that came with the addresses is invalid: {config}")
            return
        self.calls = self._factory
        if endpoints:
            self._resolution.succeeded(self.now)
            self._balancer.update(endpoints, self._factory.config.policy or (self._default_policy, None))
        else:
            # That is an answer: there are no servers any more, so the connections to those that there were are left.
            self._balancer.close()
            self._balancer = Switch(self, self._adjust)
            self._resolution_failed("the target's name has no addresses")
        if self._deferred:
            # They begin now, whether or not the policy has a new picker for them.
            self._picker_is_new = True

    def resolution_failed(self, reason: str, now: float) -> None:
        """The target could not be looked up; it is tried again behind a delay."""
        self._do(functools.partial(self._resolution_failed, reason), now)

    def _resolution_failed(self, reason: str) -> None:
        if self._balancer is not None:
            self._resolution.failed(self.now)
            self._balancer.resolution_failed(reason)

    def connected(self, subchannel: Subchannel, connection: ClientConnection, now: float) -> None:
        """An attempt has led to a connection on which the server's SETTINGS have arrived."""
        self._do(functools.partial(self._connected, subchannel, connection), now)

    def _connected(self, subchannel: Subchannel, connection: ClientConnection) -> None:
        if connection.failure is None:
            # Otherwise it is gone already, and nobody will report that again.
            self._connections[connection] = subchannel
        if not subchannel.connected(connection):
            self._shell.leave(connection)

    def connect_failed(self, subchannel: Subchannel, reason: str, now: float) -> None:
        """An attempt has failed."""
        self._do(functools.partial(subchannel.connect_failed, reason), now)

    def connection_draining(self, connection: ClientConnection, now: float) -> None:
        """A connection takes no more calls."""
        if connection is self.direct:
            self.direct = None
        self._mind_complaint(connection)
        self._do(functools.partial(self._connection_draining, connection), now)

    def _connection_draining(self, connection: ClientConnection) -> None:
        subchannel = self._connections.get(connection)
        if subchannel is not None:
            subchannel.connection_left(connection)
            if subchannel.connection is not None:
                self._look_for_short_cut()

    def unsent(self, calls: Sequence[ClientCall], now: float) -> None:
        """Calls have to be picked for again, since no server has handled them."""
        self._do(functools.partial(self._unsent, calls), now)

    def _unsent(self, calls: Sequence[ClientCall]) -> None:
        for call in calls:
            on_end, call.on_end = call.on_end, None
            if on_end is not None:
                on_end(NOT_SENT)
            self._pick(call)

    def connection_lost(self, connection: ClientConnection, now: float) -> None:
        """A connection is closed, after it had been reported as draining."""
        self._mind_complaint(connection)
        self._do(functools.partial(self._connections.pop, connection, None), now)

    def _mind_complaint(self, connection: ClientConnection) -> None:
        if connection.least_keepalive_time > self.keepalive.time:
            # gRFC A8: for connections that are made from now on.
            self.keepalive = replace(self.keepalive, time=connection.least_keepalive_time)

    def handle_timeout(self, now: float) -> None:
        """Does what is due."""
        self._do(self._handle_timeout, now)

    def _handle_timeout(self) -> None:
        if self._idle_at is not None and self.now >= self._idle_at:
            self._check_idle()
        if self._resolution.due is not None and self.now >= self._resolution.due:
            self._resolution.begin(self.now)
        for appointment in self._appointments.pop_expired(self.now):
            if appointment.action is not None:
                appointment.action()
        self._subchannels.handle_timeout(self.now)
        if self._balancer is not None:
            self._balancer.handle_timeout()

    # One thing after the other.

    def _do(self, action: Callable[[], object], now: float) -> None:
        """Runs an action and all that comes of it, unless that is under way already: then it is done in its turn."""
        self.now = now
        events = self._events
        events.append(action)
        if self._busy:
            return
        self._busy = True
        try:
            while events or self._picker_is_new:
                if events:
                    events.pop(0)()
                else:
                    self._picker_is_new = False
                    self._pick_again()
        finally:
            self._busy = False
        wakeup = self._next_wakeup()
        if wakeup != self._wakeup:
            self._wakeup = wakeup
            self._shell.on_wakeup(wakeup)

    def _next_wakeup(self) -> float | None:
        times = [self._idle_at, self._resolution.due, self._appointments.next(), self._subchannels.next_wakeup()]
        if self._balancer is not None:
            times.append(self._balancer.next_wakeup())
        return min((time for time in times if time is not None), default=None)

    def _move(self, state: ChannelConnectivity) -> None:
        if state is not self.state and self.state is not _SHUTDOWN:
            self.state = state
            if state is _READY:
                self._to_be_ready = False
            self._shell.on_state(state)

    def _adjust(self, policy: Balancer) -> None:
        """Tells a new policy what the options have for it."""
        if isinstance(policy, PickFirst):
            policy.head_start = self._settings.head_start

    # Idleness.

    def _leave_idle(self) -> None:
        if self.state is _SHUTDOWN or self._target_is_bad:
            return
        if self._balancer is not None:
            self._balancer.exit_idle()
            return
        self._balancer = Switch(self, self._adjust)
        self._picker = QueuePicker()
        self._move(_CONNECTING)
        if self._settings.idle_timeout is not None:
            self._idle_at = self.now + self._settings.idle_timeout
        self._resolution.begin(self.now)

    def _check_idle(self) -> None:
        assert self._settings.idle_timeout is not None
        used_at = max((connection.used_at for connection in self._connections), default=0.0)
        on_connections = any(connection.all_calls() for connection in self._connections)
        busy = self._waiting or self._deferred or self._to_be_ready or on_connections
        self._idle_at = (self.now if busy else used_at) + self._settings.idle_timeout
        if self._idle_at <= self.now:
            self._stop(_IDLE)

    def _stop(self, state: ChannelConnectivity) -> None:
        """Lets everything go."""
        self.direct = self._idle_at = None
        self._resolution.stop()
        self.calls = self._early_calls
        if state is _SHUTDOWN:
            self._appointments = Deadlines()
        balancer, self._balancer = self._balancer, None
        if balancer is not None:
            balancer.close()
            self._shell.stop_resolving()
        self._picker = QueuePicker(self._leave_idle)
        self._move(state)

    # Helper: what policies ask for.

    def create_subchannel(
        self,
        endpoint: Endpoint,
        on_change: Callable[[Subchannel, ChannelConnectivity], None],
        *,
        health: bool = True,
    ) -> Subchannel:
        """Makes a subchannel; its changes are told one after the other."""

        def changed(subchannel: Subchannel, state: ChannelConnectivity) -> None:
            self._events.append(functools.partial(on_change, subchannel, state))

        return self._subchannels.make(endpoint, changed, health, self.now)

    def publish(self, state: ChannelConnectivity, picker: Picker) -> None:
        """Takes the state and the picker of the policy."""
        if self._balancer is None:
            return
        self._picker = picker
        self._picker_is_new = True
        self._look_for_short_cut()
        self._move(state)

    def _look_for_short_cut(self) -> None:
        picker = self._picker
        self.direct = None
        if isinstance(picker, FixedPicker) and isinstance(picker.result, Pick) and picker.result.on_done is None:
            self.direct = picker.result.subchannel.connection

    def request_resolution(self) -> None:
        """Resolves again, as soon as that may be."""
        self._resolution.request(self.now)

    def target_is_bad(self, reason: str) -> None:
        """The target can't be understood, so every call fails for good, whether or not it waits for ready."""
        self._target_is_bad = True
        self._move(_FAILED)
        self._picker = FixedPicker(Fail(Status(StatusCode.UNAVAILABLE, reason), drop=True))
