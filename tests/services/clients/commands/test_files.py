"""`pygrpc files`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pygrpc.services.clients.commands.files import in_words
from pygrpc.services.clients.downloads import part_of
from pygrpc.services.protos.file.v1 import file_pb2
from tests.services.clients.commands.support import Run, at_home, ids, run, terminal
from tests.services.clients.support import World, until, world
from tests.services.clients.test_uploads import DATA, arrived, source
from tests.services.files.support import sha256

__all__ = ["run"]


def notes(folder: Path) -> list[Path]:
    return list((folder / "state").rglob("*/uploads/*"))


def test_there_and_back(run: Run, tmp_path: Path) -> None:
    sent = run("files", "upload", source(tmp_path), source(tmp_path, b"hello", "note.txt"))
    assert (sent.status, sent.errors) == (0, "")
    data, note = ids(sent.lines)
    assert [line.split("  ")[-1] for line in run("files", "list").lines] == ["data.bin", "note.txt"]
    assert f"sha256:{sha256(b'hello')}" in run("files", "info", note).output
    assert json.loads(run("files", "info", note, "--json").output)["content_type"] == "text/plain"
    target = tmp_path / "back"
    target.mkdir()
    fetched = run("files", "download", data, "--output", target)
    assert (fetched.status, fetched.output, fetched.errors) == (0, f"{target}/data.bin\n", "")
    assert (target / "data.bin").read_bytes() == DATA
    there = run("files", "download", data, "--output", target)
    assert (there.status, "is there already" in there.errors) == (1, True)
    (target / "data.bin").write_text("changed")
    assert run("files", "download", data, "--output", target, "--force", "--json").status == 0
    assert (target / "data.bin").read_bytes() == DATA
    assert run("files", "delete", data).status == 0
    assert ids(run("files", "list").lines) == [note]
    assert not notes(tmp_path)


def test_a_file_gets_its_own_name_where_one_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("files", "upload", source(tmp_path), "--id", "mine", "--name", "other.bin")
    monkeypatch.chdir(tmp_path)
    assert run("files", "download", "mine").output == "other.bin\n"
    assert (tmp_path / "other.bin").read_bytes() == DATA


def test_files_of_users(run: Run, tmp_path: Path) -> None:
    run("files", "upload", source(tmp_path), "--user", "ann", "--id", "mine", "--type", "image/png")
    run("files", "upload", source(tmp_path), "--user", "ann", "--id", "ours", "--public")
    assert ids(run("files", "list", "--user", "ann").lines) == ["mine", "ours"]
    assert ids(run("files", "list", "--owner", "ann").lines) == ["ours"]
    assert run("files", "list").output == ""
    assert "image/png  of ann, private" in run("files", "info", "mine", "--metadata", "user-id=ann").output
    assert "belongs to somebody else" in run("files", "delete", "ours", "--user", "bob").errors


def test_what_can_not_be_sent(run: Run, tmp_path: Path) -> None:
    assert (
        run("files", "upload", tmp_path / "no").errors
        == f"pygrpc files upload: {tmp_path}/no: No such file or directory\n"
    )
    assert run("files", "upload", tmp_path).errors == f"pygrpc files upload: {tmp_path}: Is a directory\n"
    both = run("files", "upload", source(tmp_path), source(tmp_path), "--id", "mine")
    assert both.errors == "pygrpc files upload: an id or a name can be given to one file only\n"
    run("files", "upload", source(tmp_path), "--id", "mine")
    failed = run("files", "upload", source(tmp_path, b"other"), "--id", "mine")
    assert failed.errors == 'pygrpc files upload: there is already a file "mine", with other contents\n'
    assert not notes(tmp_path)


def test_a_file_of_the_server_with_an_evil_name(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def info(self: object, file_id: str, **how: object) -> file_pb2.FileInfo:
        return file_pb2.FileInfo(file_id=file_id, filename="../evil")

    monkeypatch.setattr("pygrpc.services.clients.files.FileClient.info", info)
    failed = run("files", "download", "mine")
    assert failed.status == 1
    assert "'../evil', which is no plain name" in failed.errors


async def stopped(here: World, condition: Callable[[], bool], *arguments: object) -> str:
    """Runs a transfer on a terminal until something is so, then presses Ctrl-C; returns what was to be seen."""
    async with terminal("files", *arguments) as shown:
        await until(condition)
        await shown.sees(" % ")
        shown.types("\x03")
        assert await shown.ends() == 130
        await shown.sees("the same command goes on from there")
    assert "Traceback" not in shown.text
    # The proxy still holds what the server has not got.
    here.cut()
    return shown.text


async def test_an_upload_that_is_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        path = source(tmp_path)
        here.limit_next_up(1 << 20)
        await stopped(here, lambda: arrived(tmp_path) == 3 * (256 << 10), "upload", path)
        [note] = notes(tmp_path)
        file_id = note.read_text()
        # The server makes durable what has come when it has noticed.
        while not (await here.clients.files.unfinished(file_id)).received_size:
            pass
        async with terminal("files", "upload", path) as shown:
            await shown.sees(f"{file_id}  ", "100 % ")
            assert await shown.ends() == 0
        assert here.proxy.links[-1].up.forwarded < len(DATA) - (700 << 10)
        assert (await here.clients.files.info(file_id)).checksum == sha256(DATA)
        assert not notes(tmp_path)


async def test_an_upload_that_is_stopped_begins_anew_if_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        path = source(tmp_path)
        here.limit_next_up(1 << 20)
        await stopped(here, lambda: arrived(tmp_path) > 0, "upload", path)
        async with terminal("files", "upload", path, "--no-resume") as shown:
            assert await shown.ends() == 0
        assert here.proxy.links[-1].up.forwarded > len(DATA)


async def test_a_download_that_is_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        async with here.more() as others:
            await others.files.upload(source(tmp_path), file_id="mine")
        target = tmp_path / "fetched"
        part = part_of(target, sha256(DATA))
        here.limit_next(1 << 20)
        await stopped(
            here,
            lambda: part.exists() and part.stat().st_size == 3 * (256 << 10),
            "download",
            "mine",
            "--output",
            target,
        )
        assert not target.exists()
        async with terminal("files", "download", "mine", "--output", target) as shown:
            assert await shown.ends() == 0
            await shown.sees("fetched 100 % ")
        assert target.read_bytes() == DATA
        assert here.proxy.links[-1].down.forwarded < len(DATA) - (700 << 10)
        assert not part.exists()


async def test_a_transfer_survives_the_restart_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        path = source(tmp_path)
        here.limit_next_up(1 << 20)
        async with terminal("files", "upload", path, "--id", "mine") as shown:
            await until(lambda: arrived(tmp_path) > 0)
            await here.serving.restart()
            assert await shown.ends() == 0
        assert (await here.clients.files.info("mine")).checksum == sha256(DATA)


async def test_a_terminal_shows_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        async with terminal("files", "upload", source(tmp_path)) as shown:
            assert await shown.ends() == 0
            await shown.sees("data.bin 100 % [####", "2.0 MiB of 2.0 MiB, ", "/s\x1b[K\r\n")


def test_a_file_in_words() -> None:
    file = file_pb2.FileInfo(file_id="mine", filename="a.txt", size=2048)
    assert in_words(file) == "mine    2.0 KiB  1970-01-01 00:00:00Z  a.txt"
