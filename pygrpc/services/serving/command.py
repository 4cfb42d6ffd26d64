"""`pygrpc serve`: runs the user, chat, file and order services until it is told to stop.

Prints one line, `listening on HOST:PORT`, when it accepts calls. Logs go to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from pygrpc.services.serving import logs
from pygrpc.services.serving.configuration import CONFIG_VARIABLE, SETTINGS, load
from pygrpc.services.serving.errors import StartError
from pygrpc.services.serving.running import run
from pygrpc.services.serving.settings import Setting, SettingError

_PROGRAM = "pygrpc serve"


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Runs the services.

    Args:
        arguments: What follows the program's name; `sys.argv` if None.
        environment: The environment variables.

    Returns:
        The exit status: 0 after a signal to stop, 1 if the server could not start, 2 for a setting that is wrong.
    """
    given = vars(_parser().parse_args(arguments))
    file = given.pop("config", None) or environment.get(CONFIG_VARIABLE, "")
    print_config = given.pop("print_config", False)
    try:
        loaded = load(given, environment, file)
    except SettingError as error:
        return _fail(error, 2)
    if print_config:
        print(*loaded.as_toml(), sep="\n")
        return 0
    logs.set_up(loaded.configuration)
    try:
        run(loaded.configuration, lambda address: print(f"listening on {address}", flush=True))
    except StartError as error:
        return _fail(error, 1)
    return 0


def _fail(error: Exception, status: int) -> int:
    print(f"{_PROGRAM}: {error}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Runs the user, chat, file and order services.",
        epilog="An option comes before its environment variable, this before the file, and that before the default.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help=f"TOML file of settings [{CONFIG_VARIABLE}]")
    parser.add_argument(
        "--print-config", action="store_true", help="print the settings and where each came from, and end"
    )
    for each in SETTINGS:
        if each.kind.switch:
            parser.add_argument(each.option, dest=each.name, action=argparse.BooleanOptionalAction, help=_help(each))
        else:
            metavar = each.kind.name.upper().replace(" ", "_")
            parser.add_argument(each.option, dest=each.name, metavar=metavar, help=_help(each))
    return parser


def _help(setting: Setting) -> str:
    text = setting.help.replace("`", "").replace("%", "%%")
    return f"{text} (default: {plain(setting.default)}) [{setting.environment}]"


def plain(value: object) -> str:
    """Writes a default value for people."""
    match value:
        case None | "" | ():
            return "none"
        case bool():
            return "on" if value else "off"
        case tuple():
            return ",".join(value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)
