"""``pygrpc wire``: a proxy that prints the conversation that passes through it."""

import argparse
import asyncio
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import TextIO

from pygrpc.wire.annotate import Conversation
from pygrpc.wire.messages import pool_resolver
from pygrpc.wire.proxy import RecordingProxy, describe_os_error
from pygrpc.wire.recording import Event
from pygrpc.wire.render import Printer

_PROBE_TIMEOUT = 5.0


class _Unusable(Exception):
    """What the user asked for can't be done; the text is one sentence for them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code: 0 after a signal to stop, 2 if it could not begin."""
    parser = argparse.ArgumentParser(
        prog="pygrpc wire",
        description="Forward TCP connections to a gRPC server and print what both sides say.",
    )
    parser.add_argument("--listen", required=True, metavar="PORT", help="port on 127.0.0.1, 0 for any")
    parser.add_argument("--target", required=True, metavar="HOST:PORT", help="the server")
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        metavar="NAME",
        help="a generated module to import, such as user.v1.user_pb2, so that its messages are shown as text; may be "
        "repeated",
    )
    options = parser.parse_args(arguments)
    try:
        port, target = _port(options.listen), _address(options.target)
        for name in options.module:
            _import(name)
        asyncio.run(_watch(port, target, sys.stdout))
    except _Unusable as error:
        print(f"pygrpc wire: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the output has seen enough; the interpreter must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _watch(port: int, target: tuple[str, int], stream: TextIO) -> None:
    stop = asyncio.Event()
    failure: list[OSError] = []
    conversation = Conversation(pool_resolver())
    printer = Printer(stream)

    def show(event: Event) -> None:
        try:
            for entry in conversation.observe(event):
                printer.print(entry)
        except OSError as error:
            failure.append(error)
            stop.set()

    host = f"[{target[0]}]:{target[1]}" if ":" in target[0] else f"{target[0]}:{target[1]}"
    await _probe(target, host)
    proxy = RecordingProxy(*target, port=port, limit=0, on_event=show)
    try:
        await proxy.start()
    except OSError as error:
        raise _Unusable(f"cannot listen on 127.0.0.1:{port}: {describe_os_error(error)}.") from None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Where the loop has no signal handlers Ctrl-C still ends the program.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    try:
        print(f"listening on {proxy.address}, forwarding to {host}; Ctrl-C to stop", file=stream, flush=True)
        await stop.wait()
    finally:
        await proxy.close()
    if failure:
        raise failure[0]


async def _probe(target: tuple[str, int], host: str) -> None:
    """Tells a target that can't be reached now, not at the first call."""
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT):
            _, writer = await asyncio.open_connection(*target)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise _Unusable(f"cannot reach the target {host}: {describe_os_error(error)}.") from None
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as error:
        # Importing runs the code of the user's module, which may fail in any way.
        raise _Unusable(f"cannot import the module {name}: {error}.") from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise _Unusable(f"--listen needs a port from 0 to 65535, not {text!r}.")
    return int(text)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise _Unusable(f"--target needs HOST:PORT, not {text!r}.")
    return host, int(port)
