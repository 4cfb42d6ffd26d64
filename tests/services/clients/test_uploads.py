"""Uploads of the file client: whole, broken off, taken up by another program, and what can't become a file."""

from __future__ import annotations

import asyncio
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pygrpc.services.clients import ServiceError
from pygrpc.services.clients.uploads import size_and_checksum
from pygrpc.services.files import Limits
from pygrpc.services.protos.file.v1 import file_pb2
from tests.services.clients.support import World, fails, quick, until, world
from tests.services.files.support import sha256

__all__ = ["quick"]

DATA = bytes(range(256)) * 8192


def source(folder: Path, data: bytes = DATA, name: str = "data.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


async def content(here: World, file_id: str, folder: Path) -> bytes:
    target = folder / "fetched"
    await here.clients.files.download(file_id, target)
    return target.read_bytes()


async def broken_off(here: World, path: Path, sent: int, **given: Any) -> asyncio.Task[Any]:
    """Begins an upload whose connection passes so many bytes on and then stands still."""
    here.limit_next_up(sent)
    uploading = asyncio.create_task(here.clients.files.upload(path, **given))
    await until(lambda: here.proxy.links != [] and here.proxy.links[-1].up.forwarded == sent)
    return uploading


def arrived(folder: Path) -> int:
    """Returns how many bytes of an upload the server has put into a file."""
    return max((each.stat().st_size for each in (folder / "files" / "parts").iterdir()), default=0)


async def noted(here: World) -> int:
    """Waits until the server has written down what came of a broken upload, which it does once that is over."""
    async with here.more() as others:
        while not (size := (await others.files.unfinished("mine")).received_size):
            pass
        return size


@pytest.mark.parametrize("size", [0, 1, 256 << 10, (256 << 10) + 1, len(DATA)])
async def test_a_file_arrives_whole(tmp_path: Path, size: int) -> None:
    async with world(tmp_path) as here:
        steps: list[tuple[int, int]] = []
        path = source(tmp_path, DATA[:size], "note.txt")
        info = await here.clients.files.upload(path, progress=lambda *step: steps.append(step))
        assert (info.filename, info.size, info.checksum) == ("note.txt", size, sha256(DATA[:size]))
        assert (info.content_type, info.visibility) == ("text/plain", file_pb2.VISIBILITY_PRIVATE)
        assert steps[0] == (0, size)
        assert steps[-1] == (size, size)
        assert steps == sorted(steps)
        assert await content(here, info.file_id, tmp_path) == DATA[:size]


async def test_what_is_said_about_a_file(tmp_path: Path) -> None:
    async with world(tmp_path, metadata=(("user-id", "ann"),)) as here:
        info = await here.clients.files.upload(
            source(tmp_path),
            file_id="mine",
            filename="other.txt",
            content_type="image/png",
            visibility=file_pb2.VISIBILITY_PUBLIC,
        )
        assert (info.file_id, info.filename, info.content_type) == ("mine", "other.txt", "image/png")
        assert (info.visibility, info.uploaded_by) == (file_pb2.VISIBILITY_PUBLIC, "ann")


@pytest.mark.usefixtures("quick")
async def test_an_upload_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        uploading = await broken_off(here, source(tmp_path), 1 << 20, file_id="mine")
        await until(lambda: arrived(tmp_path) == 3 * (256 << 10))
        here.proxy.refuse()
        here.cut()
        assert await noted(here) > 700 << 10
        here.proxy.accept()
        info = await uploading
        assert info.checksum == sha256(DATA)
        # What had arrived was not sent again.
        assert 0 < here.proxy.links[1].up.forwarded < len(DATA) - (700 << 10)


@pytest.mark.usefixtures("quick")
async def test_an_upload_survives_many_breaks_and_a_restart(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        uploading = await broken_off(here, source(tmp_path), 400_000)
        for size in (500_000, 600_000):
            here.limit_next_up(size)
            here.cut()
            count = len(here.proxy.links)
            await until(lambda: len(here.proxy.links) > count and here.proxy.links[-1].up.forwarded == size)  # noqa: B023
        await here.serving.restart()
        assert (await uploading).checksum == sha256(DATA)


@pytest.mark.usefixtures("quick")
async def test_an_upload_whose_answer_was_lost_is_complete(tmp_path: Path) -> None:
    async with world(tmp_path) as here, here.more() as others:

        def hold(*_: int) -> None:
            # The upload is accepted, and small enough for the windows: from here on, the client need hear nothing.
            here.proxy.links[0].hold(here.proxy.links[0].down)

        path = source(tmp_path, DATA[:300_000])
        uploading = asyncio.create_task(here.clients.files.upload(path, file_id="mine", progress=hold))
        info = None
        while info is None:
            with suppress(ServiceError):
                info = await others.files.info("mine")
        here.cut()
        assert await uploading == info


async def test_an_upload_of_a_program_that_ended_is_taken_up_again(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        path = source(tmp_path)
        uploading = await broken_off(here, path, 1 << 20, file_id="mine")
        await until(lambda: arrived(tmp_path) == 3 * (256 << 10))
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)
        here.cut()
        await noted(here)
        steps: list[tuple[int, int]] = []
        info = await here.clients.files.upload(path, file_id="mine", progress=lambda *step: steps.append(step))
        assert info.checksum == sha256(DATA)
        assert steps[0][0] > 700 << 10
        # A third time, nothing is sent.
        steps.clear()
        assert await here.clients.files.upload(path, file_id="mine", progress=lambda *step: steps.append(step)) == info
        assert steps == [(len(DATA), len(DATA))]


async def test_an_id_that_another_content_has(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.clients.files.upload(source(tmp_path), file_id="mine")
        with fails("ALREADY_EXISTS") as raised:
            await here.clients.files.upload(source(tmp_path, b"other"), file_id="mine")
        assert str(raised.value) == 'there is already a file "mine", with other contents'


async def test_what_is_left_of_another_file_is_no_beginning(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        uploading = await broken_off(here, source(tmp_path), 1 << 20, file_id="mine")
        await until(lambda: arrived(tmp_path) == 3 * (256 << 10))
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)
        here.cut()
        await noted(here)
        # A shorter one begins anew by itself. One as long as the other is refused, and what was left is thrown away.
        other = source(tmp_path, DATA[::-1])
        with fails("DATA_LOSS"):
            await here.clients.files.upload(other, file_id="mine")
        assert (await here.clients.files.upload(other, file_id="mine")).checksum == sha256(DATA[::-1])


async def test_a_refused_upload_is_not_repeated(tmp_path: Path) -> None:
    async with world(tmp_path, files=Limits(file_size=1000)) as here:
        with fails("RESOURCE_EXHAUSTED") as raised:
            await here.clients.files.upload(source(tmp_path))
        assert raised.value.reason == "FILE_TOO_LARGE"
        assert len(here.proxy.links) == 1
        with fails("INVALID_ARGUMENT"):
            await here.clients.files.upload(source(tmp_path), filename="a/b")


async def test_a_server_that_takes_nothing_more(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.limit_next_up(1 << 20)
        with fails("DEADLINE_EXCEEDED") as raised:
            await here.clients.files.upload(source(tmp_path), timeout=0.5)
        assert str(raised.value) == "the upload did not move on for 0.5 s"


@pytest.mark.usefixtures("quick")
async def test_patience_comes_to_its_end(tmp_path: Path) -> None:
    async with world(tmp_path, patience=0.3) as here:
        uploading = await broken_off(here, source(tmp_path), 1 << 20)
        here.proxy.refuse()
        here.cut()
        with fails("UNAVAILABLE"):
            await uploading


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        with pytest.raises(FileNotFoundError):
            await here.clients.files.upload(tmp_path / "nothing")


def test_size_and_checksum() -> None:
    assert size_and_checksum(io.BytesIO(DATA)) == (len(DATA), sha256(DATA))
