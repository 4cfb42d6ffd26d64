"""The commands of ``pygrpc``, and the choice among them."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from google.protobuf.runtime_version import VersionError


class MissingExtra(Exception):
    """A command needs packages that are not installed; the text is one sentence that says how to get them."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Attributes:
        help: What it does, in a line.
        module: The module whose function ``main`` runs it. It is imported when the command runs, and not before: what
            one command needs must not slow down or break the others.
        extra: The extra of the package pygrpc that it needs, if there is one.
    """

    help: str
    module: str
    extra: str = ""

    def load(self) -> Callable[[Sequence[str]], int]:
        """Imports the command.

        Returns:
            A function from the arguments behind the command's name to the exit status.

        Raises:
            MissingExtra: It needs a package that is not installed, or a newer one.
        """
        try:
            main: Callable[[Sequence[str]], int] = importlib.import_module(self.module).main
        except VersionError as error:
            raise MissingExtra(
                f"the package protobuf is too old for it: pip install 'pygrpc[{self.extra}]' brings a newer one"
            ) from error
        except ModuleNotFoundError as error:
            if not self.extra or (error.name or "").partition(".")[0] == "pygrpc":
                raise
            raise MissingExtra(
                f"it needs the package of {error.name}, which is not installed: pip install 'pygrpc[{self.extra}]'"
            ) from error
        return main


COMMANDS = {
    "serve": Command("run the user, chat, file and order services", "pygrpc.services.serving.command", "services"),
    "users": Command(
        "create, show, change, watch and import users", "pygrpc.services.clients.commands.users", "services"
    ),
    "chat": Command("open chat rooms and take part in them", "pygrpc.services.clients.commands.chat", "services"),
    "files": Command("put files on a server and fetch them", "pygrpc.services.clients.commands.files", "services"),
    "orders": Command("create, watch, import and match orders", "pygrpc.services.clients.commands.orders", "services"),
    "generate": Command("generate modules, stubs and servicers from .proto files", "pygrpc.codegen.command"),
    "wire": Command("show what passes between a client and a server", "pygrpc.wire.command"),
    "load": Command("make calls to any gRPC server and report how long they take", "pygrpc.load.command"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``pygrpc``.

    Args:
        arguments: What follows the program's name; ``sys.argv`` if None.

    Returns:
        The exit status of the command; 1 if it needs packages that are not installed.

    Raises:
        SystemExit: With status 2, there is no such command; with 0, help was asked for.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="pygrpc",
        description="Tools of pygrpc, gRPC over HTTP/2 in pure Python.",
        epilog="pygrpc COMMAND --help tells more of a command.",
    )
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        # The command parses its own arguments, --help among them.
        commands.add_parser(name, help=command.help, add_help=False)
    chosen = parser.parse_args(arguments[:1]).command
    try:
        run = COMMANDS[chosen].load()
    except MissingExtra as error:
        print(f"pygrpc {chosen}: {error}", file=sys.stderr)
        return 1
    return run(arguments[1:])
