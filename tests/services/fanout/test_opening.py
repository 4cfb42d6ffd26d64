"""A fan-out by its URL."""

from __future__ import annotations

import subprocess
import sys
from contextlib import AsyncExitStack

from pygrpc.services.fanout.local import LocalFanout
from pygrpc.services.fanout.opening import open_fanout
from pygrpc.services.fanout.redis import RedisFanout
from tests.services.program import ROOT
from tests.services.servers.redis import RedisServer


async def test_a_fanout_by_url(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        assert isinstance(await stack.enter_async_context(open_fanout()), LocalFanout)
        fanout = await stack.enter_async_context(open_fanout(redis_server.url))
        assert isinstance(fanout, RedisFanout)
        assert fanout.healthy
    # Harmless when all is over.
    fanout.publish("a")


def test_libraries_of_servers_that_are_not_used_are_not_loaded() -> None:
    program = """
import sys
import pygrpc.services.fanout, pygrpc.services.files, pygrpc.services.chat
assert not {"redis", "botocore", "urllib3"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
