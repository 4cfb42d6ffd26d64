"""The command ``pygrpc load``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pygrpc
from pygrpc.load import plot, report
from pygrpc.load.arguments import parser
from pygrpc.load.calls import channel_options, credentials
from pygrpc.load.errors import LoadError
from pygrpc.load.methods import Contract, contract_by_reflection, contract_of_protos, contract_of_set, find_method
from pygrpc.load.plan import Plan, Tls
from pygrpc.load.processes import run
from pygrpc.load.requests import Requests, read_requests
from pygrpc.load.result import LoadResult

#: Seconds for which calls begin if nothing else is said.
_DURATION = 10.0
#: What a shell expects of a program that Ctrl-C ended.
_INTERRUPTED = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: What follows ``pygrpc load``; ``sys.argv`` if None.

    Returns:
        The exit status: 0 if there is a report and a call in it that was OK, 130 if the test was interrupted, else 1.

    Raises:
        SystemExit: With status 2, the arguments make no sense.
    """
    options = _parsed(arguments)
    try:
        if options.plot:
            plot.check(options.plot)
        plan = make_plan(options)
        result = asyncio.run(_interruptible(plan, options.processes))
        if options.json:
            print(json.dumps(report.as_json(plan, result), indent=2))
        else:
            print(report.as_text(plan, result), end="")
        if options.plot:
            plot.write(plan, result, options.plot)
    except (LoadError, OSError) as error:
        print(f"pygrpc load: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    if result.interrupted:
        return _INTERRUPTED
    return 0 if "OK" in result.codes else 1


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    reader = parser()
    options = reader.parse_args(arguments)
    if options.descriptor_set and options.proto:
        reader.error("--descriptor-set and --proto exclude each other")
    if bool(options.cert) != bool(options.key):
        reader.error("--cert and --key belong together")
    if options.processes > options.concurrency:
        reader.error(f"{options.processes} processes can't share {options.concurrency} calls in flight: raise -c")
    options.connections = options.connections or options.processes
    if not options.processes <= options.connections <= options.concurrency:
        reader.error("--connections is at least the number of processes, and no more than the calls in flight")
    if options.duration is None and options.calls is None:
        options.duration = _DURATION
    return options


async def _interruptible(plan: Plan, processes: int) -> LoadResult:
    """Runs the test; the first Ctrl-C or SIGTERM ends it with what there is, and the second one at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    # Windows has no such handlers, and only the main thread may have them: elsewhere Ctrl-C leaves no report.
    with contextlib.suppress(NotImplementedError, RuntimeError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
    return await run(plan, processes, stop)


def make_plan(options: argparse.Namespace) -> Plan:
    """Makes a plan of the command's options, for which the server may be asked.

    Raises:
        LoadError: The server can't be reached, the method is unknown or the requests don't fit it.
        OSError: A file can't be read.
    """
    plan = Plan(
        target=options.target,
        method=options.method,
        requests=Requests((b"",)),
        receive=options.receive,
        metadata=tuple(options.metadata),
        timeout=options.timeout,
        connect_timeout=options.connect_timeout,
        concurrency=options.concurrency,
        connections=options.connections,
        rate=options.rate,
        duration=options.duration,
        calls=options.calls,
        warmup=options.warmup,
        pause=options.pause,
        options=tuple(options.option),
        tls=_tls(options),
    )
    return _with_method(plan, options)


def _with_method(plan: Plan, options: argparse.Namespace) -> Plan:
    """Adds what the contract says of the method, and the requests."""
    with contextlib.ExitStack() as stack:
        if options.descriptor_set:
            contract = contract_of_set(options.descriptor_set)
        elif options.proto:
            contract = contract_of_protos(options.proto, options.proto_path or [Path()])
        else:
            contract = _ask(plan, stack)
        method = find_method(contract, options.method)
        requests = read_requests(
            [_text(each) for each in options.data or []], method.input_type, placeholders=not options.literal
        )
    return dataclasses.replace(
        plan,
        method=f"{method.containing_service.full_name}/{method.name}",
        requests=requests,
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        messages=options.messages or len(requests.values or requests.serialized),
    )


def _ask(plan: Plan, stack: contextlib.ExitStack) -> Contract:
    """Asks the server for its contract; the channel is open as long as the stack."""
    identity, settings = credentials(plan), channel_options(plan)
    channel = stack.enter_context(
        pygrpc.insecure_channel(plan.target, settings)
        if identity is None
        else pygrpc.secure_channel(plan.target, identity, settings)
    )
    return contract_by_reflection(channel, plan.target, timeout=plan.connect_timeout, metadata=plan.metadata)


def _text(data: str) -> str:
    return Path(data[1:]).read_text(encoding="utf-8") if data.startswith("@") else data


def _tls(options: argparse.Namespace) -> Tls | None:
    files = (options.ca, options.key, options.cert)
    if not (options.tls or options.server_name or any(files)):
        return None
    roots, key, certificate = (None if file is None else file.read_bytes() for file in files)
    return Tls(roots, key, certificate, options.server_name)
