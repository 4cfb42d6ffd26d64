"""Both contracts of the file service in one place: bytes, catalog, and the removal of what nobody wants any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pygrpc import aio
from pygrpc.services.callers import Identify
from pygrpc.services.database import microseconds_now
from pygrpc.services.errors import StoreError
from pygrpc.services.files import callers
from pygrpc.services.files.catalog import DatabaseCatalog
from pygrpc.services.files.folder import LocalFolder
from pygrpc.services.files.s3.address import is_address
from pygrpc.services.files.service import FileService
from pygrpc.services.files.storage import Storage
from pygrpc.services.files.unversioned import UnversionedFileService
from pygrpc.services.files.uploads import Uploads
from pygrpc.services.files.validation import Limits
from pygrpc.services.protos.file import file_pb2_grpc as unversioned_pb2_grpc
from pygrpc.services.protos.file.v1 import file_pb2_grpc

CATALOG = "catalog.db"
_CLEAN_UP_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """The services and what they are made on."""

    service: FileService
    unversioned: UnversionedFileService
    uploads: Uploads
    catalog: DatabaseCatalog
    storage: Storage

    def add_to(self, server: aio.Server) -> None:
        """Registers both services."""
        file_pb2_grpc.add_FileServiceServicer_to_server(self.service, server)
        unversioned_pb2_grpc.add_FileServiceServicer_to_server(self.unversioned, server)


@asynccontextmanager
async def open_files(
    place: str | Path,
    *,
    database: str = "",
    limits: Limits | None = None,
    identify: Identify = callers.user_id_of,
    clock: Callable[[], int] = microseconds_now,
    wrap: Callable[[Storage], Storage] = lambda storage: storage,
) -> AsyncIterator[OpenFiles]:
    """Opens the file services, removes what a crash has left, and keeps removing uploads that are abandoned.

    Close it after the server has stopped: it waits for uploads that were broken off to be stored.

    Args:
        place: A folder, which is made if there is none; or the URL of a storage in S3, see s3.address.
        database: Where the catalog is, see DatabaseCatalog.open; a file in the folder if empty.
        limits: The largest requests that are accepted.
        identify: Knows who makes a call.
        clock: Gives the time in microseconds since 1970-01-01 UTC.
        wrap: Changes the storage.

    Raises:
        StoreError: The storage or the catalog cannot be used; the text says why.
    """
    limits = limits or Limits()
    async with AsyncExitStack() as stack:
        storage = wrap(await _open_storage(place))
        stack.push_async_callback(storage.close)
        if not database:
            if is_address(str(place)):
                raise StoreError("files in S3 need a database for their catalog, and none is given")
            database = str(Path(place) / CATALOG)
        catalog = await DatabaseCatalog.open(database, clock=clock)
        stack.push_async_callback(catalog.close)
        try:
            await storage.claim(await catalog.identity())
        except StoreError as error:
            raise StoreError(f'the file storage "{place}" cannot be used: {error}') from error
        uploads = Uploads(catalog, storage, limits)
        stack.push_async_callback(uploads.close)
        await uploads.sweep()
        cleaning = asyncio.create_task(uploads.clean_up(_CLEAN_UP_SECONDS))
        try:
            yield OpenFiles(
                FileService(catalog, storage, uploads, limits=limits, identify=identify),
                UnversionedFileService(catalog, storage, uploads, limits=limits, identify=identify),
                uploads,
                catalog,
                storage,
            )
        finally:
            cleaning.cancel()
            await asyncio.wait((cleaning,))


async def _open_storage(place: str | Path) -> Storage:
    if not is_address(str(place)):
        return await LocalFolder.open(place)
    # Here, so that nobody needs the library who does not use S3.
    from pygrpc.services.files.s3.storage import S3Storage

    return await S3Storage.open(str(place))
