"""Runs ``pygrpc`` as ``python -m pygrpc.cli``."""

import sys

from pygrpc.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
