"""Policies that replace each other, and policies that raise: no call is lost, and the channel goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from pygrpc.core.balancing import NOT_SENT, Balancer, Endpoint, Fail, FixedPicker, Pick, RoundRobin, register
from pygrpc.core.balancing.guard import choose
from pygrpc.core.balancing.outlier_detection import OutlierDetection
from pygrpc.core.balancing.subchannel import Subchannel
from pygrpc.core.balancing.switching import Child, Switch
from pygrpc.core.service_config import InvalidServiceConfig
from pygrpc.core.status import Status
from pygrpc.status import StatusCode
from tests.core.channels import CONNECTING, FAILED, READY, FakeShell, streams
from tests.core.pair import RESPONSE

ROUND_ROBIN = {"loadBalancingConfig": [{"round_robin": {}}]}
FIRST = {"loadBalancingConfig": [{"pick_first": {}}]}
OK_ANSWER = [*RESPONSE, (b"grpc-status", b"0")]


def test_a_channel_has_a_switch() -> None:
    shell = FakeShell()
    shell.ready("a")
    assert isinstance(shell.channel._balancer, Switch)
    assert [type(child) for child in shell.channel._balancer._children()] == [Child]


def test_the_old_policy_serves_until_the_new_one_is_ready() -> None:
    shell = FakeShell()
    (a,) = shell.ready("a")
    shell.resolved("b", "c", config=ROUND_ROBIN)
    assert shell.channel.state is READY
    shell.call()
    assert streams([a]) == [1]
    c = shell.answer("c")
    assert shell.left == [a.core]
    shell.call()
    assert streams([a, c]) == [1, 1]
    assert shell.channel.direct is None
    assert shell.states == [CONNECTING, READY]


def test_the_new_policy_takes_over_when_it_has_failed() -> None:
    shell = FakeShell()
    (a,) = shell.ready("a")
    shell.resolved("b", config=ROUND_ROBIN)
    shell.fail("b")
    assert shell.left == [a.core]
    assert shell.channel.state is FAILED
    assert "b: refused" in shell.call().details


def test_the_new_policy_takes_over_when_the_old_one_is_not_ready_any_more() -> None:
    shell = FakeShell()
    (a,) = shell.ready("a")
    shell.resolved("b", config=ROUND_ROBIN)
    shell.lose(a)
    assert shell.channel.state is CONNECTING
    call = shell.call()
    assert streams([shell.answer("b")]) == [1]
    assert call.events == ["started"]


def test_a_policy_that_is_not_ready_is_replaced_at_once() -> None:
    shell = FakeShell()
    shell.channel.exit_idle(shell.now)
    shell.resolved("a")
    call = shell.call()
    shell.resolved("b", config=ROUND_ROBIN)
    assert list(shell.attempts) == ["b"]
    assert streams([shell.answer("b")]) == [1]
    assert call.events == ["started"]


def test_minds_change_back_and_forth() -> None:
    shell = FakeShell()
    (a,) = shell.ready("a")
    shell.resolved("b", config=ROUND_ROBIN)
    shell.resolved("c", config=FIRST)
    assert list(shell.attempts) == ["c"]
    c = shell.answer("c")
    assert shell.left == [a.core]
    assert shell.channel.direct is c.core
    shell.channel.close(shell.now)
    assert shell.left == [a.core, c.core]
    assert not shell.channel._subchannels


def test_a_failed_look_up_reaches_both() -> None:
    shell = FakeShell()
    shell.ready("a")
    shell.resolved("b", config=ROUND_ROBIN)
    shell.resolution_failed()
    assert shell.channel.state is READY


# Policies of users.


class Broken(Balancer):
    """Raises where the test says."""

    name = "test_broken"
    where = ""

    def raises(self, where: str) -> None:
        if where in self.where.split():
            raise ZeroDivisionError(f"in {where}")

    def __init__(self, helper: Any) -> None:
        self.raises("__init__")
        super().__init__(helper)

    @classmethod
    def parse_config(cls, config: Mapping[str, Any]) -> Any:
        if "bad" in config:
            return config["good"]
        return config

    def update(self, endpoints: Sequence[Endpoint], config: Any) -> None:
        self.raises("update")
        self.subchannel = self.helper.create_subchannel(endpoints[0], self.on_change)
        self.subchannel.connect(self.helper.now)

    def on_change(self, subchannel: Subchannel, state: Any) -> None:
        self.raises("on_change")
        if "publish" in self.where:
            self.helper.publish("READY", None)  # type: ignore[arg-type]
        if state is READY:
            self.helper.publish(READY, self)

    def pick(self, call: Any) -> Any:
        self.raises("pick")
        if "nonsense" in self.where:
            return self.subchannel
        if "stranger" in self.where:
            return Pick("somebody")  # type: ignore[arg-type]
        return Pick(self.subchannel, self.on_done)

    def on_done(self, status: Status) -> None:
        self.raises("on_done")

    def resolution_failed(self, reason: str) -> None:
        self.raises("resolution_failed")

    def exit_idle(self) -> None:
        self.raises("exit_idle")

    def next_wakeup(self) -> float | None:
        self.raises("next_wakeup")
        return None

    def close(self) -> None:
        # It forgets its subchannel in any case.
        self.raises("close")


register(Broken)
CONFIG = {"loadBalancingConfig": [{"test_broken": {}}]}


@pytest.fixture(autouse=True)
def whole_again() -> Iterator[None]:
    yield
    Broken.where = ""


def broken(where: str) -> FakeShell:
    Broken.where = where
    return FakeShell(policy=RoundRobin, config=CONFIG)


@pytest.mark.parametrize("where", ["__init__", "update", "on_change", "publish"])
def test_a_policy_that_raises_fails_the_calls(where: str, caplog: pytest.LogCaptureFixture) -> None:
    shell = broken(where)
    call = shell.call()
    patient = shell.call(wait_for_ready=True)
    shell.ready("a")
    assert call.code is StatusCode.UNAVAILABLE
    expected = "TypeError: publish takes" if where == "publish" else f"ZeroDivisionError: in {where}"
    assert f"the load balancing policy 'test_broken' raised {expected}" in call.details
    assert shell.channel.state is FAILED
    assert any(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)
    # With another policy all is well again.
    shell.resolved("b", config=ROUND_ROBIN)
    shell.answer("b")
    assert patient.events == ["started"]
    assert shell.channel.state is READY


@pytest.mark.parametrize("where", ["resolution_failed", "exit_idle", "next_wakeup", "close", "on_done"])
def test_what_else_raises_is_logged(where: str, caplog: pytest.LogCaptureFixture) -> None:
    shell = broken(where)
    call = shell.call()
    (peer,) = shell.ready("a")
    if where == "on_done":
        peer.send(peer.headers(1, OK_ANSWER, True))
        assert call.call.status is not None
    shell.resolution_failed()
    shell.channel.exit_idle(shell.now)
    shell.channel.close(shell.now)
    assert not shell.channel._subchannels
    assert shell.left == [peer.core]
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("pick", "the picker of the load balancing policy raised ZeroDivisionError: in pick"),
        ("nonsense", "pick returns a Pick of a subchannel, a Fail or QUEUE, not "),
        ("stranger", "pick returns a Pick of a subchannel, a Fail or QUEUE, not Pick"),
    ],
)
def test_a_picker_that_raises_fails_the_call(where: str, text: str, caplog: pytest.LogCaptureFixture) -> None:
    shell = broken(where)
    shell.ready("a")
    call, patient = shell.call(), shell.call(wait_for_ready=True)
    assert call.code is patient.code is StatusCode.INTERNAL
    assert text in call.details
    assert caplog.records
    assert isinstance(choose(shell.channel._picker, call.call), Fail)
    Broken.where = ""
    assert shell.call().events == ["started"]


def test_a_default_policy_that_can_t_do_without_a_configuration_says_so() -> None:
    shell = FakeShell(policy=OutlierDetection)
    call = shell.call()
    shell.resolved("a")
    assert call.code is StatusCode.UNAVAILABLE
    assert "'outlier_detection' raised InvalidConfig: childPolicy must be a list of policies" in call.details


def test_a_configuration_that_raises_names_the_policy() -> None:
    with pytest.raises(InvalidServiceConfig, match=r"loadBalancingConfig\[0\].test_broken: KeyError: 'good'"):
        FakeShell(config={"loadBalancingConfig": [{"test_broken": {"bad": 1}}]})


def test_a_policy_hears_of_each_pick_once() -> None:
    heard: list[Status] = []

    class Telling(RoundRobin):
        name = "test_telling"

        def make_picker(self, ready: Sequence[Subchannel]) -> Any:
            return FixedPicker(Pick(ready[0], heard.append))

    shell = FakeShell(policy=Telling)
    (peer,) = shell.ready("a")
    peer.send(peer.settings({3: 1}))
    first, second = shell.call(), shell.call()
    peer.send(peer.goaway(1))
    # The second one was waiting for a stream.
    assert heard == [NOT_SENT]
    peer.send(peer.headers(1, OK_ANSWER, True))
    assert [status.code for status in heard] == [StatusCode.UNAVAILABLE, StatusCode.OK]
    other = shell.answer("a")
    assert streams([other]) == [1]
    other.send(other.headers(1, OK_ANSWER, True))
    assert [status.code for status in heard[1:]] == [StatusCode.OK, StatusCode.OK]
    assert first.call.ended
    assert second.call.ended


def test_a_pick_that_is_not_connected_any_more_waits() -> None:
    heard: list[Status] = []

    class Late(RoundRobin):
        name = "test_late"

        def refresh(self) -> None:
            subchannel = next(iter(self.subchannels.values()), None)
            if subchannel is not None:
                self.helper.publish(READY, FixedPicker(Pick(subchannel, heard.append)))

    shell = FakeShell(policy=Late)
    shell.channel.exit_idle(shell.now)
    shell.resolved("a")
    call = shell.call()
    assert shell.channel.waiting == [call.call]
    assert heard == [NOT_SENT]
    assert isinstance(Fail(NOT_SENT), Fail)
