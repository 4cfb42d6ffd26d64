"""Keepalive: asking a silent peer, and counting the PINGs of a client, with a clock that the test sets."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pygrpc.core.client_connection import ClientConnection
from pygrpc.core.http2 import ErrorCode, Http2Settings
from pygrpc.core.keepalive import KEEPALIVE_PING, Keepalive, KeepaliveSettings, PingLimits, PingStrikes, Verdict
from pygrpc.core.server_connection import Upkeep
from pygrpc.status import StatusCode
from tests.core.pair import REQUEST, ClientEnd, ClientOwner, RawPeer, raw_client

pytestmark = pytest.mark.usefixtures("each_engine")

WAIT, PING, DEAD = Verdict.WAIT, Verdict.PING, Verdict.DEAD
ALWAYS = KeepaliveSettings(10.0, 4.0, without_calls=True, pings_without_data=0)


def check(keepalive: Keepalive, now: float, heard_at: float, calls: bool = True, sent: bool = False) -> Verdict:
    return keepalive.check(now, heard_at, calls, sent)


# The decisions.


def test_a_silent_peer_is_asked_and_given_up() -> None:
    keepalive = Keepalive(ALWAYS, 100.0)
    assert keepalive.due == 110.0
    assert check(keepalive, 109.9, 100.0) is WAIT
    assert check(keepalive, 110.0, 100.0) is PING
    assert keepalive.due == 114.0
    assert check(keepalive, 113.9, 100.0) is WAIT
    assert check(keepalive, 114.0, 100.0) is DEAD


def test_whatever_comes_puts_the_question_off() -> None:
    keepalive = Keepalive(ALWAYS, 100.0)
    assert check(keepalive, 110.0, 103.0) is WAIT
    assert keepalive.due == 113.0
    assert check(keepalive, 113.0, 103.0) is PING


def test_the_answer_begins_the_time_anew() -> None:
    keepalive = Keepalive(ALWAYS, 100.0)
    assert check(keepalive, 110.0, 100.0) is PING
    keepalive.answered(110.0)
    assert keepalive.due == 120.0
    assert check(keepalive, 120.0, 110.0) is PING


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    keepalive = Keepalive(ALWAYS, 100.0)
    keepalive.answered(105.0)
    assert keepalive.due == 110.0


def test_other_data_prove_as_much_as_the_answer() -> None:
    keepalive = Keepalive(ALWAYS, 100.0)
    assert check(keepalive, 110.0, 100.0) is PING
    assert check(keepalive, 114.0, 111.0) is WAIT
    assert keepalive.due == 121.0
    assert check(keepalive, 121.0, 111.0) is PING


def test_without_calls_nothing_is_asked_unless_that_is_permitted() -> None:
    keepalive = Keepalive(KeepaliveSettings(10.0, 4.0), 100.0)
    assert check(keepalive, 110.0, 100.0, calls=False) is WAIT
    assert keepalive.due == 120.0
    assert check(keepalive, 120.0, 100.0, calls=True) is PING


def test_pings_without_data_are_throttled() -> None:
    keepalive = Keepalive(KeepaliveSettings(10.0, 4.0, pings_without_data=2), 0.0)
    pinged = []
    now, sent = 0.0, True
    while now < 200.0:
        now = keepalive.due
        if check(keepalive, now, now - 10.0, sent=sent) is PING:
            pinged.append(now)
            keepalive.answered(now)
            sent = False
    assert pinged == [10.0, 20.0, 80.0, 140.0, 200.0]


def test_data_of_ours_allow_pings_again() -> None:
    keepalive = Keepalive(KeepaliveSettings(10.0, 4.0, pings_without_data=1), 0.0)
    assert check(keepalive, 10.0, 0.0, sent=True) is PING
    keepalive.answered(10.0)
    assert check(keepalive, 20.0, 10.0, sent=True) is PING
    keepalive.answered(20.0)
    assert check(keepalive, 30.0, 20.0) is WAIT
    assert keepalive.due == 40.0
    assert check(keepalive, 40.0, 20.0, sent=True) is PING


def test_a_client_asks_once_a_second_at_most() -> None:
    keepalive = Keepalive(KeepaliveSettings(0.001, 4.0, pings_without_data=0), 0.0)
    assert check(keepalive, 0.001, 0.0) is PING
    keepalive.answered(0.002)
    assert check(keepalive, 0.5, 0.002) is WAIT
    assert keepalive.due == 1.001


def test_the_answer_may_take_any_time() -> None:
    keepalive = Keepalive(KeepaliveSettings(10.0, math.inf), 0.0)
    assert check(keepalive, 10.0, 0.0) is PING
    assert keepalive.due == math.inf


def strikes(limits: PingLimits, *times: float, calls: bool = True) -> list[bool]:
    counted = PingStrikes(limits)
    return [counted.received(time, calls, False) for time in times]


def test_pings_that_come_too_early_are_counted() -> None:
    limits = PingLimits(interval=10.0, strikes=2)
    # The first one is free, and one in time takes no strike back.
    assert strikes(limits, 0.0, 10.0, 20.0, 30.0) == [False] * 4
    assert strikes(limits, 0.0, 1.0, 2.0, 3.0) == [False, False, False, True]
    assert strikes(limits, 0.0, 1.0, 11.0, 12.0, 22.0, 23.0) == [False] * 5 + [True]


def test_without_calls_a_client_may_ping_every_two_hours() -> None:
    limits = PingLimits(interval=10.0, strikes=1)
    assert strikes(limits, 0.0, 7200.0, 14399.0, 14400.0, calls=False) == [False, False, False, True]
    permitted = PingLimits(interval=10.0, strikes=1, without_calls=True)
    assert strikes(permitted, 0.0, 10.0, 20.0, calls=False) == [False] * 3


def test_any_number_of_pings_may_be_allowed() -> None:
    assert not any(strikes(PingLimits(strikes=0), *[0.0] * 1000))


def test_data_of_ours_forgive_strikes() -> None:
    counted = PingStrikes(PingLimits(interval=10.0, strikes=1))
    assert [counted.received(0.0, True, sent) for sent in (False, False, True, False, False)] == [False] * 4 + [True]


# At work on a connection.


def asking_client(settings: KeepaliveSettings) -> tuple[RawPeer, ClientOwner, ClientConnection]:
    owner = ClientOwner()
    core = ClientConnection(owner, Http2Settings(), 0.0, keepalive=settings)
    return RawPeer(core, is_client=False), owner, core


def pings(peer: RawPeer) -> list[bytes]:
    return [frame.opaque_data for frame in peer.receive() if frame.type == 6]


def test_a_connection_that_is_not_to_be_asked_is_never_woken() -> None:
    peer, _, core = asking_client(KeepaliveSettings())
    assert core.wakeup is None
    core.handle_timeout(1e9)
    assert pings(peer) == []


def test_the_time_begins_when_the_connection_is_established() -> None:
    core = ClientConnection(ClientOwner(), Http2Settings(), 0.0, keepalive=ALWAYS)
    assert core.wakeup is None
    peer = RawPeer(core, is_client=False, now=7.0)
    assert core.wakeup == 17.0
    core.handle_timeout(17.0)
    assert pings(peer) == [KEEPALIVE_PING]


def test_a_server_that_is_gone_fails_the_calls() -> None:
    peer, owner, core = asking_client(ALWAYS)
    end = ClientEnd()
    core.start(end.send(b"x").call)
    peer.receive()
    core.handle_timeout(10.0)
    assert pings(peer) == [KEEPALIVE_PING]
    assert core.wakeup == 14.0
    core.handle_timeout(14.0)
    assert (end.code, end.details) == (StatusCode.UNAVAILABLE, "keepalive watchdog timeout")
    assert core.closing and core.abandoned and owner.drained
    assert core.wakeup is None
    peer.receive()
    assert [(frame.error_code, frame.additional_data) for frame in peer.goaways()] == [
        (ErrorCode.NO_ERROR, b"keepalive watchdog timeout")
    ]


def test_a_server_that_answers_is_asked_again() -> None:
    peer, _, core = asking_client(ALWAYS)
    for now in (10.0, 20.0, 30.0):
        core.handle_timeout(now)
        assert pings(peer) == [KEEPALIVE_PING]
        peer.now = now
        # The answer to another PING is a sign of life too, but not this answer.
        peer.send(peer.ping(b"another1", ack=True))
        assert core.wakeup == now + 4.0
        peer.send(peer.ping(KEEPALIVE_PING, ack=True))
        assert core.wakeup == now + 10.0
    assert core.failure is None


def test_calls_and_their_data_count_on_the_connection() -> None:
    peer, _, core = asking_client(KeepaliveSettings(10.0, 4.0, pings_without_data=1))
    core.handle_timeout(10.0)
    assert pings(peer) == []
    end = ClientEnd()
    core.start(end.send(b"x", end=False).call)
    peer.receive()
    core.handle_timeout(20.0)
    assert pings(peer) == [KEEPALIVE_PING]
    peer.now = 20.0
    peer.send(peer.ping(KEEPALIVE_PING, ack=True))
    core.handle_timeout(30.0)
    assert pings(peer) == []
    assert core.wakeup == 40.0
    end.send(b"y", end=False)
    peer.receive()
    core.handle_timeout(40.0)
    assert pings(peer) == [KEEPALIVE_PING]


def test_a_client_that_is_asked_for_calm_waits_longer_next_time() -> None:
    peer, _, core = asking_client(ALWAYS)
    peer.send(peer.goaway(0, ErrorCode.ENHANCE_YOUR_CALM, b"something else"))
    assert core.least_keepalive_time == 0.0
    peer, _, core = asking_client(ALWAYS)
    peer.send(peer.goaway(0, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"))
    assert core.least_keepalive_time == 20.0
    # A client that never asks has nothing to change.
    peer, _, core = asking_client(KeepaliveSettings())
    peer.send(peer.goaway(0, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"))
    assert core.least_keepalive_time == 0.0


def test_calls_say_what_the_server_complained_of() -> None:
    peer, _, core = asking_client(ALWAYS)
    end = ClientEnd()
    core.start(end.send(b"x").call)
    peer.receive()
    peer.send(peer.goaway(1, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"))
    assert end.code is None
    core.lost("the peer closed the connection")
    assert end.code is StatusCode.UNAVAILABLE
    text = "the server sent GOAWAY (ENHANCE_YOUR_CALM, too_many_pings): the peer closed the connection"
    assert end.details == text


def test_a_server_asks_its_clients_too() -> None:
    peer, _, core = raw_client(upkeep=Upkeep(KeepaliveSettings(10.0, 4.0, without_calls=True)))
    core.handle_timeout(10.0)
    assert pings(peer) == [KEEPALIVE_PING]
    core.handle_timeout(14.0)
    assert core.closing and core.abandoned


def ping(peer: RawPeer, now: float) -> None:
    peer.now = now
    peer.send(peer.ping())


def test_a_client_that_pings_too_often_is_sent_away() -> None:
    peer, owner, core = raw_client(upkeep=Upkeep(pings=PingLimits(10.0, 1)))
    peer.send(peer.headers(1, REQUEST))
    ping(peer, 1.0)
    ping(peer, 11.0)
    ping(peer, 20.0)
    assert not core.closing
    ping(peer, 29.0)
    assert core.closing
    peer.receive()
    # Each was answered, also the last one.
    assert len([frame for frame in peer.frames if frame.type == 6 and "ACK" in frame.flags]) == 4
    (goaway,) = peer.goaways()
    assert (goaway.error_code, goaway.additional_data) == (ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")
    assert goaway.last_stream_id == 1
    assert owner.calls[0].events[-2:] == ["cancelled", "closed"]


@pytest.mark.parametrize("answer", ["headers", "message", "status", "all at once"])
def test_whatever_a_server_sends_forgives_pings(answer: str) -> None:
    peer, owner, core = raw_client(upkeep=Upkeep(pings=PingLimits(10.0, 1)))
    sent: dict[str, Any] = {
        "headers": lambda end: end.call.send_headers([]),
        "message": lambda end: end.send(b"x"),
        "status": lambda end: end.finish(),
        "all at once": lambda end: end.call.respond(b"x"),
    }
    peer.send(peer.headers(1, REQUEST))
    for round in range(1, 4):
        peer.send(peer.headers(2 * round + 1, REQUEST))
        ping(peer, 1.0)
        ping(peer, 2.0)
        sent[answer](owner.calls[-1])
        peer.receive()
    assert not core.closing
    ping(peer, 3.0)
    ping(peer, 4.0)
    assert not core.closing
    ping(peer, 5.0)
    assert core.closing
