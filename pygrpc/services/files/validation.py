"""Every rule about what a request may hold. Each check returns the list of what is wrong, empty for a good request."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from pygrpc.services.errors import Violation
from pygrpc.services.files import paging
from pygrpc.services.protos.file import file_pb2 as unversioned_pb2
from pygrpc.services.protos.file.v1 import file_pb2


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest values that are accepted.

    Attributes:
        file_size: In bytes.
        chunk_size: Bytes in one message, up or down.
        default_chunk_size: Bytes in one message of a download that asks for no size.
        name_size: Bytes of a file name in UTF-8. File systems have the same limit.
        owner_length: Characters of an owner.
        content_type_length: Characters of a media type.
        page_size: Files on a page.
        offset: Files that an unversioned list leaves out.
        uploads: Unfinished uploads, of all callers together.
        uploads_of_owner: Unfinished uploads of one caller.
        idle_seconds: How long an upload may go without a message.
        abandoned_seconds: How long an interrupted upload is kept.
        checkpoint_size: After so many bytes, what has arrived is made durable, so that a crash loses no more than that.
    """

    file_size: int = 16 << 30
    chunk_size: int = 1 << 20
    default_chunk_size: int = 64 << 10
    name_size: int = 255
    owner_length: int = 128
    content_type_length: int = 127
    page_size: int = 1000
    offset: int = 1_000_000
    uploads: int = 256
    uploads_of_owner: int = 16
    idle_seconds: float = 60.0
    abandoned_seconds: float = 24 * 3600.0
    checkpoint_size: int = 32 << 20


