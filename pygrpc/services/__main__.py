"""`python -m pygrpc.services`: runs the user service, and the file service if asked to, until it is told to stop.

Prints one line, `listening on HOST:PORT`, when it accepts calls. Logs go to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

from pygrpc.services.server import Options, StartError, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server.

    Args:
        arguments: What follows the program's name; `sys.argv` if None.

    Returns:
        The exit status: 0 after a signal to stop, 1 if the server could not start.
    """
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(level=parsed.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options = Options(parsed.host, parsed.port, parsed.database, parsed.files, parsed.grace)
    try:
        asyncio.run(run(options, lambda address: print(f"listening on {address}", flush=True)))
    except StartError as error:
        print(f"pygrpc.services: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pygrpc.services", description="Runs the user and file services.")
    defaults = Options()
    parser.add_argument("--host", default=defaults.host, help="name or address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=port_number, default=defaults.port, help="0 lets the system choose (default: %(default)s)"
    )
    parser.add_argument(
        "--database",
        default=defaults.database,
        metavar="PATH_OR_URL",
        help="SQLite file, sqlite:/// URL, or :memory: (default: %(default)s)",
    )
    parser.add_argument(
        "--files",
        default=defaults.files,
        metavar="FOLDER",
        help="serve the file service from this folder, which is made if there is none (default: not served)",
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        default=defaults.grace,
        metavar="SECONDS",
        help="how long running calls may go on after SIGTERM or SIGINT (default: %(default)s)",
    )
    parser.add_argument(
        "--log-level",
        default="info",
        choices=("debug", "info", "warning", "error"),
        help="the least important messages to log to standard error (default: %(default)s)",
    )
    return parser


def port_number(value: str) -> int:
    """Reads an argument that is a TCP port."""
    port = int(value)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return port


def seconds(value: str) -> float:
    """Reads an argument that is a length of time."""
    length = float(value)
    if not 0 <= length < float("inf"):
        raise argparse.ArgumentTypeError("must be a number of seconds, 0 or more")
    return length


if __name__ == "__main__":
    sys.exit(main())
