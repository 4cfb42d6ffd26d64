"""What the file service needs of a place for bytes, and the errors that one may report.

The errors:

    StoreError      the storage cannot do its work
      StorageFull   it has no more room
    PartBusy        another call, maybe of another process, is writing the part
    PartMissing     the part does not exist, or is shorter than it should be
    BlobMissing     there is no blob with that name
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from pygrpc.services.errors import StoreError


class StorageFull(StoreError):
    """The storage has no more room."""


class PartBusy(Exception):
    """The part is being written by somebody else."""


class PartMissing(Exception):
    """The part does not exist, or is shorter than it should be."""


class BlobMissing(Exception):
    """There is no blob with this name."""


class Part(Protocol):
    """A part that is being written, by nobody else. Operations follow each other; a cancelled one may still be done."""

    @property
    def size(self) -> int:
        """How many bytes are written."""

    async def write(self, data: bytes) -> None:
        """Appends bytes."""

    async def sync(self) -> None:
        """Returns when all that was written is durable."""

    def checksum(self) -> str:
        """Returns the SHA-256 of all bytes from the first, in lower case hexadecimal."""

    async def prepare(self) -> None:
        """Does all that takes long before the part can be published. Nothing is written afterwards."""

    async def publish(self) -> None:
        """Turns the part, which is prepared, into the blob of the same name: at once and durably."""

    async def discard(self) -> None:
        """Removes the part, which is closed afterwards and not used in any other way."""

    async def close(self) -> None:
        """Lets go of the part, which stays in the storage unless it was removed or published."""


class Blob(Protocol):
    """A blob that is being read."""

    async def read(self, offset: int, length: int) -> bytes:
        """Returns the bytes from `offset` on: `length` of them, or fewer at the end.

        Raises:
            BlobMissing: It was removed meanwhile. Some storages let it be read to the end nevertheless.
        """

    def close(self) -> None:
        """Lets go of the blob."""


class Storage(Protocol):
    """A place for bytes. The names are hexadecimal and chosen by the service.

    Every method may raise StoreError.
    """

    async def claim(self, catalog: str) -> None:
        """Makes sure that the storage belongs to a catalog, or to none before.

        Otherwise a catalog that knows nothing of the blobs would have all of them removed.

        Raises:
            StoreError: It belongs to another one.
        """

    async def open_part(self, name: str, size: int) -> Part:
        """Goes on with a part after its first `size` bytes; what is behind them is dropped. With 0 it may be new.

        Raises:
            PartBusy: It is open already.
            PartMissing: It has no `size` bytes.
        """

    async def discard_part(self, name: str) -> None:
        """Removes a part if there is one.

        Raises:
            PartBusy: It is open.
        """

    async def open_blob(self, name: str) -> Blob:
        """Begins to read a blob.

        Raises:
            BlobMissing: There is none with this name.
        """

    async def remove_blob(self, name: str) -> None:
        """Removes a blob if there is one."""

    def part_names(self) -> Iterator[str]:
        """Names all parts. Blocks; for a thread."""

    def blob_names(self) -> Iterator[str]:
        """Names all blobs. Blocks; for a thread."""

    async def check(self) -> None:
        """Returns if the storage works at the moment: its blobs can be read, and parts be made."""

    async def close(self) -> None:
        """Waits for what was begun, and lets go of the storage."""
