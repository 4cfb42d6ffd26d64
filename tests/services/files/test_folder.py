"""Bytes in a folder, and page tokens."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.services.errors import StoreError
from pygrpc.services.files.folder import LocalFolder
from pygrpc.services.files.paging import Position, decode_token, encode_token
from pygrpc.services.files.storage import StorageFull
from tests.services.files.support import sha256


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[LocalFolder]:
    folder = await LocalFolder.open(path)
    try:
        yield folder
    finally:
        await folder.close()


async def test_a_blob_that_is_removed_can_be_read_to_its_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as folder:
        (tmp_path / "blobs" / "abc").write_bytes(b"hello world")
        blob = await folder.open_blob("abc")
        await folder.remove_blob("abc")
        assert (await blob.read(6, 100), await blob.read(0, 5), await blob.read(11, 1)) == (b"world", b"hello", b"")
        blob.close()


async def test_a_part_is_a_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as folder:
        part = await folder.open_part("abc", 0)
        await part.write(b"hello world")
        await part.close()
        part = await folder.open_part("abc", 6)
        await part.close()
        assert (tmp_path / "parts" / "abc").read_bytes() == b"hello "


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    async with opened(tmp_path / "files") as folder:
        os.symlink(tmp_path / "secret", tmp_path / "files" / "blobs" / "abc")
        os.symlink(tmp_path / "secret", tmp_path / "files" / "parts" / "abc")
        with pytest.raises(StoreError):
            await folder.open_blob("abc")
        with pytest.raises(StoreError):
            await folder.open_part("abc", 0)
    assert (tmp_path / "secret").read_bytes() == b"secret"


@pytest.mark.parametrize("place", ["missing/files", "text"])
async def test_a_folder_that_cannot_be_used(tmp_path: Path, place: str) -> None:
    (tmp_path / "text").write_text("no folder")
    with pytest.raises(StoreError, match=f'the file folder "{tmp_path / place}" cannot be used: '):
        await LocalFolder.open(tmp_path / place)


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, StorageFull), (errno.EIO, StoreError)])
async def test_a_write_that_fails_halfway_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StoreError]
) -> None:
    real = os.pwrite

    def failing(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= 3:
            raise OSError(number, os.strerror(number))
        return real(descriptor, data[:3], offset)

    async with opened(tmp_path) as folder:
        part = await folder.open_part("abc", 0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", failing)
            with pytest.raises(StoreError) as raised:
                await part.write(b"broken")
            assert type(raised.value) is kind
        assert part.size == 0
        await part.write(b"good")
        assert part.checksum() == sha256(b"good")
        await part.close()
        resumed = await folder.open_part("abc", 4)
        await resumed.close()
    assert (tmp_path / "parts" / "abc").read_bytes() == b"good"


@given(st.integers(0, 2**62), st.text("aZ09_-.", min_size=1, max_size=64), st.text())
def test_a_token_is_a_position(uploaded_at: int, file_id: str, owner: str) -> None:
    token = encode_token(Position(uploaded_at, file_id), owner)
    assert decode_token(token, owner) == (uploaded_at, file_id)
    with pytest.raises(ValueError, match="not a page token of this list"):
        decode_token(token, owner + "x")


@given(st.text())
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(ValueError, match="not a page token of this list"):
        decode_token(token, "ann")
