"""What a load balancing policy is: its interface, what it may ask of a channel, and the registry of policies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.status import Status
from pygrpc.core.targets import Address
from pygrpc.status import StatusCode

if TYPE_CHECKING:
    from pygrpc.core.balancing.subchannel import Subchannel
    from pygrpc.core.client_call import ClientCall


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A resolved address, and what the resolver knows of it.

    Attributes:
        address: A numeric IP address and a port, or the path of a Unix socket.
        attributes: What policies may look at, such as ``weight``.
    """

    address: Address
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)


#: What ``Pick.on_done`` is told if no server has seen the call: it is picked for again.
NOT_SENT = Status(StatusCode.UNAVAILABLE, "the call has not been sent")


class Pick(NamedTuple):
    """A picker's choice.

    Attributes:
        subchannel: Where the call goes; if it is not ready any more, the call waits for the next picker.
        on_done: Told the status of the call when it has ended, or None. It is told once for each pick, and gets
            ``NOT_SENT`` itself if the call did not go there after all: there will be another pick for it.
    """

    subchannel: "Subchannel"
    on_done: "Callable[[Status], None] | None" = None


class Fail(NamedTuple):
    """No subchannel can take the call.

    Attributes:
        status: What it ends with.
        drop: Whether calls that wait for ready end too; otherwise they wait for the next picker.
    """

    status: Status
    drop: bool = False


#: The call waits for the next picker.
QUEUE = None

PickResult = Pick | Fail | None


class Picker(Protocol):
    """Chooses a subchannel for each call. It may not block."""

    def pick(self, call: "ClientCall") -> PickResult:
        """Chooses for one call; ``call.request_headers(None)`` has its path and its metadata."""


class QueuePicker:
    """Lets all calls wait.

    Args:
        wanted: Called for each call; a policy that is idle connects then.
    """

    def __init__(self, wanted: Callable[[], object] | None = None) -> None:
        """Keeps whom to tell that there are calls."""
        self._wanted = wanted

    def pick(self, call: "ClientCall") -> PickResult:
        """Lets the call wait."""
        if self._wanted is not None:
            self._wanted()
        return QUEUE


class FixedPicker:
    """Makes the same choice for all calls."""

    def __init__(self, result: PickResult) -> None:
        """Keeps the choice."""
        self.result = result

    def pick(self, call: "ClientCall") -> PickResult:
        """Makes the choice."""
        return self.result


class Helper(Protocol):
    """What a channel, or a policy that has policies of its own, does for a policy."""

    @property
    def now(self) -> float:
        """Monotonic time in seconds."""

    def random(self) -> float:
        """A number from 0 to 1, 1 excluded."""

    def create_subchannel(
        self,
        endpoint: Endpoint,
        on_change: "Callable[[Subchannel, ChannelConnectivity], None]",
        *,
        health: bool = True,
    ) -> "Subchannel":
        """Makes a subchannel, which is idle.

        Args:
            endpoint: Where it is to connect.
            on_change: Told each new state of it, one at a time and never from within another notice.
            health: Whether one that is connected may be held, so that it is not READY: because the server says that it
                is not healthy, or because too many calls fail there. A policy that uses one address only can do no
                better with what it knows then.
        """

    def publish(self, state: ChannelConnectivity, picker: Picker) -> None:
        """Says how things are, and who chooses from now on."""

    def request_resolution(self) -> None:
        """Asks for the addresses anew, since those known don't work; the channel limits how often."""


class InvalidConfig(ValueError):
    """The configuration of a policy can't be understood; the text names the field."""


class Balancer:
    """A load balancing policy; the base of all of them."""

    #: The name in a service config.
    name: ClassVar[str] = ""

    def __init__(self, helper: Helper) -> None:
        """Makes a policy that has no addresses yet.

        Args:
            helper: What it may ask for.
        """
        self.helper = helper

    @classmethod
    def parse_config(cls, config: Mapping[str, Any]) -> Any:
        """Reads the policy's own part of a service config; what is returned goes to ``update``.

        Raises:
            InvalidConfig: It can't be understood.
        """
        return None

    def update(self, endpoints: Sequence[Endpoint], config: Any) -> None:
        """The target has been resolved; the list is never empty."""
        raise NotImplementedError

    def resolution_failed(self, reason: str) -> None:
        """The target could not be resolved, or has no address; a policy that has some keeps them."""
        raise NotImplementedError

    def exit_idle(self) -> None:
        """Somebody wants the channel to connect."""

    def next_wakeup(self) -> float | None:
        """When ``handle_timeout`` is to be called, in monotonic seconds, or None."""
        return None

    def handle_timeout(self) -> None:
        """Does what is due at ``helper.now``."""

    def close(self) -> None:
        """Shuts all subchannels down."""
        raise NotImplementedError


_registry: dict[str, type[Balancer]] = {}


def register(policy: type[Balancer]) -> type[Balancer]:
    """Makes a policy known under its name, in place of one with the same name; may be used as a decorator.

    Raises:
        ValueError: It has no name.
    """
    if not policy.name:
        raise ValueError(f"{policy.__qualname__}.name is empty: it must be the policy's name in service configs")
    _registry[policy.name] = policy
    return policy


def find(name: str) -> type[Balancer] | None:
    """The policy of that name."""
    return _registry.get(name)
