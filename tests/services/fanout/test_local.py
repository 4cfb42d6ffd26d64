"""Hints within one process."""

from __future__ import annotations

import logging

import pytest

from pygrpc.services.fanout.local import Fanout, LocalFanout


async def test_a_hint_reaches_the_listeners_of_its_topic() -> None:
    fanout: Fanout = LocalFanout()
    await fanout.open()
    assert (fanout.shared, fanout.healthy) == (False, True)
    told: list[str] = []
    stop = fanout.listen("a", lambda: told.append("first"))
    fanout.listen("a", lambda: told.append("second"))
    fanout.listen("b", lambda: told.append("other"))
    fanout.publish("a")
    assert told == ["first", "second"]
    stop()
    stop()
    fanout.publish("a")
    fanout.publish("nobody")
    fanout.publish("b")
    assert told == ["first", "second", "second", "other"]
    await fanout.close()


def test_one_function_may_listen_twice() -> None:
    fanout, told = LocalFanout(), []

    def listener() -> None:
        told.append(1)

    stop = fanout.listen("a", listener)
    fanout.listen("a", listener)
    fanout.publish("a")
    stop()
    fanout.publish("a")
    assert len(told) == 3


def test_a_listener_may_end_itself_and_others() -> None:
    fanout, told = LocalFanout(), []

    def once() -> None:
        told.append("once")
        stop()

    stop = fanout.listen("a", once)
    fanout.listen("a", lambda: told.append("always"))
    fanout.publish("a")
    fanout.publish("a")
    assert told == ["once", "always", "always"]


def test_a_listener_that_fails_is_reported_and_keeps_no_hint_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    fanout, told = LocalFanout(), []
    fanout.listen("a", lambda: told[0])
    fanout.listen("a", lambda: told.append(1))
    with caplog.at_level(logging.ERROR, "pygrpc"):
        fanout.publish("a")
    assert told == [1]
    assert [record.getMessage() for record in caplog.records] == ['A listener of the topic "a" failed.']
