"""``python -m pygrpc.services.demo``: shows the user service at work, and its calls on the wire."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from pygrpc.services.demo.children import DemoFailed
from pygrpc.services.demo.stage import Stage


def main() -> int:
    """Runs the demo and returns its exit code: 0, or 1 if anything of it failed, or 130 after SIGINT or SIGTERM."""
    # What ends the program otherwise shall clean up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        asyncio.run(Stage(sys.stdout).play())
    except DemoFailed as error:
        print(f"demo: {str(error).rstrip('.')}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has seen enough; the interpreter must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