_FILE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_CHECKSUM = re.compile(r"[0-9a-fA-F]{64}")
# RFC 6838, section 4.2, and parameters of RFC 2045 without comments.
_CONTENT_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(; ?[\w!#$&^.+-]+=[\w!#$&^.+-]+)*", re.ASCII)
# Windows takes any one character before a colon for a drive.
_DRIVE = re.compile(r".:", re.DOTALL)
# Controls, separators of lines and paragraphs, invisible characters that reorder the text, halves of surrogate pairs.
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Zero width joiner and non-joiner, which the spelling of some scripts and emoji needs.
_JOINERS = "\u200c\u200d"


def clean_name(filename: str) -> str:
    """Returns the form in which the name of a file is stored: Unicode's normal form C."""
    return unicodedata.normalize("NFC", filename)


def check_name(filename: str, limits: Limits, field: str = "filename") -> Iterable[Violation]:
    """Checks that a name is a single name wherever it is written, so that it cannot lead out of a folder."""
    if not filename.strip():
        yield Violation(field, "must not be empty")
        return
    # A character may take three times the room in normal form C: bounded before it is normalized.
    if len(filename) > limits.name_size or len(clean_name(filename).encode(errors="replace")) > limits.name_size:
        yield Violation(field, f"must not be longer than {limits.name_size} bytes")
        return
    if any(unicodedata.category(char) in _UNSEEN and char not in _JOINERS for char in filename):
        yield Violation(field, "must not contain control or invisible characters")
        return
    # What looks like a separator or like dots becomes one where names are brought into compatibility form (NFKC).
    for form in {filename, unicodedata.normalize("NFKC", filename)}:
        if "/" in form or "\\" in form or _DRIVE.match(form):
            yield Violation(field, "must be a name and not a path")
            return
        if form.strip(" .") == "":
            yield Violation(field, "must not consist of dots")
            return
    if filename != filename.strip():
        yield Violation(field, "must not begin or end with white space")


def check_id(file_id: str, field: str = "file_id") -> Iterable[Violation]:
    """Checks the id of a file. Whether there is such a file is the catalog's to say."""
    if not _FILE_ID.fullmatch(file_id):
        yield Violation(field, "must be 1 to 64 of the characters A-Z a-z 0-9 _ - . and not begin with a dot")


def check_checksum(checksum: str, field: str) -> Iterable[Violation]:
    """Checks a checksum that may be missing."""
    if checksum and not _CHECKSUM.fullmatch(checksum):
        yield Violation(field, "must be a SHA-256 of 64 hexadecimal digits")


def check_header(header: file_pb2.UploadFileHeader, limits: Limits) -> Iterable[Violation]:
    """Checks the first message of an upload."""
    if header.file_id:
        yield from check_id(header.file_id, "header.file_id")
    yield from check_name(header.filename, limits, "header.filename")
    yield from check_checksum(header.checksum, "header.checksum")
    if len(header.content_type) > limits.content_type_length:
        yield Violation("header.content_type", f"must not be longer than {limits.content_type_length} characters")
    elif header.content_type and not _CONTENT_TYPE.fullmatch(header.content_type):
        yield Violation("header.content_type", "must be a media type such as text/plain")
    if header.HasField("size") and header.size < 0:
        yield Violation("header.size", "must not be negative")
    if header.offset < 0:
        yield Violation("header.offset", "must not be negative")
    elif header.HasField("size") and 0 <= header.size < header.offset:
        yield Violation("header.offset", "must not be larger than size")
    elif header.offset and not header.file_id:
        yield Violation("header.offset", "needs the file_id of the upload that it continues")
    if header.visibility not in file_pb2.Visibility.values():
        yield Violation("header.visibility", f"must be one of {', '.join(file_pb2.Visibility.keys()[1:])}")


def check_chunk(chunk: file_pb2.FileChunk, position: int, limits: Limits) -> Iterable[Violation]:
    """Checks a chunk of an upload that has come to `position`."""
    yield from _data("chunk.data", chunk.data, limits)
    if chunk.HasField("offset") and chunk.offset != position:
        yield Violation("chunk.offset", f"must be {position}, where the bytes before it ended")
    yield from check_checksum(chunk.checksum, "chunk.checksum")


def check_first_chunk(chunk: unversioned_pb2.FileChunk, limits: Limits) -> Iterable[Violation]:
    """Checks what the first chunk of an unversioned upload says about the file."""
    if chunk.file_id:
        yield from check_id(chunk.file_id)
    yield from check_name(chunk.filename, limits)
    if chunk.total_chunks < 1:
        yield Violation("total_chunks", "must be at least 1")


def check_numbered_chunk(
    chunk: unversioned_pb2.FileChunk, first: unversioned_pb2.FileChunk, number: int, limits: Limits
) -> Iterable[Violation]:
    """Checks a chunk of an unversioned upload, the `number`th."""
    yield from _data("data", chunk.data, limits)
    if chunk.chunk_number != number:
        yield Violation("chunk_number", f"must be {number}: chunks come in order, from 1")
    elif number > first.total_chunks:
        yield Violation("chunk_number", f"must not be larger than total_chunks, which is {first.total_chunks}")
    if chunk.file_id not in ("", first.file_id):
        yield Violation("file_id", "must be the same in all chunks")
    if chunk.filename not in ("", first.filename):
        yield Violation("filename", "must be the same in all chunks")
    yield from check_checksum(chunk.checksum, "checksum")


def check_download(request: file_pb2.DownloadFileRequest) -> Iterable[Violation]:
    """Checks a request for the bytes of a file."""
    yield from check_id(request.file_id)
    if request.offset < 0:
        yield Violation("offset", "must not be negative")
    if request.chunk_size < 0:
        yield Violation("chunk_size", "must not be negative")


def check_owner(owner: str, limits: Limits, field: str) -> Iterable[Violation]:
    """Checks who somebody says to be."""
    if len(owner) > limits.owner_length:
        yield Violation(field, f"must not be longer than {limits.owner_length} characters")
    elif any(unicodedata.category(char) in _UNSEEN for char in owner) or owner != owner.strip():
        yield Violation(field, "must not contain control characters, nor begin or end with white space")


def check_list(request: file_pb2.ListFilesRequest, limits: Limits) -> Iterable[Violation]:
    """Checks a request for a page of files, page token included."""
    yield from check_owner(request.uploaded_by, limits, "uploaded_by")
    if request.page_size < 0:
        yield Violation("page_size", "must not be negative")
    if request.page_token:
        try:
            paging.decode_token(request.page_token, request.uploaded_by)
        except ValueError as error:
            yield Violation("page_token", str(error))


def check_unversioned_list(request: unversioned_pb2.ListFilesRequest, limits: Limits) -> Iterable[Violation]:
    """Checks an unversioned request for files."""
    yield from check_owner(request.user_id, limits, "user_id")
    if request.limit < 0:
        yield Violation("limit", "must not be negative")
    if not 0 <= request.offset <= limits.offset:
        yield Violation("offset", f"must be from 0 to {limits.offset}")


def _data(field: str, data: bytes, limits: Limits) -> Iterable[Violation]:
    if len(data) > limits.chunk_size:
        yield Violation(field, f"must not have more than {limits.chunk_size} bytes")
