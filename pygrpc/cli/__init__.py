"""The command ``pygrpc``: ``pygrpc generate`` makes code from .proto files, ``pygrpc serve`` runs the services."""

from pygrpc.cli.commands import COMMANDS, Command, main

__all__ = ["COMMANDS", "Command", "main"]
