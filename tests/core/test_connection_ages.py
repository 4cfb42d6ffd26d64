"""How long a server keeps a connection, with a clock that the test sets."""

from __future__ import annotations

import math

import pytest

from pygrpc.core.connection_ages import AgeSettings, ConnectionAge, Leave
from pygrpc.core.http2 import ErrorCode
from pygrpc.core.server_connection import ServerConnection, Upkeep
from pygrpc.status import StatusCode
from tests.core.pair import REQUEST, Pair, RawPeer, ServerOwner, raw_client

pytestmark = pytest.mark.usefixtures("each_engine")

NEVER = -math.inf


# The decisions.


@pytest.mark.parametrize(("random", "age"), [(0.0, 90.0), (0.5, 100.0), (1.0, 110.0)])
def test_the_age_varies_by_a_tenth(random: float, age: float) -> None:
    connection = ConnectionAge(AgeSettings(age=100.0), 1000.0, random)
    assert connection.due == pytest.approx(1000.0 + age)
    assert connection.check(connection.due - 0.01, True, NEVER) is Leave.NOT_YET
    assert connection.check(connection.due, True, NEVER) is Leave.OLD
    assert connection.due == math.inf


def test_the_grace_begins_when_it_is_told() -> None:
    connection = ConnectionAge(AgeSettings(age=100.0, grace=5.0), 0.0, 0.5)
    assert connection.check(100.0, True, NEVER) is Leave.OLD
    connection.begin_grace(103.0)
    assert connection.due == 108.0
    assert connection.check(107.0, True, NEVER) is Leave.NOT_YET
    assert connection.check(108.0, True, NEVER) is Leave.NOW
    assert connection.due == math.inf


def test_a_grace_without_end() -> None:
    connection = ConnectionAge(AgeSettings(age=100.0), 0.0, 0.5)
    assert connection.check(100.0, True, NEVER) is Leave.OLD
    connection.begin_grace(100.0)
    assert connection.due == math.inf


def test_a_connection_that_was_never_used_is_idle() -> None:
    connection = ConnectionAge(AgeSettings(idle=10.0), 0.0, 0.5)
    assert connection.due == 10.0
    assert connection.check(9.0, False, NEVER) is Leave.NOT_YET
    assert connection.check(10.0, False, NEVER) is Leave.IDLE
    assert connection.due == math.inf


def test_a_call_that_is_going_on_is_use() -> None:
    connection = ConnectionAge(AgeSettings(idle=10.0), 0.0, 0.5)
    assert connection.check(10.0, True, NEVER) is Leave.NOT_YET
    assert connection.due == 20.0
    # It ended since, and nobody knows when.
    assert connection.check(20.0, False, 10.0) is Leave.NOT_YET
    assert connection.check(30.0, False, 10.0) is Leave.IDLE


def test_a_call_that_came_and_went_is_use() -> None:
    connection = ConnectionAge(AgeSettings(idle=10.0), 0.0, 0.5)
    assert connection.check(10.0, False, 3.0) is Leave.NOT_YET
    assert connection.check(20.0, False, 3.0) is Leave.IDLE


def test_an_old_connection_is_not_told_that_it_is_idle() -> None:
    connection = ConnectionAge(AgeSettings(idle=10.0, age=25.0, grace=7.0), 0.0, 0.5)
    assert [connection.check(now, True, NEVER) for now in (10.0, 20.0)] == [Leave.NOT_YET] * 2
    assert connection.due == 25.0
    assert connection.check(25.0, False, NEVER) is Leave.OLD
    connection.begin_grace(25.0)
    assert connection.due == 32.0


def test_an_idle_connection_may_still_become_old() -> None:
    connection = ConnectionAge(AgeSettings(idle=10.0, age=25.0), 0.0, 0.5)
    assert connection.check(10.0, False, NEVER) is Leave.IDLE
    assert connection.check(25.0, True, NEVER) is Leave.OLD


# At work on a connection.


def aging_server(ages: AgeSettings) -> tuple[RawPeer, ServerOwner, ServerConnection]:
    return raw_client(upkeep=Upkeep(ages=ages), random=0.5)


def answer_ping(peer: RawPeer, now: float) -> None:
    peer.now = now
    peer.send(peer.ping(b"draining", ack=True))


