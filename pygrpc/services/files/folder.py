"""Bytes in a folder of the local disk.

`parts/` has what is on its way and `blobs/` what is whole. A part that is open is locked with flock(2), which ends with
the process: so several processes may use one folder, and what a killed one has left is known to be nobody's.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from pygrpc.services.errors import StoreError
from pygrpc.services.files.storage import BlobMissing, PartBusy, PartMissing, StorageFull

_P = ParamSpec("_P")
_T = TypeVar("_T")

_THREADS = 4
_PIECE = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LocalFolder:
    """A Storage in one folder. File I/O and hashing are done in threads. Use `open` to make one."""

    def __init__(self, path: Path) -> None:
        """For `open`, which also makes the folder."""
        self._parts, self._blobs, self._owner = path / "parts", path / "blobs", path / "catalog.id"
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="files")

    @classmethod
    async def open(cls, path: str | Path) -> LocalFolder:
        """Uses a folder, and makes it if there is none; its parent must exist.

        Raises:
            StoreError: It cannot be used; the text says why.
        """
        folder = cls(Path(path))
        try:
            await asyncio.to_thread(folder._make)
        except OSError as error:
            await folder.close()
            raise StoreError(f'the file folder "{path}" cannot be used: {error.strerror}') from error
        return folder

    async def claim(self, catalog: str) -> None:
        """See Storage."""
        await self._run(self._claim, catalog)

    async def open_part(self, name: str, size: int) -> FolderPart:
        """See Storage."""
        return await self._run(self._open_part, name, size)

    async def discard_part(self, name: str) -> None:
        """See Storage."""
        await self._run(self._discard_part, name)

    async def open_blob(self, name: str) -> FolderBlob:
        """See Storage."""
        return await self._run(self._open_blob, name)

    async def remove_blob(self, name: str) -> None:
        """See Storage."""
        await self._run((self._blobs / name).unlink, True)

    def part_names(self) -> Iterator[str]:
        """See Storage."""
        return _names(self._parts)

    def blob_names(self) -> Iterator[str]:
        """See Storage."""
        return _names(self._blobs)

    async def check(self) -> None:
        """See Storage."""
        # In a thread of its own, as those of the executor may all be busy with uploads.
        await _in_thread(None, self._check)

    async def close(self) -> None:
        """See Storage."""
        await asyncio.to_thread(self._executor.shutdown)

    async def _run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await _in_thread(self._executor, function, *args, **kwargs)

    def _make(self) -> None:
        for folder in (self._parts.parent, self._parts, self._blobs):
            folder.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(folder.parent)
        # Whatever is wrong is told at the start, and not by the first upload.
        self._check()

    def _check(self) -> None:
        for folder in (self._parts.parent, self._parts, self._blobs):
            os.scandir(folder).close()
            if not os.access(folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def _claim(self, catalog: str) -> None:
        with tempfile.NamedTemporaryFile(dir=self._owner.parent) as file:
            file.write(catalog.encode())
            file.flush()
            os.fsync(file.fileno())
            # Two servers may begin together: the first one's text is there at once, and whole.
            with suppress(FileExistsError):
                os.link(file.name, self._owner)
        _sync_folder(self._owner.parent)
        if self._owner.read_bytes() != catalog.encode():
            raise StoreError("it belongs to another catalog of files, in another database")

    def _open_part(self, name: str, size: int) -> FolderPart:
        path = self._parts / name
        descriptor = _lock(path, create=size == 0)
        if descriptor is None:
            raise PartMissing(name)
        try:
            return FolderPart(descriptor, path, self._blobs / name, size, self._executor)
        except BaseException:
            os.close(descriptor)
            raise

    def _discard_part(self, name: str) -> None:
        path = self._parts / name
        descriptor = _lock(path, create=False)
        if descriptor is not None:
            try:
                path.unlink()
            finally:
                os.close(descriptor)

    def _open_blob(self, name: str) -> FolderBlob:
        try:
            descriptor = os.open(self._blobs / name, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            raise BlobMissing(name) from None
        return FolderBlob(descriptor, self._executor)


class _Descriptor:
    """An open file whose operations run in threads, one at a time.

    A task that is cancelled does not wait for its operation, which goes on: hence the lock, without which the file
    could be closed under it.
    """

    def __init__(self, descriptor: int, executor: ThreadPoolExecutor) -> None:
        self._descriptor = descriptor
        self._executor = executor
        self._lock = threading.Lock()

    async def _run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        def locked() -> _T:
            with self._lock:
                return function(*args, **kwargs)

        return await _in_thread(self._executor, locked)

    def _close(self) -> None:
        os.close(self._descriptor)


class FolderPart(_Descriptor):
    """A Part in a folder."""

    def __init__(self, descriptor: int, path: Path, blob: Path, size: int, executor: ThreadPoolExecutor) -> None:
        """Reads what is there, for the checksum. Blocks; for a thread.

        Args:
            descriptor: Of the open and locked file, which belongs to the part from now on.
            path: The name of the file.
            blob: The name that it gets when it is published.
            size: So many bytes of it are good.
            executor: Runs the operations.

        Raises:
            PartMissing: The file has fewer bytes.
        """
        super().__init__(descriptor, executor)
        self._path, self._blob = path, blob
        self._digest = hashlib.sha256()
        self.size = 0
        while self.size < size:
            piece = os.read(descriptor, min(_PIECE, size - self.size))
            if not piece:
                raise PartMissing(path.name)
            self._digest.update(piece)
            self.size += len(piece)
        os.ftruncate(descriptor, size)

    async def write(self, data: bytes) -> None:
        """See Part."""
        await self._run(self._write, data)

    async def sync(self) -> None:
        """See Part."""
        await self._run(os.fsync, self._descriptor)

    def checksum(self) -> str:
        """See Part."""
        return self._digest.hexdigest()

    async def prepare(self) -> None:
        """See Part."""
        await self.sync()

    async def publish(self) -> None:
        """See Part."""
        await self._run(self._publish)

    async def discard(self) -> None:
        """See Part."""
        await self._run(self._path.unlink, True)

    async def close(self) -> None:
        """See Part."""
        await self._run(self._close)

    def _write(self, data: bytes) -> None:
        # At a position of its own: after a write that failed halfway, the next one begins where the good bytes end.
        view = memoryview(data)
        done = 0
        while done < len(view):
            done += os.pwrite(self._descriptor, view[done:], self.size + done)
        self._digest.update(data)
        self.size += len(data)

    def _publish(self) -> None:
        os.rename(self._path, self._blob)
        _sync_folder(self._blob.parent)
        _sync_folder(self._path.parent)


class FolderBlob(_Descriptor):
    """A Blob in a folder."""

    async def read(self, offset: int, length: int) -> bytes:
        """See Blob."""
        return await self._run(os.pread, self._descriptor, length, offset)

    def close(self) -> None:
        """See Blob."""

        def locked() -> None:
            with self._lock:
                self._close()

        self._executor.submit(locked)


async def _in_thread(
    executor: ThreadPoolExecutor | None, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    def translated() -> _T:
        with _storage_errors():
            return function(*args, **kwargs)

    return await asyncio.get_running_loop().run_in_executor(executor, translated)


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in _FULL else StoreError
        raise kind(error.strerror or str(error)) from error


def _names(folder: Path) -> Iterator[str]:
    with _storage_errors(), os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


if sys.platform == "win32":  # pragma: no cover
    _FLAGS = os.O_BINARY
    # An open file can't be renamed there, nor a folder synced: told when the folder is opened, which syncs it.
    _UNSUPPORTED = OSError(errno.ENOSYS, "it needs a POSIX system")

    def _try_lock(descriptor: int) -> None:
        raise _UNSUPPORTED

    def _sync_folder(folder: Path) -> None:
        raise _UNSUPPORTED
else:
    import fcntl

    _FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _sync_folder(folder: Path) -> None:
        """Makes the names in a folder durable."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _lock(path: Path, *, create: bool) -> int | None:
    """Opens and locks a file.

    Returns:
        The descriptor; None if there is no such file and `create` does not ask for one.

    Raises:
        PartBusy: It is locked.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0) | _FLAGS, 0o600)
        except FileNotFoundError:
            return None
        try:
            _try_lock(descriptor)
            # Whoever had the lock before may have removed or renamed the file between the two calls above.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise PartBusy(path.name) from None
        except FileNotFoundError:
            pass
        os.close(descriptor)
