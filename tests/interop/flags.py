"""The flags that both programs take, in the form that grpc's own runners give them."""

from __future__ import annotations

import argparse

from tests.behaviour.peers import SIDES, Side


def boolean(text: str) -> bool:
    """Read the value of a flag such as --use_tls=false."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows --implementation, --api and --use_tls."""
    made = argparse.ArgumentParser(description=description)
    libraries = sorted({side.implementation for side in SIDES})
    made.add_argument("--implementation", choices=libraries, default="pygrpc", help="the library to run")
    made.add_argument("--api", choices=["aio", "sync"], default="aio", help="which of its APIs to run")
    made.add_argument("--use_tls", type=boolean, default=False, help="whether to use TLS, false unless given")
    return made


def implementation(flags: argparse.Namespace) -> Side:
    """Return the side that was chosen."""
    return next(side for side in SIDES if (side.implementation, side.api) == (flags.implementation, flags.api))
