"""Client-side health checking: when a server that is connected gets calls (gRFC A17)."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from hyperframe.frame import DataFrame
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.core import protowire
from pygrpc.core.framing import frame_message
from pygrpc.core.health_check import WATCH, HealthCheck, request, serving_status
from tests.core.channels import CONNECTING, FAILED, IDLE, READY, SETTINGS, FakeShell, streams
from tests.core.pair import RESPONSE, RawPeer

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


def config(service: str | None = "a.B", policy: str = "round_robin") -> dict[str, Any]:
    health = {} if service is None else {"healthCheckConfig": {"serviceName": service}}
    return {"loadBalancingConfig": [{policy: {}}], **health}


def shell_with(*names: str, **settings: Any) -> tuple[FakeShell, list[RawPeer]]:
    shell = FakeShell(replace(SETTINGS, **settings), config=config())
    return shell, shell.ready(*names)


def say(shell: FakeShell, peer: RawPeer, status: bytes, stream: int = 1, first: bool = True) -> None:
    """The server answers on the stream of a watch."""
    peer.now = shell.now
    if first:
        peer.send(peer.headers(stream, RESPONSE))
    peer.send(peer.data(stream, frame_message(status)))


def finish(shell: FakeShell, peer: RawPeer, code: int, stream: int = 1, head: bool = True) -> None:
    """The server ends a watch."""
    peer.now = shell.now
    peer.send(peer.headers(stream, [*(RESPONSE if head else []), (b"grpc-status", b"%d" % code)], True))


# The messages.


def test_the_messages_are_those_of_the_health_service() -> None:
    assert request("") == b""
    assert request("a.B") == b"\x0a\x03a.B"
    assert request("ü") == b"\x0a\x02\xc3\xbc"
    for status in (0, 1, 2, 3, 300):
        assert serving_status(b"" if status == 0 else b"\x08" + protowire.encode_varint(status)) == status
    assert serving_status(protowire.encode_bytes(7, b"new") + SERVING) == 1


@given(st.binary(max_size=30))
def test_any_bytes_are_a_status_or_refused(data: bytes) -> None:
    try:
        assert serving_status(data) >= 0
    except ValueError as error:
        assert str(error)


# When a server gets calls.


def test_a_server_gets_calls_when_it_says_that_it_serves() -> None:
    shell, (peer,) = shell_with("a")
    call = shell.call()
    peer.receive()
    (headers,) = [frame for frame in peer.frames if getattr(frame, "fields", None)]
    assert dict(headers.fields)[b":path"] == WATCH.encode()
    sent = [frame.data for frame in peer.frames if isinstance(frame, DataFrame)]
    assert b"".join(sent) == frame_message(b"\x0a\x03a.B")
    assert shell.channel.state is CONNECTING
    say(shell, peer, SERVING)
    assert shell.states == [CONNECTING, READY]
    assert call.events == ["started"]
    (subchannel,) = shell.connections.values()
    assert isinstance(subchannel._check, HealthCheck)


def test_a_server_that_does_not_serve_gets_none_until_it_does() -> None:
    shell, (a, b) = shell_with("a", "b")
    say(shell, a, NOT_SERVING)
    assert shell.channel.state is CONNECTING
    say(shell, b, SERVING)
    for _ in range(3):
        shell.call()
    assert streams([a, b]) == [1, 4]
    say(shell, b, b"\x08\x03", first=False)
    assert shell.channel.state is FAILED
    assert shell.call().details == (
        "failed to connect to all addresses; last error: ipv4:b:1: the service 'a.B' is SERVICE_UNKNOWN"
    )
    patient = shell.call(wait_for_ready=True)
    say(shell, a, SERVING, first=False)
    assert shell.channel.state is READY
    assert patient.events == ["started"]
    # The connections stayed all the while.
    assert shell.left == []
    assert shell.attempted == ["a", "b"]


def test_a_server_without_health_checks_is_healthy(caplog: pytest.LogCaptureFixture) -> None:
    shell, (peer,) = shell_with("a")
    finish(shell, peer, 12)
    assert shell.channel.state is READY
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "ipv4:a:1 knows no health checks" in caplog.text
    shell.wait(100.0)
    assert streams([peer]) == [1]


def test_a_watch_that_fails_is_begun_again_behind_growing_delays() -> None:
    shell, (peer,) = shell_with("a")
    for number, delay in enumerate((1.0, 2.0, 4.0, 4.0)):
        finish(shell, peer, 14, 1 + 2 * number)
        assert shell.channel.state is FAILED
        shell.wait(delay - 0.01)
        assert streams([peer]) == [1 + number]
        shell.wait(0.01)
        assert streams([peer]) == [2 + number]
    assert "the watch of its health ended with UNAVAILABLE" in shell.call().details
    say(shell, peer, SERVING, 9)
    assert shell.channel.state is READY


def test_a_watch_that_had_an_answer_is_begun_again_at_once() -> None:
    shell, (peer,) = shell_with("a")
    say(shell, peer, SERVING)
    finish(shell, peer, 0, head=False)
    shell.wait(0.0)
    assert streams([peer]) == [2]
    assert shell.channel.state is FAILED
    say(shell, peer, SERVING, 3)
    assert shell.channel.state is READY


def test_an_answer_that_can_t_be_read_is_no_good_sign() -> None:
    shell, (peer,) = shell_with("a")
    say(shell, peer, b"\xff")
    assert shell.channel.state is FAILED
    assert "its answer can't be read" in shell.call().details
    say(shell, peer, b"\x08\x63", first=False)
    (subchannel,) = shell.connections.values()
    assert subchannel.last_error == "ipv4:a:1: the service 'a.B' is 99"
    say(shell, peer, b"x" * 2000, first=False)
    assert "RESOURCE_EXHAUSTED" in subchannel.last_error


def test_a_watch_ends_with_its_connection() -> None:
    shell, (peer,) = shell_with("a")
    say(shell, peer, SERVING)
    peer.send(peer.goaway(2**31 - 1))
    # Nothing is left on it, so that it can be closed.
    assert peer.core.closing
    assert shell.attempted == ["a", "a"]
    other = shell.answer("a")
    assert shell.channel.state is CONNECTING
    say(shell, other, SERVING)
    assert shell.channel.state is READY


def test_a_watch_that_the_server_refuses_comes_back_behind_the_delay() -> None:
    shell, (peer,) = shell_with("a")
    peer.send(peer.reset(1, 7))
    assert shell.channel.state is FAILED
    assert shell.channel.waiting == []
    shell.wait(1.0)
    assert streams([peer]) == [2]


def test_the_watch_is_no_call_of_the_user() -> None:
    shell, (peer,) = shell_with("a", idle_timeout=60.0)
    say(shell, peer, SERVING)
    assert shell.channel.all_calls() == []
    shell.wait(61.0)
    assert shell.channel.state is IDLE
    assert peer.core.closing


def test_the_channel_may_inhibit_it() -> None:
    shell, (peer,) = shell_with("a", inhibit_health_checking=True)
    assert shell.channel.state is READY
    assert streams([peer]) == [0]


def test_pick_first_does_not_look_at_it() -> None:
    shell = FakeShell(config=config(policy="pick_first"))
    (peer,) = shell.ready("a")
    assert shell.channel.direct is peer.core
    assert streams([peer]) == [0]


def test_a_new_service_config_changes_what_is_watched() -> None:
    shell, (peer,) = shell_with("a")
    say(shell, peer, NOT_SERVING)
    shell.resolved("a", config=config("other"))
    assert streams([peer]) == [2]
    # It has failed, and stays so until it is known to be well.
    assert shell.states == [CONNECTING, FAILED]
    say(shell, peer, SERVING, 3)
    assert shell.states == [CONNECTING, FAILED, READY]
    shell.resolved("a", config=config("other"))
    assert streams([peer]) == [2]
    say(shell, peer, NOT_SERVING, 3, first=False)
    shell.resolved("a", config=config(None))
    assert shell.channel.state is READY


def test_closing_ends_the_watch() -> None:
    shell, (peer,) = shell_with("a")
    shell.channel.close(shell.now)
    assert peer.core.closing
    assert shell.wakeup is None
