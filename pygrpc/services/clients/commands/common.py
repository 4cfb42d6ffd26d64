"""What the commands have in common: the options of the connection, output, and how a command ends."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf import json_format
from google.protobuf.message import Message

from pygrpc import StatusCode
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.options import ClientOptions, Tls, token_from
from pygrpc.services.clients.together import Clients

DEFAULT_SERVER = "127.0.0.1:50051"
SERVER_VARIABLE = "PYGRPC_SERVER"
TOKEN_VARIABLE = "PYGRPC_TOKEN"
INTERRUPTED = 130

#: Carries a command out; returns the exit status.
Work: TypeAlias = Callable[[Clients, argparse.Namespace], Coroutine[Any, Any, int]]


class CommandError(Exception):
    """A command can't do what it should; the text is a sentence that says why."""


class Commands:
    """The parser of one command with its actions, `pygrpc users create` and so on."""

    def __init__(self, name: str, description: str) -> None:
        """Makes a parser without actions."""
        self.parser = argparse.ArgumentParser(prog=f"pygrpc {name}", description=description, allow_abbrev=False)
        self._actions = self.parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
        self._common = _connection_options()

    def add(self, name: str, help: str, work: Work, *, interruptible: bool = False) -> argparse.ArgumentParser:
        """Adds an action and returns its parser.

        Args:
            name: What it is called.
            help: What it does, in a line.
            work: Carries it out.
            interruptible: Whether Ctrl-C is its usual end.
        """
        action = self._actions.add_parser(
            name, help=help, description=f"{help[0].upper()}{help[1:]}.", parents=[self._common], allow_abbrev=False
        )
        action.set_defaults(work=work, interruptible=interruptible, prog=action.prog)
        return action

    def run(self, arguments: Sequence[str] | None) -> int:
        """Runs what the arguments ask for, and says in one sentence what went wrong.

        Returns:
            The exit status.

        Raises:
            SystemExit: With status 2, the arguments make no sense; with 0, help was asked for.
        """
        given = self.parser.parse_args(arguments)
        try:
            options = _client_options(given)
        except (OSError, ValueError) as error:
            self.parser.error(sentence(error))
        try:
            status = asyncio.run(_run(given, options))
            sys.stdout.flush()
            return status
        except BrokenPipeError:
            # Whoever read the output wants no more of it. Python would complain once more when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (ServiceError, CommandError, OSError, ValueError) as error:
            complain(given, sentence(error))
            return 1
        except KeyboardInterrupt:
            return 0 if given.interruptible else INTERRUPTED


async def _run(given: argparse.Namespace, options: ClientOptions) -> int:
    async with Clients(given.server, options) as clients:
        work: Work = given.work
        return await work(clients, given)


def _connection_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("connection")
    server = os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER
    group.add_argument(
        "--server", default=server, metavar="HOST:PORT", help=f"the server (default: {server}) [{SERVER_VARIABLE}]"
    )
    group.add_argument(
        "--timeout",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="deadline of each call, and the longest time without progress of a transfer (default: %(default)g)",
    )
    tokens = group.add_mutually_exclusive_group()
    tokens.add_argument(
        "--token", help=f"sent as a bearer token; everybody on this machine can read it [{TOKEN_VARIABLE}]"
    )
    tokens.add_argument("--token-file", metavar="FILE", help="holds the token; read anew for each call")
    group.add_argument(
        "--metadata",
        type=pair,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="sent with each call; repeatable",
    )
    group.add_argument("--tls", action="store_true", help="use TLS; the options below imply it")
    group.add_argument("--ca", metavar="FILE", help="certificates that vouch for the server (default: the system's)")
    group.add_argument("--cert", metavar="FILE", help="certificate of this client")
    group.add_argument("--key", metavar="FILE", help="private key of that")
    group.add_argument("--server-name", metavar="NAME", help="name in the server's certificate, if it is another one")
    parser.add_argument("--json", action="store_true", help="write one JSON object on each line")
    return parser


def _client_options(given: argparse.Namespace) -> ClientOptions:
    token: Any = given.token or os.environ.get(TOKEN_VARIABLE)
    if given.token_file:
        token = token_from(given.token_file)
        # So that a missing file is said before anything else happens.
        token()
    tls = None
    if given.tls or given.ca or given.cert or given.key or given.server_name:
        tls = Tls(
            ca=_contents(given.ca),
            certificate=_contents(given.cert),
            key=_contents(given.key),
            server_name=given.server_name,
        )
    return ClientOptions(timeout=given.timeout, metadata=tuple(given.metadata), token=token, tls=tls)


def _contents(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


def user_option(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says who does something."""
    parser.add_argument("--user", default=_login(), metavar="ID", help="id of the user (default: %(default)s)")


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def seconds(text: str) -> float:
    """Reads an argument that is a length of time."""
    length = float(text)
    if not 0 < length < float("inf"):
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return length


def count(text: str) -> int:
    """Reads an argument that says how many."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def pair(text: str) -> tuple[str, str]:
    """Reads an argument of the form KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError("must be KEY=VALUE")
    return key, value


def sentence(error: BaseException) -> str:
    """Says what went wrong."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return plain(str(error))


def complain(given: argparse.Namespace, text: str) -> None:
    """Writes a sentence to standard error."""
    print(f"{given.prog}: {text}", file=sys.stderr, flush=True)


def show(given: argparse.Namespace, message: Message, line: Callable[[Any], str]) -> None:
    """Writes a message, as JSON if that is asked for."""
    if given.json:
        fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
        print(json.dumps(fields, ensure_ascii=False), flush=True)
    else:
        print(plain(line(message)), flush=True)


def plain(text: str) -> str:
    """Returns a text on one line without what would move the cursor of a terminal or colour it."""
    if text.isprintable():
        return text
    return "".join(
        " " if each in "\n\t" else "\ufffd" if unicodedata.category(each) in ("Cc", "Zl", "Zp") else each
        for each in text
    )


def choices(enum: Any, prefix: str) -> dict[str, int]:
    """Returns the values of an enum of protobuf by their names as arguments; without the unspecified one."""
    return {
        name.removeprefix(prefix).lower(): number for name, number in enum.items() if number and name.startswith(prefix)
    }


def code_name(number: int) -> str:
    """Returns the name of a status code that came as a number."""
    return next((each.name for each in StatusCode if each.value[0] == number), str(number))


def name_of(enum: Any, prefix: str, number: int) -> str:
    """Returns the name of a value of an enum as people write it; also of one that this version does not know."""
    if number not in enum.values():
        return str(number)
    return str(enum.Name(number)).removeprefix(prefix).lower()
