"""Lines of standard input, each when it is there."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import threading
from collections.abc import AsyncGenerator

#: The descriptor of standard input.
INPUT = 0
_READ_SIZE = 4096


async def lines_of(descriptor: int) -> AsyncGenerator[str, None]:
    """Yields the lines of a file, terminal or pipe, each when it is there.

    A thread of its own reads them: the loop can wait for pipes and terminals, but not for files. It reads ahead by one
    piece at most, so that a long file is not kept in memory, and it does not keep the program from ending.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    wanted = threading.Semaphore()

    def read() -> None:
        # Closing the loop before the end is no error: nobody wants the rest.
        with contextlib.suppress(RuntimeError):
            while wanted.acquire():
                try:
                    piece = os.read(descriptor, _READ_SIZE)
                except OSError:
                    piece = b""
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
                if not piece:
                    return

    threading.Thread(target=read, name="standard input", daemon=True).start()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = ""
    while piece := await pieces.get():
        *lines, text = (text + decoder.decode(piece)).split("\n")
        for line in lines:
            yield line.rstrip("\r")
        wanted.release()
    if text:
        yield text
