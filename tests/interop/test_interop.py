"""Every case of the interoperability tests, over every pair of sides."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.behaviour.peers import BOUND, Link, Peers
from tests.interop.cases import CASES
from tests.interop.service import add_to_server

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def test_service(peers: Peers, *, relay: bool = False) -> AsyncIterator[Link]:
    """Run the TestService and a channel to it."""
    server = peers.make_server()
    add_to_server(peers.server, server)
    async with peers.run(server, relay=relay) as link:
        yield link


test_service.__test__ = False


@pytest.mark.parametrize("case", CASES)
async def test_case_passes(peers: Peers, case: str) -> None:
    async with test_service(peers) as link:
        await CASES[case](link.channel, peers.client)


async def test_all_cases_pass_on_one_channel_at_once(peers: Peers) -> None:
    async with test_service(peers) as link, asyncio.TaskGroup() as group:
        for case in CASES.values():
            group.create_task(case(link.channel, peers.client))


@pytest.mark.parametrize("case", ["client_compressed_unary", "client_compressed_streaming"])
async def test_requests_are_compressed_as_the_case_says(peers: Peers, case: str) -> None:
    async with test_service(peers, relay=True) as link:
        await CASES[case](link.channel, peers.client)
        assert [half.flags for half in link.wire.requests] == [[1], [0]]


async def test_unary_responses_are_compressed_as_the_case_says(peers: Peers) -> None:
    async with test_service(peers, relay=True) as link:
        await CASES["server_compressed_unary"](link.channel, peers.client)
        assert [half.flags for half in link.wire.responses] == [[1], [0]]


async def test_streamed_responses_are_compressed_as_the_case_says(peers: Peers) -> None:
    async with test_service(peers, relay=True) as link:
        await CASES["server_compressed_streaming"](link.channel, peers.client)
        assert link.wire.response.flags == [1, 0]


async def test_runs_as_programs(peers: Peers) -> None:
    async with asyncio.timeout(3 * BOUND):
        server = await run_module("server", "--port=0", f"--implementation={peers.server.name}")
        try:
            assert server.stdout is not None
            port = re.findall(rb"port (\d+)", await server.stdout.readline())[0].decode()
            client = await run_module(
                "client",
                "--server_host=localhost",
                f"--server_port={port}",
                "--use_tls=false",
                "--test_case=large_unary",
                f"--implementation={peers.client.name}",
            )
            output, errors = await client.communicate()
            assert (client.returncode, output, errors) == (0, b"large_unary passed\n", b"")
        finally:
            server.send_signal(signal.SIGTERM)
            _, errors = await server.communicate()
        assert (server.returncode, errors) == (0, b"")


async def run_module(name: str, *flags: str) -> asyncio.subprocess.Process:
    """Start one of the two programs."""
    command = (sys.executable, "-m", f"tests.interop.{name}", *flags)
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=pipe, stderr=pipe)
