"""`pygrpc files`: puts files on a server and fetches them."""

from __future__ import annotations

import argparse
import asyncio
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from pygrpc import StatusCode
from pygrpc.services.clients.commands.common import CommandError, Commands, complain, show
from pygrpc.services.clients.commands.notes import UploadNotes
from pygrpc.services.clients.commands.progress import ProgressBar, size_in_words
from pygrpc.services.clients.downloads import safe_name
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.together import Clients
from pygrpc.services.protos.file.v1 import file_pb2

_USER_KEY = "user-id"
#: The server has thrown away what had arrived, or there is nothing to go on with.
_FINAL = (StatusCode.DATA_LOSS, StatusCode.ALREADY_EXISTS, StatusCode.INVALID_ARGUMENT, StatusCode.PERMISSION_DENIED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `pygrpc files`; returns the exit status."""
    commands = Commands("files", "Puts files on a server, lists them, fetches them and removes them.")
    upload = commands.add("upload", "put files on the server, each checked by its SHA-256", _upload)
    upload.add_argument("paths", nargs="+", metavar="FILE")
    upload.add_argument("--id", default="", help="id of the file (default: made up)")
    upload.add_argument("--name", default="", help="its name on the server (default: its own)")
    upload.add_argument("--type", default="", metavar="MEDIA_TYPE", help="its media type (default: by its name)")
    upload.add_argument("--public", action="store_true", help="let everybody read it")
    _resume_option(upload)
    download = commands.add("download", "fetch a file, checked by its SHA-256", _download)
    download.add_argument("id")
    download.add_argument(
        "--output", default="", metavar="PATH", help="file or folder to put it (default: its own name)"
    )
    download.add_argument("--force", action="store_true", help="replace a file that is there")
    _resume_option(download)
    listing = commands.add("list", "list the files of a user", _list)
    listing.add_argument("--owner", default="", help="list the public files of this user (default: all of one's own)")
    info = commands.add("info", "show what is known about a file", _info)
    info.add_argument("id")
    delete = commands.add("delete", "remove a file for good", _delete)
    delete.add_argument("id")
    for action in (upload, download, listing, info, delete):
        action.add_argument(
            "--user",
            dest="metadata",
            type=lambda user: (_USER_KEY, user),
            action="append",
            metavar="ID",
            help=f'who this is, where the server knows nothing better: the same as --metadata "{_USER_KEY}=ID"',
        )
    return commands.run(arguments)


def _resume_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on with what an interrupted run has left, or begin anew",
    )


async def _upload(clients: Clients, given: argparse.Namespace) -> int:
    if len(given.paths) > 1 and (given.id or given.name):
        raise CommandError("an id or a name can be given to one file only")
    for path in map(Path, given.paths):
        await _upload_one(clients, given, path)
    return 0


async def _upload_one(clients: Clients, given: argparse.Namespace, path: Path) -> None:
    note = UploadNotes().of(given.server, given.metadata, path)
    file_id = given.id or (note.read() if given.resume else "") or f"up-{uuid.uuid4().hex}"
    bar = ProgressBar(path.name, sys.stderr)

    def update(done: int, total: int) -> None:
        # Before the server has taken the upload, there is nothing to go on with.
        if not bar.begun:
            note.write(file_id)
        bar.update(done, total)

    try:
        with bar:
            info = await clients.files.upload(
                path,
                file_id=file_id,
                filename=given.name,
                content_type=given.type,
                visibility=file_pb2.VISIBILITY_PUBLIC if given.public else file_pb2.VISIBILITY_PRIVATE,
                progress=update,
            )
    except ServiceError as error:
        if error.code in _FINAL:
            note.remove()
        raise
    except asyncio.CancelledError:
        complain(given, f"interrupted at {bar.percent} %; the same command goes on from there")
        raise
    note.remove()
    show(given, info, in_words)


async def _download(clients: Clients, given: argparse.Namespace) -> int:
    target = Path(given.output)
    if not given.output or target.is_dir():
        target = target / safe_name((await clients.files.info(given.id)).filename)
    if target.exists() and not given.force:
        raise CommandError(f"{target} is there already: give --force to replace it, or --output for another name")
    bar = ProgressBar(target.name, sys.stderr)
    try:
        with bar:
            info = await clients.files.download(given.id, target, resume=given.resume, progress=bar.update)
    except asyncio.CancelledError:
        complain(given, f"interrupted at {bar.percent} %; the same command goes on from there")
        raise
    if given.json:
        show(given, info, in_words)
    else:
        print(target)
    return 0


async def _list(clients: Clients, given: argparse.Namespace) -> int:
    async for file in clients.files.list(given.owner):
        show(given, file, in_words)
    return 0


async def _info(clients: Clients, given: argparse.Namespace) -> int:
    show(given, await clients.files.info(given.id), _all_in_words)
    return 0


async def _delete(clients: Clients, given: argparse.Namespace) -> int:
    await clients.files.delete(given.id)
    return 0


def in_words(file: file_pb2.FileInfo) -> str:
    """Describes a file on one line."""
    when = file.uploaded_at.ToDatetime().isoformat(" ", "seconds")
    return f"{file.file_id}  {size_in_words(file.size):>9}  {when}Z  {file.filename}"


def _all_in_words(file: file_pb2.FileInfo) -> str:
    visibility = "public" if file.visibility == file_pb2.VISIBILITY_PUBLIC else "private"
    return f"{in_words(file)}  {file.content_type}  of {file.uploaded_by}, {visibility}  sha256:{file.checksum}"
