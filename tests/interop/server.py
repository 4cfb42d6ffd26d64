"""The interoperability server as a program: `python -m tests.interop.server --port=10000`."""

from __future__ import annotations

import asyncio
import signal

from tests.behaviour.peers import Side
from tests.interop import flags
from tests.interop.service import add_to_server

#: Seconds that calls get to finish after SIGINT or SIGTERM.
GRACE = 5.0


async def serve(side: Side, port: int) -> None:
    """Serve on all addresses until a signal comes; prints the port when it is ready."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = side.aio.server()
    add_to_server(side, server)
    bound = server.add_insecure_port(f"[::]:{port}")
    await server.start()
    print(f"{side.name} server listening on port {bound}", flush=True)
    await stop.wait()
    await server.stop(GRACE)


def main() -> None:
    parser = flags.parser("Serves grpc.testing.TestService.")
    parser.add_argument("--port", type=int, required=True, help="the port to listen on, 0 for any")
    given = parser.parse_args()
    asyncio.run(serve(flags.implementation(parser, given), given.port))


if __name__ == "__main__":
    main()
