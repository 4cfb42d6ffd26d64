"""Rolling restarts and kills of servers under load: no call is lost with a retry policy, else only UNAVAILABLE."""

from __future__ import annotations

import asyncio

import grpc
import pytest

import pygrpc
from pygrpc import aio
from tests.faults.load import Outcome, aio_loaded, loaded, options
from tests.faults.servers import ServerProcess, servers, target_of

#: Calls that are answered between one step of a restart and the next one.
STEADY = 200


def roll(outcome: Outcome, running: list[ServerProcess], all_serve: bool) -> None:
    """Stops and starts one server after the other, while calls go on.

    Args:
        outcome: What becomes of the calls.
        running: The servers.
        all_serve: Whether each server gets calls again as soon as it is back.
    """
    outcome.wait_for_answers(STEADY)
    for server in running:
        server.stop()
        outcome.wait_for_answers(STEADY)
        server.restart()
        outcome.wait_for_answers(STEADY // 10 if all_serve else STEADY, server.name if all_serve else None)


def check(outcome: Outcome, kind: str, retry: bool, processes: int = 3) -> None:
    allowed = set() if retry else {"UNAVAILABLE"}
    if kind.startswith("grpcio"):
        # A server of grpcio that stops cancels the calls that reach it meanwhile, also those of its own clients.
        allowed.add("CANCELLED")
    assert outcome.codes <= allowed, str(outcome)
    assert len(outcome.answers) >= processes, str(outcome)


#: Not all that there are, since each takes a second or two.
CASES = pytest.mark.parametrize(
    ("kind", "policy", "retry"),
    [
        ("pygrpc-sync", "round_robin", True),
        ("pygrpc-sync", "round_robin", False),
        ("pygrpc-sync", "pick_first", True),
        ("pygrpc-aio", "round_robin", True),
        ("pygrpc-aio", "pick_first", False),
        ("grpcio-sync", "round_robin", True),
    ],
)
RETRIES = pytest.mark.parametrize("retry", [True, False], ids=["retry", "plain"])
SHARED = pytest.mark.parametrize(("kind", "retry"), [("pygrpc-sync", True), ("pygrpc-aio", False)])


@CASES
def test_a_rolling_restart_loses_no_call(kind: str, policy: str, retry: bool) -> None:
    with servers(kind, kind, kind) as running, loaded(pygrpc, target_of(running), options(policy, retry)) as outcome:
        roll(outcome, running, policy == "round_robin")
    check(outcome, kind, retry)


@CASES
async def test_a_rolling_restart_loses_no_call_of_asyncio(kind: str, policy: str, retry: bool) -> None:
    with servers(kind, kind, kind) as running:
        async with aio_loaded(aio, target_of(running), options(policy, retry)) as outcome:
            await asyncio.to_thread(roll, outcome, running, policy == "round_robin")
    check(outcome, kind, retry)


@pytest.mark.parametrize("kind", ["pygrpc-sync", "pygrpc-aio"])
def test_a_rolling_restart_loses_no_call_of_grpcio(kind: str) -> None:
    with (
        servers(kind, kind, kind) as running,
        loaded(grpc, target_of(running), options("round_robin", retry=True)) as outcome,
    ):
        roll(outcome, running, all_serve=True)
    check(outcome, kind, retry=True)


@SHARED
def test_a_rolling_restart_of_workers_that_share_a_port(kind: str, retry: bool) -> None:
    with (
        servers(kind, kind, kind, shared=True) as running,
        loaded(pygrpc, target_of(running), options("pick_first", retry)) as outcome,
    ):
        roll(outcome, running, all_serve=False)
    check(outcome, kind, retry, processes=2)


@SHARED
async def test_a_rolling_restart_of_workers_that_share_a_port_with_asyncio(kind: str, retry: bool) -> None:
    with servers(kind, kind, kind, shared=True) as running:
        async with aio_loaded(aio, target_of(running), options("pick_first", retry)) as outcome:
            await asyncio.to_thread(roll, outcome, running, False)
    check(outcome, kind, retry, processes=2)


def kill_each(outcome: Outcome, running: list[ServerProcess]) -> None:
    """Kills each server while calls go on, and starts it again."""
    outcome.wait_for_answers(STEADY)
    for server in running:
        server.kill()
        outcome.wait_for_answers(STEADY)
        server.restart()
        outcome.wait_for_answers(STEADY // 10, server.name)


@RETRIES
def test_servers_are_killed_under_load(retry: bool) -> None:
    with (
        servers("pygrpc-sync", "pygrpc-aio", "grpcio-sync") as running,
        loaded(pygrpc, target_of(running), options("round_robin", retry)) as outcome,
    ):
        kill_each(outcome, running)
    check(outcome, "pygrpc", retry)


@RETRIES
async def test_servers_are_killed_under_load_of_asyncio(retry: bool) -> None:
    with servers("pygrpc-sync", "pygrpc-aio", "grpcio-sync") as running:
        async with aio_loaded(aio, target_of(running), options("round_robin", retry)) as outcome:
            await asyncio.to_thread(kill_each, outcome, running)
    check(outcome, "pygrpc", retry)


@pytest.mark.parametrize("kind", ["pygrpc-sync", "pygrpc-aio"])
def test_the_only_server_is_killed_and_comes_back(kind: str) -> None:
    with servers(kind) as running, loaded(pygrpc, target_of(running), options(), wait_for_ready=True) as outcome:
        outcome.wait_for_answers(STEADY)
        (server,) = running
        server.kill()
        server.restart()
        outcome.wait_for_answers(STEADY, server.name)
    # Those that were under way fail; whoever begins a call meanwhile waits for the server.
    assert outcome.codes <= {"UNAVAILABLE"}, str(outcome)
    assert outcome.failures.total() <= 8, str(outcome)
