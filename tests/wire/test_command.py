"""The program: what it prints while proxying, and how it refuses what it can't do."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator

import grpc.aio
import pytest

from pygrpc.wire.command import main
from tests.source_tree import ROOT

BOUND = 30


async def start_server() -> tuple[grpc.aio.Server, int]:
    async def answer(request: bytes, context: object) -> bytes:
        return b"\x12\x02hi"

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("own.Oracle", {"Speak": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def start_program(*arguments: str) -> Process:
    command = [sys.executable, "-m", "pygrpc.cli", "wire", *arguments]
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, cwd=ROOT)


async def listening_port(program: Process) -> int:
    assert program.stdout is not None
    async with asyncio.timeout(BOUND):
        line = (await program.stdout.readline()).decode()
    match = re.match(r"listening on 127\.0\.0\.1:(\d+), forwarding to ", line)
    assert match, line
    return int(match[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_call_is_printed_while_it_passes(number: signal.Signals) -> None:
    server, port = await start_server()
    program = await start_program("--listen", "0", "--target", f"127.0.0.1:{port}")
    try:
        address = f"127.0.0.1:{await listening_port(program)}"
        async with grpc.aio.insecure_channel(address) as channel:
            assert await channel.unary_unary("/own.Oracle/Speak")(b"\x08\x2a", timeout=BOUND) == b"\x12\x02hi"
            program_output = program.stdout
            assert program_output is not None
            lines: list[str] = []
            async with asyncio.timeout(BOUND):
                # It is printed at once, not when the connection or the program ends.
                while not any("grpc-status: 0  (OK)" in line for line in lines):
                    lines.append((await program_output.readline()).decode().rstrip())
        program.send_signal(number)
        async with asyncio.timeout(BOUND):
            _, errors = await program.communicate()
        assert (program.returncode, errors) == (0, b"")
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
        await server.stop(None)
    text = "\n".join(lines)
    assert "client --> server  PREFACE" in text
    assert ":path: /own.Oracle/Speak" in text
    assert "prefix: 00 00 00 00 02  (not compressed, 2 bytes)" in text
    assert re.search(r"message of unknown type\n +1: 42\n", text)
    assert re.search(r"message of unknown type\n +2: \"hi\"\n", text)


async def test_output_that_nobody_reads_any_more_ends_the_program_quietly() -> None:
    server, port = await start_server()
    program = await start_program("--listen", "0", "--target", f"127.0.0.1:{port}")
    try:
        address = f"127.0.0.1:{await listening_port(program)}"
        program._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
        async with grpc.aio.insecure_channel(address) as channel:
            # The proxy drops its connections when it ends, which it may do before the answer has come.
            await asyncio.gather(channel.unary_unary("/own.Oracle/Speak")(b"", timeout=BOUND), return_exceptions=True)
        async with asyncio.timeout(BOUND):
            assert await program.wait() == 0
        assert program.stderr is not None
        assert await program.stderr.read() == b""
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
        await server.stop(None)


@pytest.fixture
def used_port() -> Iterator[int]:
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        yield used.getsockname()[1]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    [line] = output.err.splitlines()
    return line.removeprefix("pygrpc wire: ")


def test_a_port_in_use(capsys: pytest.CaptureFixture[str], used_port: int) -> None:
    line = refusal(capsys, "--listen", str(used_port), "--target", f"127.0.0.1:{used_port}")
    assert line == f"cannot listen on 127.0.0.1:{used_port}: address already in use."


def test_a_target_where_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        line = refusal(capsys, "--listen", "0", "--target", address)
    assert line == f"cannot reach the target {address}: connection refused."


@pytest.mark.parametrize(
    "target", ["", ":", "localhost", "localhost:", ":50051", "localhost:0", "localhost:65536", "a:b"]
)
def test_a_target_that_is_no_address(capsys: pytest.CaptureFixture[str], target: str) -> None:
    assert refusal(capsys, "--listen", "0", "--target", target) == f"--target needs HOST:PORT, not {target!r}."


@pytest.mark.parametrize("port", ["", "x", "65536", "-1", "٣"])
def test_a_port_that_is_none(capsys: pytest.CaptureFixture[str], port: str) -> None:
    line = refusal(capsys, f"--listen={port}", "--target", "127.0.0.1:1")
    assert line == f"--listen needs a port from 0 to 65535, not {port!r}."


def test_a_module_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "--listen", "0", "--target", "127.0.0.1:1", "--module", "no_such_module")
    assert line == "cannot import the module no_such_module: No module named 'no_such_module'."


def test_an_ipv6_target_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "--listen", "0", "--target", "[::1]:1")
    assert line.startswith("cannot reach the target [::1]:1: ")
