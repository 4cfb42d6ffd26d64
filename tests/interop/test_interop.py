"""Every case of the interoperability tests, over every pair of sides."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.behaviour.peers import BOUND, Link, Peers
from tests.behaviour.transports import TCP, TLS, Transport, server_identity
from tests.interop.cases import CASES
from tests.interop.service import add_to_server, elapse
from tests.tls import certificates

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def test_service(peers: Peers, *, relay: bool = False) -> AsyncIterator[Link]:
    """Run the TestService and a channel to it."""
    server = peers.make_server()
    add_to_server(peers.server, server)
    async with peers.run(server, relay=relay) as link:
        yield link


test_service.__test__ = False


async def test_service_waits_between_responses() -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await elapse(0.01)
    assert loop.time() - begun >= 0.01 - time.get_clock_info("monotonic").resolution


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


@pytest.mark.parametrize(
    ("client_side", "server_side", "transport"),
    [
        ("pygrpc-aio", "grpcio-aio", TCP),
        ("grpcio-aio", "pygrpc-sync", TCP),
        ("pygrpc-sync", "pygrpc-aio", TLS),
        ("grpcio-sync", "pygrpc-sync", TLS),
    ],
)
async def test_runs_as_programs(client_side: str, server_side: str, transport: Transport, tmp_path: Path) -> None:
    key, chain = server_identity()
    files = {"key": key, "chain": chain, "roots": certificates.roots()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    tls = f"--use_tls={'true' if transport is TLS else 'false'}"
    environment = {**os.environ, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "roots")}
    async with asyncio.timeout(3 * BOUND):
        server = await run_module(
            environment,
            "server",
            "--port=0",
            tls,
            f"--tls_key_file={tmp_path / 'key'}",
            f"--tls_cert_file={tmp_path / 'chain'}",
            *chosen(server_side),
        )
        try:
            assert server.stdout is not None
            port = re.findall(rb"port (\d+)", await server.stdout.readline())[0].decode()
            client = await run_module(
                environment,
                "client",
                "--server_host=localhost",
                f"--server_port={port}",
                tls,
                "--test_case=large_unary",
                *chosen(client_side),
            )
            output, errors = await client.communicate()
            assert (client.returncode, output, errors) == (0, b"large_unary passed\n", b"")
        finally:
            server.send_signal(signal.SIGTERM)
            _, errors = await server.communicate()
        assert (server.returncode, errors) == (0, b"")


def chosen(side: str) -> list[str]:
    """Return the flags that choose a side by its name."""
    implementation, api = side.split("-")
    return [f"--implementation={implementation}", f"--api={api}"]


async def run_module(environment: dict[str, str], name: str, *flags: str) -> asyncio.subprocess.Process:
    """Start one of the two programs."""
    command = (sys.executable, "-m", f"tests.interop.{name}", *flags)
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe)
