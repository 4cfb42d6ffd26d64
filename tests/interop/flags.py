"""The flags that both programs take, in the form that grpc's own runners give them."""

from __future__ import annotations

import argparse

from tests.behaviour.peers import SIDES, Side

IMPLEMENTATIONS = {side.name: side for side in SIDES}


def boolean(text: str) -> bool:
    """Read the value of a flag such as --use_tls=false."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows --implementation and --use_tls."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--implementation", choices=IMPLEMENTATIONS, default="pygrpc", help="the library to run")
    made.add_argument("--use_tls", type=boolean, default=False, help="only false is supported")
    return made


def implementation(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> Side:
    """Return the library that was chosen; ends the program if it was asked for TLS."""
    if flags.use_tls:
        parser.error("TLS is not supported")
    return IMPLEMENTATIONS[flags.implementation]
