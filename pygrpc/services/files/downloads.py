"""The bytes of a file, checked on their way."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator

from pygrpc.services.files import errors
from pygrpc.services.files.schema import StoredFile
from pygrpc.services.files.storage import BlobMissing, Storage


async def pieces(storage: Storage, file: StoredFile, offset: int, size: int) -> AsyncGenerator[bytes, None]:
    """Reads a file from an offset to its end, in pieces of `size` bytes; the last may be shorter.

    A file that is read from its first byte on is compared with its checksum before the last piece is handed out.

    Raises:
        RequestError: OFFSET_BEYOND_FILE, FILE_DAMAGED, FILE_LOST; FILE_NOT_FOUND if the file is removed meanwhile.
    """
    if offset > file.size:
        raise errors.offset_beyond_file(file.size)
    try:
        blob = await storage.open_blob(file.blob)
    except BlobMissing:
        raise errors.file_lost() from None
    digest = hashlib.sha256() if offset == 0 else None
    try:
        while offset < file.size:
            piece = await blob.read(offset, min(size, file.size - offset))
            if not piece:
                raise errors.file_damaged()
            offset += len(piece)
            if digest is not None:
                digest.update(piece)
                if offset == file.size and digest.hexdigest() != file.checksum:
                    raise errors.file_damaged()
            yield piece
    except BlobMissing:
        raise errors.file_missing(file.file_id) from None
    finally:
        blob.close()
