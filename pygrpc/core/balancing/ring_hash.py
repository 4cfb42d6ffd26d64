"""The policy ``ring_hash``: calls with the same key go to the same address, as far as that can be (gRFCs A42, A76).

Each address has points on a ring, more with a greater weight, and so has each key; a call goes to the address of the
first point behind its key that works. When addresses come or go, only the keys next to their points move.

The hash is BLAKE2b with a digest of 8 bytes, which the standard library has; other implementations use XXH64. So
two clients of this library agree on where a key belongs, but they and a client of another one need not.
"""

import bisect
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pygrpc.connectivity import ChannelConnectivity
from pygrpc.core.balancing.config import policy_fields
from pygrpc.core.balancing.policy import (
    QUEUE,
    Balancer,
    Endpoint,
    Fail,
    FixedPicker,
    Helper,
    Pick,
    PickResult,
    register,
)
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.metadata import is_key
from pygrpc.core.status import Status
from pygrpc.core.targets import Address
from pygrpc.status import StatusCode

if TYPE_CHECKING:
    from pygrpc.core.client_call import ClientCall

_IDLE, _CONNECTING, _READY, _FAILED, _ = ChannelConnectivity

#: What a configuration may ask for, and what it gets at most (gRFC A42).
LARGEST, CAP = 8 << 20, 4096


@dataclass(frozen=True, slots=True)
class RingHashConfig:
    """The configuration.

    Attributes:
        min_ring_size: Points on the ring at least.
        max_ring_size: Points on the ring at most.
        request_hash_header: The metadata key whose value is the key of a call, or empty: then each has a random one.
    """

    min_ring_size: int = 1024
    max_ring_size: int = CAP
    request_hash_header: str = ""


def hash_of(key: bytes) -> int:
    """Where a key is on the ring, from 0 to 2^64-1."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


class Ring:
    """The points of all addresses."""

    def __init__(self, weights: Sequence[tuple[bytes, int]], config: RingHashConfig) -> None:
        """Makes a ring.

        Args:
            weights: The name and the weight of each address.
            config: The size.
        """
        total = sum(weight for _, weight in weights)
        # The smallest number of points for which the lightest address has a whole number of them.
        lightest = min(weight for _, weight in weights) / total
        size = min(math.ceil(lightest * config.min_ring_size) / lightest, config.max_ring_size)
        points = []
        target = made = 0.0
        for index, (name, weight) in enumerate(weights):
            target += size * weight / total
            turn = 0
            # As sums of fractions, so that the errors of rounding don't add up.
            while made < target - 1e-9:
                points.append((hash_of(b"%s_%d" % (name, turn)), index))
                turn += 1
                made += 1
        points.sort()
        self._hashes = [position for position, _ in points]
        #: Which address each point belongs to, by its number.
        self.owners = [index for _, index in points]

    def first(self, position: int) -> int:
        """The number of the first point at or behind a position."""
        return bisect.bisect_left(self._hashes, position) % len(self._hashes)


class RingHashPicker:
    """Goes around the ring from the key of a call."""

    def __init__(
        self,
        ring: Ring,
        subchannels: Sequence[Subchannel],
        states: Sequence[ChannelConnectivity],
        header: bytes,
        random: Callable[[], float],
        connect: Callable[[Subchannel], None],
    ) -> None:
        """Takes the ring and the states at the moment.

        Args:
            ring: The points.
            subchannels: By the numbers that the ring has for them.
            states: Of each of these.
            header: The metadata key with the key of a call; empty for none.
            random: Returns numbers from 0 to 1, 1 excluded.
            connect: Makes a subchannel connect, behind the pick.
        """
        self._ring = ring
        self._subchannels = subchannels
        self._states = states
        self._header = header
        self._random = random
        self._connect = connect
        self._connecting = _CONNECTING in states

    def pick(self, call: "ClientCall") -> PickResult:
        """Chooses the first one behind the call's key that works, or that may work soon."""
        key = self._key(call)
        owners = self._ring.owners
        start = self._ring.first(int(self._random() * 2**64) if key is None else hash_of(key))
        # gRFC A76: without a key any address will do, so a call waits for none if there is one that works.
        asked = key is None and self._connecting
        seen: set[int] = set()
        for step in range(len(owners)):
            owner = owners[(start + step) % len(owners)]
            if owner in seen:
                continue
            seen.add(owner)
            state = self._states[owner]
            if state is _READY:
                return Pick(self._subchannels[owner])
            if state is _IDLE and not asked:
                self._connect(self._subchannels[owner])
                asked = True
            if key is not None and state in (_IDLE, _CONNECTING):
                return QUEUE
            if len(seen) == len(self._subchannels):
                break
        if asked:
            return QUEUE
        subchannel = self._subchannels[owners[start]]
        reason = f"no address of the ring can be reached; that of the call's key: {subchannel.last_error}"
        return Fail(Status(StatusCode.UNAVAILABLE, reason))

    def _key(self, call: "ClientCall") -> bytes | None:
        if not self._header:
            return None
        values = [value for name, value in call.request_headers(None) if name == self._header]
        return b",".join(values) or None


