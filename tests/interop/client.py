"""The interoperability client as a program.

`python -m tests.interop.client --server_host=localhost --server_port=10000 --test_case=large_unary`

With `--use_tls=true` it trusts what the library trusts by itself, or the certificates in the file that
GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names.
"""

from __future__ import annotations

import asyncio
import sys

from tests.behaviour.peers import Side
from tests.interop import flags
from tests.interop.cases import CASES

#: Seconds that a case may take.
BOUND = 60.0


async def run(side: Side, target: str, authority: str | None, test_case: str, use_tls: bool) -> None:
    """Run one case; raises AssertionError if something came back wrong."""
    if use_tls:
        options = (("grpc.ssl_target_name_override", authority),) if authority else ()
        channel = side.aio.secure_channel(target, side.root.ssl_channel_credentials(), options=options)
    else:
        options = (("grpc.default_authority", authority),) if authority else ()
        channel = side.aio.insecure_channel(target, options=options)
    async with asyncio.timeout(BOUND), channel:
        await CASES[test_case](channel, side)


def main() -> int:
    parser = flags.parser("Runs one case of grpc's interoperability tests.")
    parser.add_argument("--server_host", default="localhost", help="the host to connect to")
    parser.add_argument("--server_port", type=int, required=True, help="the port to connect to")
    parser.add_argument("--server_host_override", help="the host to claim to be connecting to")
    parser.add_argument("--test_case", choices=CASES, required=True, help="the case to run")
    parser.add_argument("--use_test_ca", type=flags.boolean, default=False, help="only false is supported")
    given = parser.parse_args()
    if given.use_test_ca:
        parser.error("there is no test CA; name one in GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    side = flags.implementation(given)
    target = f"{given.server_host}:{given.server_port}"
    try:
        asyncio.run(run(side, target, given.server_host_override, given.test_case, given.use_tls))
    except (AssertionError, TimeoutError, side.root.RpcError) as error:
        print(f"{given.test_case} failed: {error!r}", file=sys.stderr)
        return 1
    print(f"{given.test_case} passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
