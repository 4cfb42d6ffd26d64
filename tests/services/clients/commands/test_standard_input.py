"""Lines of standard input, each when it is there."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pygrpc.services.clients.commands.standard_input import lines_of
from tests.services.clients.support import collected


async def test_lines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = [f"line {number} \N{SNOWMAN}" for number in range(2000)]
    path.write_text("\n".join(lines), encoding="utf-8")
    descriptor = os.open(path, os.O_RDONLY)
    assert await collected(lines_of(descriptor)) == lines
    os.close(descriptor)


async def test_a_line_comes_when_it_is_there() -> None:
    read, write = os.pipe()
    lines = lines_of(read)
    os.write(write, b"one\ntw")
    assert await anext(lines) == "one"
    following = asyncio.create_task(anext(lines))
    os.write(write, b"o\n")
    assert await following == "two"
    os.close(write)
    assert await collected(lines) == []
    os.close(read)
