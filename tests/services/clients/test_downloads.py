"""Downloads of the file client: whole, broken off, taken up by another program, and what is not what it should be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pygrpc.services.clients.downloads import Part, part_of, safe_name
from tests.services.clients.support import World, fails, quick, until, world
from tests.services.clients.test_uploads import DATA, source
from tests.services.files.support import sha256

__all__ = ["quick"]


async def stored(here: World, folder: Path, data: bytes = DATA) -> str:
    async with here.more() as others:
        return (await others.files.upload(source(folder, data), file_id="mine")).file_id


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part"))


@pytest.mark.parametrize("size", [0, 1, 256 << 10, (256 << 10) + 1, len(DATA)])
async def test_a_file_arrives_whole(tmp_path: Path, size: int) -> None:
    async with world(tmp_path) as here:
        file_id = await stored(here, tmp_path, DATA[:size])
        target = tmp_path / "fetched"
        target.write_text("what was there before")
        steps: list[tuple[int, int]] = []
        info = await here.clients.files.download(file_id, target, progress=lambda *step: steps.append(step))
        assert target.read_bytes() == DATA[:size]
        assert (info.size, info.checksum) == (size, sha256(DATA[:size]))
        assert steps[0] == (0, size)
        assert steps[-1] == (size, size)
        assert not parts(tmp_path)


async def test_a_folder_takes_a_file_under_its_name(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        file_id = await stored(here, tmp_path)
        folder = tmp_path / "folder"
        folder.mkdir()
        await here.clients.files.download(file_id, folder)
        assert (folder / "data.bin").read_bytes() == DATA


@pytest.mark.usefixtures("quick")
async def test_a_download_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        file_id = await stored(here, tmp_path)
        target = tmp_path / "fetched"
        here.limit_next(1 << 20)
        downloading = asyncio.create_task(here.clients.files.download(file_id, target))
        await until(lambda: here.proxy.links != [] and here.proxy.links[0].down.forwarded == 1 << 20)
        await until(lambda: [each.stat().st_size for each in parts(tmp_path)] == [3 * (256 << 10)])
        assert not target.exists()
        here.cut()
        await downloading
        assert target.read_bytes() == DATA
        assert here.proxy.links[1].down.forwarded < len(DATA) - (700 << 10)


async def test_a_download_of_a_program_that_ended_is_taken_up_again(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        file_id = await stored(here, tmp_path)
        target = tmp_path / "fetched"
        part = part_of(target, sha256(DATA))
        part.write_bytes(DATA[:1_000_000])
        steps: list[tuple[int, int]] = []
        await here.clients.files.download(file_id, target, progress=lambda *step: steps.append(step))
        assert target.read_bytes() == DATA
        assert steps[0] == (1_000_000, len(DATA))
        # Unless it is not wanted.
        part.write_bytes(DATA[:1_000_000])
        steps.clear()
        await here.clients.files.download(file_id, target, resume=False, progress=lambda *step: steps.append(step))
        assert target.read_bytes() == DATA
        assert steps[0] == (0, len(DATA))
        assert not parts(tmp_path)


@pytest.mark.parametrize("left", [b"something else", DATA + b"!", DATA[::-1]], ids=["wrong", "too long", "as long"])
async def test_what_is_left_of_another_file_is_thrown_away(tmp_path: Path, left: bytes) -> None:
    async with world(tmp_path) as here:
        file_id = await stored(here, tmp_path)
        target = tmp_path / "fetched"
        part_of(target, sha256(DATA)).write_bytes(left)
        await here.clients.files.download(file_id, target)
        assert target.read_bytes() == DATA
        assert not parts(tmp_path)


async def test_a_damaged_file_does_not_get_its_name(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        file_id = await stored(here, tmp_path)
        [blob] = [
            each for each in (tmp_path / "files").rglob("*") if each.is_file() and each.stat().st_size == len(DATA)
        ]
        blob.chmod(0o600)
        blob.write_bytes(DATA[::-1])
        target = tmp_path / "fetched"
        with fails("DATA_LOSS"):
            await here.clients.files.download(file_id, target)
        # The server notices by itself only where it sends the whole file.
        part_of(target, sha256(DATA)).write_bytes(DATA[:1_000_000])
        with fails("DATA_LOSS"):
            await here.clients.files.download(file_id, target)
        assert not target.exists()


async def test_a_server_that_sends_nothing_more(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        file_id = await stored(here, tmp_path)
        here.limit_next(1 << 20)
        with fails("DEADLINE_EXCEEDED") as raised:
            await here.clients.files.download(file_id, tmp_path / "fetched", timeout=0.5)
        assert str(raised.value) == "the download did not move on for 0.5 s"
        # What has come is kept.
        assert [each.stat().st_size for each in parts(tmp_path)] == [3 * (256 << 10)]


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        with fails("NOT_FOUND"):
            await here.clients.files.download("nothing", tmp_path / "fetched")
        assert not parts(tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "..\\a", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(OSError, match="no plain name"):
        safe_name(name)


def test_a_plain_name_is_taken() -> None:
    assert safe_name("a b.txt") == "a b.txt"


def test_a_part_is_never_that_of_another_content() -> None:
    target = Path("folder") / ("x" * 250)
    assert part_of(target, "a" * 64) != part_of(target, "b" * 64)
    assert part_of(target, "a" * 64).parent == target.parent
    assert len(part_of(target, "a" * 64).name) < 255


def test_what_is_written_to_a_part_is_in_its_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "part"
    part = Part(path, keep=True)
    part.write(b"data")
    assert path.read_bytes() == b"data"
    assert (part.size, part.checksum) == (4, sha256(b"data"))
    part.clear()
    assert (part.size, part.checksum, path.read_bytes()) == (0, sha256(b""), b"")
    part.write(b"more")
    part.close()
    again = Part(path, keep=True)
    assert (again.size, again.checksum) == (4, sha256(b"more"))
    again.publish(tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == b"more"
    assert not path.exists()
