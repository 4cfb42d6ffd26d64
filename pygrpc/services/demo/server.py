"""The server of the demo: the user service in a process of its own, which tells what becomes of some calls.

It prints ``listening on HOST:PORT`` and then a line for whatever happens to a call of WatchUser that carries the
metadata ``demo-step``. It ends when its standard input does, so it never outlives the demo.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import Any

from pygrpc import aio
from pygrpc.services.demo.lines import STEP_KEY
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from pygrpc.services.users import DatabaseUserStore, Passwords, UserService


class NarratedUserService(UserService):
    """The user service, which says when a call of WatchUser begins and when it is cancelled."""

    async def WatchUser(self, request: user_pb2.WatchUserRequest, context: aio.ServicerContext[Any, Any]) -> None:
        """Streams the state of a user and then its changes."""
        if STEP_KEY not in dict(context.invocation_metadata() or ()):
            return await super().WatchUser(request, context)
        begin = time.monotonic()
        _tell(f"WatchUser begins, {_time_left(context)}")
        try:
            await super().WatchUser(request, context)
        except asyncio.CancelledError:
            _tell(f"WatchUser is cancelled after {time.monotonic() - begin:.3f} s, {_time_left(context)}")
            raise


def _time_left(context: aio.ServicerContext[Any, Any]) -> str:
    remaining = context.time_remaining()
    return "no deadline" if remaining is None else f"{remaining:.3f} s left until its deadline"


def _tell(text: str) -> None:
    print(text, flush=True)


async def serve(database: str) -> None:
    """Serves until standard input ends.

    Args:
        database: The path of the SQLite file.
    """
    store = await DatabaseUserStore.open(database)
    passwords = Passwords()
    server = aio.server()
    service = NarratedUserService(store, passwords)
    try:
        user_pb2_grpc.add_UserServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        _tell(f"listening on 127.0.0.1:{port}")
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        service.shut_down()
        await server.stop(5)
    finally:
        passwords.close()
        await store.close()


if __name__ == "__main__":
    # Ctrl-C reaches the whole group of processes; the demo is the one that ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve(sys.argv[1]))
