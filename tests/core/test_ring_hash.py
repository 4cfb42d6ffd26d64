"""The policy ring_hash: where keys belong, which address is tried, and the state of the whole."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.core.balancing import Endpoint, InvalidConfig, find
from pygrpc.core.balancing.ring_hash import CAP, LARGEST, Ring, RingHash, RingHashConfig, hash_of
from pygrpc.core.targets import Address
from pygrpc.status import StatusCode
from tests.core.channels import CONNECTING, FAILED, IDLE, READY, FakeShell, streams
from tests.core.pair import ClientEnd

CONFIG = {"loadBalancingConfig": [{"ring_hash": {"requestHashHeader": "session"}}]}


def start(shell: FakeShell, key: str = "") -> ClientEnd:
    end = ClientEnd(metadata=[(b"session", key.encode())] if key else [])
    shell.channel.start(end.call, shell.now)
    return end


def shell_with(*names: str, random: float = 0.5) -> FakeShell:
    shell = FakeShell(config=CONFIG, random=random)
    shell.channel.exit_idle(shell.now)
    shell.resolved(*names)
    return shell


def key_of(owner: str, *names: str) -> str:
    """A key whose place on the ring of these addresses belongs to one of them."""
    ring = Ring([(str(Address(name, 1)).encode(), 1) for name in names], RingHashConfig())
    keys = (f"key{number}" for number in range(1000))
    return next(key for key in keys if names[ring.owners[ring.first(hash_of(key.encode()))]] == owner)


# The configuration.


def test_the_configuration_is_read() -> None:
    assert RingHash.parse_config({}) == RingHashConfig()
    assert RingHash.parse_config({"min_ring_size": 10, "maxRingSize": "100", "request_hash_header": "session-id"}) == (
        RingHashConfig(10, 100, "session-id")
    )
    # gRFC A42: what is larger counts as the cap; so does the least size when only the greatest is given.
    assert RingHash.parse_config({"minRingSize": LARGEST, "maxRingSize": LARGEST}) == RingHashConfig(CAP, CAP)
    assert RingHash.parse_config({"maxRingSize": 5}) == RingHashConfig(5, 5)
    experimental = find("ring_hash_experimental")
    assert experimental is not None
    assert issubclass(experimental, RingHash)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"minRingSize": 0}, "minRingSize must be a whole number from 1 to 8388608, not 0"),
        ({"maxRingSize": LARGEST + 1}, "maxRingSize must be a whole number from 1 to 8388608"),
        ({"minRingSize": 10, "maxRingSize": 5}, "minRingSize must be at most maxRingSize, which is 5, not 10"),
        ({"requestHashHeader": "a-bin"}, 'requestHashHeader must be the key of metadata that are text, not "a-bin"'),
        ({"requestHashHeader": "A B"}, "requestHashHeader must be the key"),
        ({"requestHashHeader": 1}, "requestHashHeader must be a string"),
    ],
)
def test_what_is_wrong_is_named(config: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        RingHash.parse_config(config)


# The ring.


def test_the_hash_is_stable() -> None:
    # Processes, machines and releases have to agree.
    assert hash_of(b"") == 0xE4A6A0577479B2B4
    assert hash_of(b"session") == hash_of(bytes(bytearray(b"session")))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(1, 300), st.integers(1, 400))
def test_each_address_has_its_share_of_points(weights: list[int], smallest: int, largest: int) -> None:
    smallest = min(smallest, largest)
    entries = [(b"%d" % number, weight) for number, weight in enumerate(weights)]
    ring = Ring(entries, RingHashConfig(smallest, largest))
    counts = Counter(ring.owners)
    size = sum(counts.values())
    assert smallest <= size <= largest
    total = sum(weights)
    for index, weight in enumerate(weights):
        assert abs(counts[index] - size * weight / total) < 2
    if size < largest:
        # Below the greatest size the lightest has a whole number of points, and the others in proportion.
        assert counts[weights.index(min(weights))] >= 1
    assert ring._hashes == sorted(ring._hashes)


@given(st.integers(0, 2**64 - 1))
def test_the_first_point_behind_a_position_is_found(position: int) -> None:
    ring = Ring([(b"a", 1), (b"b", 3)], RingHashConfig(8, 8))
    behind = [number for number, point in enumerate(ring._hashes) if point >= position]
    assert ring.first(position) == (behind[0] if behind else 0)


def test_only_the_keys_of_an_address_that_goes_move() -> None:
    config = RingHashConfig()
    names = [b"a", b"b", b"c", b"d"]
    # With so many points the ring of three has as many for each as the ring of four.
    four = Ring([(name, 1) for name in names], RingHashConfig(1024, 1024))
    three = Ring([(name, 1) for name in names[:3]], RingHashConfig(768, 768))
    moved = Counter[bytes]()
    for number in range(500):
        place = hash_of(b"%d" % number)
        before, after = names[four.owners[four.first(place)]], names[three.owners[three.first(place)]]
        if before != after:
            moved[before] += 1
    assert set(moved) == {b"d"}
    assert config.max_ring_size == CAP


# Calls.


def test_calls_connect_to_the_address_of_their_key_and_stay_there() -> None:
    shell = shell_with("a", "b", "c")
    assert shell.attempted == []
    assert shell.channel.state is IDLE
    key = key_of("b", "a", "b", "c")
    start(shell, key)
    assert shell.attempted == ["b"]
    assert shell.channel.state is CONNECTING
    b = shell.answer("b")
    for _ in range(3):
        start(shell, key)
    assert streams([b]) == [4]
    other = start(shell, key_of("c", "a", "b", "c"))
    assert shell.attempted == ["b", "c"]
    assert other.code is None
    assert streams([b, shell.answer("c")]) == [4, 1]


def test_calls_without_a_key_go_where_there_is_a_connection() -> None:
    shell = shell_with("a", "b")
    key = key_of("a", "a", "b")
    start(shell, key)
    a = shell.answer("a")
    start(shell)
    start(shell)
    # The ring is gone round from the same place each time; one more address is tried on the way, at most.
    assert streams([a]) == [3]
    assert len(shell.attempted) <= 2


def test_a_call_goes_on_to_the_next_address_when_the_one_of_its_key_has_failed() -> None:
    shell = shell_with("a", "b")
    key = key_of("a", "a", "b")
    call = start(shell, key)
    shell.fail("a")
    assert shell.channel.state is CONNECTING
    assert shell.attempted == ["a", "b"]
    b = shell.answer("b")
    assert shell.channel.state is READY
    assert streams([b]) == [1]
    assert call.code is None
    # When the address is back it gets its calls again.
    shell.wait(1.0)
    a = shell.answer("a")
    start(shell, key)
    assert streams([a, b]) == [1, 1]


def test_when_two_have_failed_the_channel_has_failed_until_one_works() -> None:
    shell = shell_with("a", "b", "c")
    key = key_of("a", "a", "b", "c")
    call, patient = start(shell, key), ClientEnd(metadata=[(b"session", key.encode())])
    patient.call.wait_for_ready = True
    shell.channel.start(patient.call, shell.now)
    while shell.attempts:
        shell.fail(next(iter(shell.attempts)))
    assert sorted(shell.attempted) == ["a", "b", "c"]
    assert shell.channel.state is FAILED
    assert call.code is StatusCode.UNAVAILABLE
    assert call.details == "no address of the ring can be reached; that of the call's key: a: refused"
    shell.wait(1.0)
    assert len(shell.attempted) == 6
    shell.answer("a")
    assert shell.channel.state is READY
    assert patient.code is None
    assert patient.call.stream_id


def test_an_address_that_is_lost_is_connected_again_when_a_call_wants_it() -> None:
    shell = shell_with("a", "b")
    key = key_of("a", "a", "b")
    start(shell, key)
    shell.lose(shell.answer("a"))
    assert shell.channel.state is IDLE
    assert shell.attempts == {}
    start(shell, key)
    assert list(shell.attempts) == ["a"]


def test_new_addresses_keep_the_connections_to_those_that_stay() -> None:
    shell = shell_with("a", "b")
    start(shell, key_of("a", "a", "b"))
    a = shell.answer("a")
    shell.resolved("a", "c")
    assert shell.channel.state is READY
    assert shell.left == []
    shell.resolved("c")
    assert shell.left == [a.core]
    shell.channel.exit_idle(shell.now)
    assert list(shell.attempts) == ["c"]


def test_an_endpoint_is_placed_by_its_hash_key_and_its_weight() -> None:
    shell = FakeShell(config=CONFIG)
    shell.channel.exit_idle(shell.now)
    endpoints = [Endpoint(Address("a", 1), {"hash_key": "b:1", "weight": 3}), Endpoint(Address("b", 1), {})]
    shell.channel.resolved(endpoints, shell.now)
    owners = shell.channel._picker._ring.owners  # type: ignore[attr-defined]
    assert Counter(owners) == {0: 768, 1: 256}
    shell.channel.resolved([*endpoints, endpoints[1], endpoints[1]], shell.now)
    assert Counter(shell.channel._picker._ring.owners) == {0: 512, 1: 512}  # type: ignore[attr-defined]


def test_several_values_of_the_header_are_one_key() -> None:
    shell = shell_with("a", "b", "c")
    end = ClientEnd(metadata=[(b"session", b"x"), (b"session", b"y")])
    key = shell.channel._picker._key(end.call)  # type: ignore[attr-defined]
    assert key == b"x,y"


def test_without_addresses_calls_fail() -> None:
    shell = FakeShell(config=CONFIG)
    call = start(shell, "x")
    shell.resolution_failed("nobody knows it")
    assert call.details == "nobody knows it"
