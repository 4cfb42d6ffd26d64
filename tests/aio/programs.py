"""A server and a client in processes of their own, whose memory is measured: ``python -m tests.aio.programs``.

server                    prints its port, serves until its input ends
client TARGET MIB         uploads so many MiB in messages of 64 KiB, prints what it and the server grew by, in KiB
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from pygrpc import aio
from tests.aio.support import make_server, method

MESSAGE = bytes(range(256)) * 256


class Memory:
    """The resident memory of this process: when it is idle, and the most from then on, in KiB."""

    def idle(self) -> None:
        # Linux: forgets the peak so far, which importing may have caused.
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        self.before = self._read("VmRSS")

    def growth(self) -> int:
        return self._read("VmHWM") - self.before

    @staticmethod
    def _read(name: str) -> int:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name + ":"))


async def serve() -> None:
    memory = Memory()

    async def control(request: bytes, context: Any) -> bytes:
        if request == b"idle":
            memory.idle()
            return b""
        return b"%d" % memory.growth()

    async def upload(requests: AsyncIterator[bytes], context: Any) -> bytes:
        size = 0
        async for request in requests:
            size += len(request)
        return b"%d" % size

    server = make_server(uu=control, su=upload)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


async def upload(target: str, mebibytes: int) -> None:
    count = mebibytes << 20 >> 16

    async def messages(number: int) -> AsyncIterator[bytes]:
        for _ in range(number):
            # A copy each, as a file or a serializer would make one.
            yield bytes(bytearray(MESSAGE))

    memory = Memory()
    async with aio.insecure_channel(target) as channel:
        control, send = method(channel, "uu"), method(channel, "su")
        await send(messages(4))
        await control(b"idle")
        memory.idle()
        assert int(await send(messages(count))) == count * len(MESSAGE)
        print(memory.growth(), int(await control(b"growth")))


if __name__ == "__main__":
    if sys.argv[1] == "server":
        asyncio.run(serve())
    else:
        asyncio.run(upload(sys.argv[2], int(sys.argv[3])))
