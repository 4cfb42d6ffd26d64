"""What is known about files and uploads, in a database."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pygrpc.services.database import DatabaseStore
from pygrpc.services.files import errors
from pygrpc.services.files.paging import Position
from pygrpc.services.files.schema import MIGRATIONS, StoredFile, Upload, files, identity, uploads
from pygrpc.services.files.validation import Limits
from pygrpc.services.protos.file.v1 import file_pb2


class DatabaseCatalog(DatabaseStore):
    """The catalog of files and uploads in one database. Use `open` to make one.

    A method that writes returns after the change is durable. Every method may raise StoreError.
    """

    title = "file catalog"
    migrations = MIGRATIONS
    version_table = "file_schema_version"

    _latest = 0

    async def identity(self) -> str:
        """Returns a name that no other catalog has, and that stays the same."""
        return await self._finish(self._identity())

    async def begin(self, file_id: str, owner: str, offset: int, resumable: bool, limits: Limits) -> Upload:
        """Returns the unfinished upload with an id, which may be new; with an empty id it is.

        Raises:
            RequestError: FILE_EXISTS, NOT_OWNER, TOO_MANY_UPLOADS; OFFSET_BEYOND_UPLOAD if fewer bytes have arrived.
        """
        return await self._finish(self._begin(file_id, owner, offset, resumable, limits))

    async def upload(self, file_id: str, owner: str) -> Upload:
        """Returns an unfinished upload of an owner.

        Raises:
            RequestError: UPLOAD_NOT_FOUND, NOT_OWNER.
        """
        return await self._finish(self._upload(file_id, owner))

    async def note(self, upload: Upload, received: int) -> None:
        """Stores how far an upload has come."""
        await self._finish(self._note(upload, received))

    async def forget(self, upload: Upload) -> None:
        """Removes an upload."""
        await self._finish(self._forget(upload))

    async def complete(self, upload: Upload, file: StoredFile, publish: Callable[[], Awaitable[None]]) -> StoredFile:
        """Replaces an upload by a file, and calls `publish` just before that is committed.

        Returns:
            The file with the time of its upload, which is later than that of each file before.
        """
        return await self._finish(self._complete(upload, file, publish))

    async def get(self, file_id: str) -> StoredFile:
        """Returns a file.

        Raises:
            RequestError: FILE_NOT_FOUND.
        """
        return await self._finish(self._get(file_id))

    async def delete(self, file_id: str, owner: str) -> StoredFile:
        """Removes a file of an owner, and returns what it was.

        Raises:
            RequestError: FILE_NOT_FOUND, NOT_OWNER.
        """
        return await self._finish(self._delete(file_id, owner))

    async def page(
        self, viewer: str, owner: str = "", *, limit: int, after: Position | None = None, offset: int = 0
    ) -> tuple[list[StoredFile], int]:
        """Returns files that somebody may see, in the order of their upload, and how many there are in all.

        Args:
            viewer: Who may see them.
            owner: Only files of this owner; of all if empty.
            limit: The most files to return.
            after: Where to begin; at the first if None.
            offset: So many files are left out first.
        """
        return await self._finish(self._page(viewer, owner, limit, after, offset))

    async def abandoned(self, before: int) -> list[Upload]:
        """Returns the uploads that have not changed since a time, in microseconds since 1970-01-01 UTC."""
        return await self._finish(self._uploads(uploads.c.changed_at < before))

    async def not_resumable(self) -> list[Upload]:
        """Returns the uploads that end with their call."""
        return await self._finish(self._uploads(uploads.c.resumable == 0))

    async def unknown_parts(self, names: Sequence[str]) -> list[str]:
        """Returns those of some names that no upload has."""
        return await self._finish(self._unknown_parts(names))

    async def remove_unknown_blobs(self, names: Sequence[str], remove: Callable[[str], Awaitable[None]]) -> None:
        """Calls `remove` for those of some names that no file has, while no upload can become a file."""
        await self._finish(self._remove_unknown_blobs(names, remove))

    def now(self) -> int:
        """Returns the time in microseconds since 1970-01-01 UTC."""
        return self._clock()

    async def _identity(self) -> str:
        async with self._write() as connection:
            name: str | None = (await connection.execute(select(identity.c.id))).scalar_one_or_none()
            if name is None:
                name = str(uuid.uuid4())
                await connection.execute(insert(identity).values(id=name))
            return name

    async def _begin(self, file_id: str, owner: str, offset: int, resumable: bool, limits: Limits) -> Upload:
        async with self._write() as connection:
            if file_id:
                if await _file(connection, file_id) is not None:
                    raise errors.file_exists(file_id)
                known = await _unfinished(connection, file_id)
                if known is not None:
                    if known.owner != owner:
                        raise errors.not_owner(file_id)
                    if offset > known.received:
                        raise errors.offset_beyond_upload(known.received)
                    return known
            if offset:
                raise errors.offset_beyond_upload(0)
            for limit, of_owner in ((limits.uploads, False), (limits.uploads_of_owner, True)):
                query = select(func.count()).select_from(uploads)
                query = query.where(uploads.c.owner == owner) if of_owner else query
                if (await connection.execute(query)).scalar_one() >= limit:
                    raise errors.too_many_uploads(limit)
            upload = Upload(file_id or str(uuid.uuid4()), owner, uuid.uuid4().hex, 0, resumable, self._clock())
            await connection.execute(insert(uploads).values(upload._asdict()))
            return upload

    async def _upload(self, file_id: str, owner: str) -> Upload:
        async with self._read() as connection:
            upload = await _unfinished(connection, file_id)
        if upload is None:
            raise errors.upload_missing(file_id)
        if upload.owner != owner:
            raise errors.not_owner(file_id)
        return upload

    async def _note(self, upload: Upload, received: int) -> None:
        async with self._write() as connection:
            changes = {"received": received, "changed_at": self._clock()}
            await connection.execute(update(uploads).where(uploads.c.part == upload.part).values(changes))

    async def _forget(self, upload: Upload) -> None:
        async with self._write() as connection:
            await connection.execute(delete(uploads).where(uploads.c.part == upload.part))

    async def _complete(self, upload: Upload, file: StoredFile, publish: Callable[[], Awaitable[None]]) -> StoredFile:
        async with self._write() as connection:
            removed = await connection.execute(delete(uploads).where(uploads.c.part == upload.part))
            if removed.rowcount != 1:
                raise errors.upload_missing(upload.file_id)
            self._latest = max(self._clock(), self._latest + 1)
            file = file._replace(uploaded_at=self._latest)
            await connection.execute(insert(files).values(file._asdict()))
            await publish()
        return file

    async def _get(self, file_id: str) -> StoredFile:
        async with self._read() as connection:
            file = await _file(connection, file_id)
        if file is None:
            raise errors.file_missing(file_id)
        return file

    async def _delete(self, file_id: str, owner: str) -> StoredFile:
        async with self._write() as connection:
            file = await _file(connection, file_id)
            if file is None:
                raise errors.file_missing(file_id)
            if file.owner != owner:
                raise errors.not_owner(file_id)
            await connection.execute(delete(files).where(files.c.file_id == file_id))
            return file

    async def _page(
        self, viewer: str, owner: str, limit: int, after: Position | None, offset: int
    ) -> tuple[list[StoredFile], int]:
        seen = or_(files.c.owner == viewer, files.c.visibility == file_pb2.VISIBILITY_PUBLIC)
        if owner:
            mine = files.c.owner == owner
            seen = mine if owner == viewer else and_(mine, files.c.visibility == file_pb2.VISIBILITY_PUBLIC)
        query = select(files).where(seen).order_by(files.c.uploaded_at, files.c.file_id).limit(limit).offset(offset)
        if after is not None:
            query = query.where(tuple_(files.c.uploaded_at, files.c.file_id) > tuple_(*after))
        async with self._read() as connection:
            total = (await connection.execute(select(func.count()).select_from(files).where(seen))).scalar_one()
            return [StoredFile(*row) for row in await connection.execute(query)], total

    async def _uploads(self, condition: ColumnElement[bool]) -> list[Upload]:
        async with self._read() as connection:
            return [Upload(*row) for row in await connection.execute(select(uploads).where(condition))]

    async def _unknown_parts(self, names: Sequence[str]) -> list[str]:
        async with self._read() as connection:
            found = await connection.execute(select(uploads.c.part).where(uploads.c.part.in_(names)))
            known = set(found.scalars())
        return [name for name in names if name not in known]

    async def _remove_unknown_blobs(self, names: Sequence[str], remove: Callable[[str], Awaitable[None]]) -> None:
        async with self._write() as connection:
            known = set((await connection.execute(select(files.c.blob).where(files.c.blob.in_(names)))).scalars())
            for name in names:
                if name not in known:
                    await remove(name)


async def _file(connection: AsyncConnection, file_id: str) -> StoredFile | None:
    row = (await connection.execute(select(files).where(files.c.file_id == file_id))).one_or_none()
    return None if row is None else StoredFile(*row)


async def _unfinished(connection: AsyncConnection, file_id: str) -> Upload | None:
    row = (await connection.execute(select(uploads).where(uploads.c.file_id == file_id))).one_or_none()
    return None if row is None else Upload(*row)