def test_an_idle_connection_is_closed_in_order() -> None:
    peer, _, core = aging_server(AgeSettings(idle=10.0))
    assert core.wakeup == 10.0
    core.handle_timeout(10.0)
    assert not core.closing
    peer.receive()
    answer_ping(peer, 10.1)
    peer.receive()
    goaways = [(frame.last_stream_id, frame.error_code, frame.additional_data) for frame in peer.goaways()]
    assert goaways == [(2**31 - 1, ErrorCode.NO_ERROR, b"max_idle"), (0, ErrorCode.NO_ERROR, b"max_idle")]
    assert core.closing and core.failure is None


def test_calls_keep_a_connection_from_being_idle() -> None:
    peer, owner, core = aging_server(AgeSettings(idle=10.0))
    peer.now = 9.0
    peer.send(peer.headers(1, REQUEST))
    core.handle_timeout(10.0)
    assert core.wakeup == 20.0
    owner.calls[0].finish()
    peer.receive()
    core.handle_timeout(20.0)
    peer.receive()
    assert core.wakeup == 30.0
    assert peer.goaways() == []
    core.handle_timeout(30.0)
    peer.receive()
    assert len(peer.goaways()) == 1


def test_a_call_that_crosses_the_goodbye_of_an_old_connection_is_served() -> None:
    pair = Pair(upkeep=Upkeep(ages=AgeSettings(age=100.0, grace=5.0)))
    first, server = pair.open(b"x")
    pair.now = 100.0
    pair.server.handle_timeout(pair.now)
    crossing = pair.start(b"y")
    pair.to_server()
    pair.exchange()
    assert pair.client.draining
    server.finish()
    pair.server_owner.calls[1].finish()
    pair.exchange()
    assert first.code is crossing.code is StatusCode.OK
    assert pair.server.closing and pair.client.closing
    assert pair.server.failure is None


def test_calls_of_an_old_connection_have_a_grace() -> None:
    peer, owner, core = aging_server(AgeSettings(age=100.0, grace=5.0))
    peer.send(peer.headers(1, REQUEST))
    core.handle_timeout(100.0)
    # It counts from the second GOAWAY.
    peer.receive()
    answer_ping(peer, 103.0)
    assert core.wakeup == 108.0
    core.handle_timeout(107.9)
    assert not core.closing
    core.handle_timeout(108.0)
    assert owner.calls[0].events[-1] == "cancelled"
    assert owner.calls[0].code is StatusCode.UNAVAILABLE
    peer.receive()
    assert core.closing and core.failure is None
    assert (b"grpc-status", b"14") in peer.of_stream(1)[0].fields
    assert core.wakeup is None


def test_a_client_that_does_not_answer_is_not_waited_for() -> None:
    peer, _, core = aging_server(AgeSettings(age=100.0, grace=5.0))
    peer.send(peer.headers(1, REQUEST))
    core.handle_timeout(100.0)
    assert core.wakeup == 120.0
    core.handle_timeout(120.0)
    peer.receive()
    assert [frame.last_stream_id for frame in peer.goaways()] == [2**31 - 1, 1]
    assert core.wakeup == 125.0
    core.handle_timeout(125.0)
    peer.receive()
    assert core.closing


def test_a_connection_becomes_old_while_the_server_stops() -> None:
    peer, owner, core = aging_server(AgeSettings(age=100.0, grace=5.0))
    peer.send(peer.headers(1, REQUEST))
    core.shutdown(50.0, refuse=True)
    answer_ping(peer, 51.0)
    assert core.wakeup == 100.0
    core.handle_timeout(100.0)
    peer.receive()
    assert len(peer.goaways()) == 2
    assert core.wakeup == 105.0
    core.handle_timeout(105.0)
    assert owner.calls[0].code is StatusCode.UNAVAILABLE


def test_a_connection_of_an_idle_client_that_was_told_so_becomes_old() -> None:
    peer, owner, core = aging_server(AgeSettings(idle=10.0, age=25.0, grace=5.0))
    core.handle_timeout(10.0)
    peer.send(peer.headers(1, REQUEST))
    answer_ping(peer, 11.0)
    assert core.wakeup == 25.0
    core.handle_timeout(25.0)
    assert core.wakeup == 30.0
    core.handle_timeout(30.0)
    assert owner.calls[0].code is StatusCode.UNAVAILABLE
    peer.receive()
    assert core.closing


def test_a_connection_that_nobody_speaks_on_ends_at_its_age() -> None:
    peer, _, core = raw_client(greet=False, upkeep=Upkeep(ages=AgeSettings(age=100.0)))
    assert core.wakeup == 100.0
    core.handle_timeout(100.0)
    assert core.closing
    peer.receive()
