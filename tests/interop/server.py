"""The interoperability server as a program: `python -m tests.interop.server --port=10000`.

With `--use_tls=true` it needs its certificate and private key: `--tls_cert_file` and `--tls_key_file`, both PEM.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.behaviour.peers import Side
from tests.interop import flags
from tests.interop.service import add_to_server

#: Seconds that calls get to finish after SIGINT or SIGTERM.
GRACE = 5.0


async def serve(side: Side, port: int, identity: tuple[bytes, bytes] | None) -> None:
    """Serve on all addresses until a signal comes; prints the port when it is ready.

    Args:
        side: The library and the API.
        port: The port to listen on, 0 for any.
        identity: The private key and the certificate chain for TLS, or None.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = side.aio.server()
    add_to_server(side, server)
    if identity is None:
        bound = server.add_insecure_port(f"[::]:{port}")
    else:
        bound = server.add_secure_port(f"[::]:{port}", side.root.ssl_server_credentials([identity]))
    await server.start()
    print(f"{side.name} server listening on port {bound}", flush=True)
    await stop.wait()
    await server.stop(GRACE)


def main() -> None:
    parser = flags.parser("Serves grpc.testing.TestService.")
    parser.add_argument("--port", type=int, required=True, help="the port to listen on, 0 for any")
    parser.add_argument("--tls_cert_file", type=Path, help="the server's certificate chain")
    parser.add_argument("--tls_key_file", type=Path, help="its private key")
    given = parser.parse_args()
    identity = None
    if given.use_tls:
        if given.tls_cert_file is None or given.tls_key_file is None:
            parser.error("--use_tls=true needs --tls_cert_file and --tls_key_file")
        identity = (given.tls_key_file.read_bytes(), given.tls_cert_file.read_bytes())
    asyncio.run(serve(flags.implementation(given), given.port, identity))


if __name__ == "__main__":
    main()
