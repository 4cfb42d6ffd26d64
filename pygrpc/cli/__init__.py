"""The command ``pygrpc``, of which ``pygrpc generate`` makes code from .proto files."""

from pygrpc.cli.commands import COMMANDS, Command, main

__all__ = ["COMMANDS", "Command", "main"]