@register
class RingHash(Balancer):
    """Sends calls with the same key to the same address; connects to an address when a call wants it."""

    name = "ring_hash"

    def __init__(self, helper: Helper) -> None:
        """Has no addresses yet."""
        super().__init__(helper)
        self._config = RingHashConfig()
        self._subchannels: dict[Address, Subchannel] = {}
        self._failed: set[Subchannel] = set()
        self._ring: Ring | None = None
        self._ring_of: tuple[Any, ...] = ()

    @classmethod
    def parse_config(cls, config: Mapping[str, Any]) -> RingHashConfig:
        """Reads ``minRingSize``, ``maxRingSize`` and ``requestHashHeader``."""
        fields = policy_fields(config)
        smallest = fields.whole("minRingSize", 1024, 1, LARGEST)
        largest = fields.whole("maxRingSize", CAP, 1, LARGEST)
        header = fields.get("requestHashHeader", str) or ""
        if header and (not is_key(header) or header.endswith("-bin")):
            raise fields.error("requestHashHeader", "the key of metadata that are text")
        if fields.has("minRingSize") and smallest > largest:
            raise fields.error("minRingSize", f"at most maxRingSize, which is {largest}")
        return RingHashConfig(min(smallest, largest, CAP), min(largest, CAP), header)

    def update(self, endpoints: Sequence[Endpoint], config: RingHashConfig) -> None:
        """Takes the addresses; an address that comes several times weighs more, and so does one with ``weight``."""
        self._config = config
        old, self._subchannels = self._subchannels, {}
        weights: dict[Address, int] = {}
        names: dict[Address, bytes] = {}
        for endpoint in endpoints:
            address = endpoint.address
            subchannel = self._subchannels.get(address) or old.pop(address, None)
            if subchannel is None:
                subchannel = self.helper.create_subchannel(endpoint, self._on_change)
            subchannel.endpoint = endpoint
            self._subchannels[address] = subchannel
            weight = endpoint.attributes.get("weight", 1)
            weights[address] = weights.get(address, 0) + (weight if isinstance(weight, int) and weight > 0 else 1)
            names[address] = str(endpoint.attributes.get("hash_key") or address).encode()
        for subchannel in old.values():
            self._failed.discard(subchannel)
            subchannel.close()
        weighted = [(names[address], weight) for address, weight in weights.items()]
        if (weighted, config) != self._ring_of:
            self._ring, self._ring_of = Ring(weighted, config), (weighted, config)
        self._refresh()

    def resolution_failed(self, reason: str) -> None:
        """Fails calls if there are no addresses to go on with."""
        if not self._subchannels:
            self.helper.publish(_FAILED, FixedPicker(Fail(Status(StatusCode.UNAVAILABLE, reason))))

    def exit_idle(self) -> None:
        """Connects to some address if there is no connection, and no attempt under way."""
        states = self._states()
        if _IDLE in states and not {_READY, _CONNECTING} & set(states):
            list(self._subchannels.values())[states.index(_IDLE)].connect(self.helper.now)

    def close(self) -> None:
        """Shuts all subchannels down."""
        for subchannel in self._subchannels.values():
            subchannel.close()
        self._subchannels = {}
        self._failed = set()

    def _on_change(self, subchannel: Subchannel, state: ChannelConnectivity) -> None:
        if self._subchannels.get(subchannel.endpoint.address) is not subchannel:
            return
        if state is _READY:
            self._failed.discard(subchannel)
        elif state is _FAILED:
            self._failed.add(subchannel)
            self.helper.request_resolution()
        elif state is _IDLE:
            if subchannel in self._failed:
                # gRFC A61: what has failed is tried again and again.
                subchannel.connect(self.helper.now)
            else:
                self.helper.request_resolution()
        self._refresh()

    def _states(self) -> list[ChannelConnectivity]:
        return [_FAILED if each in self._failed else each.state for each in self._subchannels.values()]

    def _refresh(self) -> None:
        states = self._states()
        failed = states.count(_FAILED)
        # gRFC A42, "Aggregated Connectivity State".
        if _READY in states:
            state = _READY
        elif failed >= 2:
            state = _FAILED
        elif _CONNECTING in states or (failed == 1 and len(states) > 1):
            state = _CONNECTING
        else:
            state = _IDLE if _IDLE in states else _FAILED
        if state in (_CONNECTING, _FAILED) and _CONNECTING not in states and _IDLE in states:
            # The next one is tried without a call, too, so that the state doesn't stay what it is for want of calls.
            list(self._subchannels.values())[states.index(_IDLE)].connect(self.helper.now)
            states = self._states()
        assert self._ring is not None
        header = self._config.request_hash_header.encode()
        subchannels = list(self._subchannels.values())
        picker = RingHashPicker(self._ring, subchannels, states, header, self.helper.random, self._connect)
        self.helper.publish(state, picker)

    def _connect(self, subchannel: Subchannel) -> None:
        subchannel.connect(self.helper.now)


@register
class RingHashExperimental(RingHash):
    """The same, under the name that gRFC A42 and older configurations have for it."""

    name = "ring_hash_experimental"
