"""The requests to an object store, through botocore.

botocore is not written for asyncio: each request runs in a thread. Credentials come from where all AWS tools look:
`AWS_ACCESS_KEY_ID` and its like in the environment, the shared files of profiles, or the role of the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, ParamSpec, TypeVar

import botocore.config
import botocore.session
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from pygrpc.services.errors import StoreError
from pygrpc.services.files.s3.address import Address
from pygrpc.services.files.storage import StorageFull

_P = ParamSpec("_P")
_T = TypeVar("_T")

_THREADS = 32
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_ATTEMPTS = 4
#: Of keys in one request to delete.
_BATCH = 1000

_MISSING = {"404", "NoSuchKey", "NoSuchUpload", "NotFound"}
_PAST_END = {"416", "InvalidRange"}
_CONFLICT = {"409", "412", "ConditionalRequestConflict", "PreconditionFailed"}
_FULL = {"507", "InsufficientCapacity", "QuotaExceeded", "XMinioStorageFull"}


class Missing(Exception):
    """There is no such object or upload."""


class PastEnd(Exception):
    """The object ends before that."""


class Conflict(Exception):
    """The object is not, or no more, as the request demands."""


class Found(NamedTuple):
    """An object in a list."""

    key: str
    size: int
    etag: str


class Read(NamedTuple):
    """A small object; `age` is in seconds, by the clock of the store."""

    data: bytes
    etag: str
    age: float


class Bucket:
    """One bucket. Keys are below the prefix of the address, which nobody else has to know.

    Each method may raise StoreError.
    """

    def __init__(self, address: Address) -> None:
        """Makes it without a request. Blocks; for a thread.

        Raises:
            StoreError: The options can't be used.
        """
        config = botocore.config.Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            max_pool_connections=_THREADS,
            # Many stores that speak S3 do not know the checksums that botocore adds otherwise.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # Such stores often have one name for all buckets.
            s3={"addressing_style": "path" if address.endpoint else "auto"},
        )
        with _translated():
            self._client: Any = botocore.session.get_session().create_client(
                "s3", region_name=address.region or None, endpoint_url=address.endpoint or None, config=config
            )
        self._name, self._prefix = address.bucket, address.prefix
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="s3")

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Runs a function in a thread."""

        def translated() -> _T:
            with _translated():
                return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._executor, translated)

    def submit(self, function: Callable[[], object]) -> None:
        """Has a function run in a thread whose result nobody waits for."""
        self._executor.submit(function)

    async def close(self) -> None:
        """Waits for what was begun."""
        await asyncio.to_thread(self._executor.shutdown)
        self._client.close()

    async def put(self, key: str, data: bytes) -> str:
        """Stores an object, at once and durably; returns its entity tag."""
        return await self._put(key, data)

    async def put_new(self, key: str, data: bytes) -> str:
        """Stores an object that is not there yet.

        Raises:
            Conflict: There is one.
        """
        return await self._put(key, data, IfNoneMatch="*")

    async def put_over(self, key: str, data: bytes, etag: str) -> str:
        """Replaces an object that is known.

        Raises:
            Conflict: It has another entity tag, or has gone.
        """
        try:
            return await self._put(key, data, IfMatch=etag)
        except Missing:
            raise Conflict(key) from None

    async def read(self, key: str) -> Read:
        """Returns a small object.

        Raises:
            Missing: There is none.
        """
        return await self.run(self._read, key)

    def stream(self, key: str, offset: int) -> Any:
        """Returns the bytes of an object from an offset on, with `read` and `close`. Blocks.

        Raises:
            Missing: There is no such object.
            PastEnd: It has no bytes there.
        """
        with _translated():
            found = self._client.get_object(Bucket=self._name, Key=self._prefix + key, Range=f"bytes={offset}-")
        return found["Body"]

    async def has(self, key: str) -> bool:
        """Tells whether there is an object."""
        try:
            await self._call(self._client.head_object, key)
        except Missing:
            return False
        return True

    async def delete(self, keys: Sequence[str]) -> None:
        """Removes objects, those that there are."""
        for start in range(0, len(keys), _BATCH):
            batch = [{"Key": self._prefix + key} for key in keys[start : start + _BATCH]]
            request = {"Objects": batch, "Quiet": True}
            answer = await self.run(self._client.delete_objects, Bucket=self._name, Delete=request)
            for error in answer.get("Errors", ()):
                raise StoreError(f"{error.get('Code')}: {error.get('Message')}")

    def keys(self, prefix: str) -> Iterator[Found]:
        """Names all objects below a prefix, in the order of their keys. Blocks; for a thread."""
        for page in self._pages("list_objects_v2", prefix):
            for each in page.get("Contents", ()):
                yield Found(each["Key"].removeprefix(self._prefix), each["Size"], each["ETag"])

    def folders(self, prefix: str) -> Iterator[str]:
        """Names what comes next below a prefix, up to a slash. Blocks; for a thread."""
        for page in self._pages("list_objects_v2", prefix, Delimiter="/"):
            for each in page.get("CommonPrefixes", ()):
                yield each["Prefix"].removeprefix(self._prefix + prefix).rstrip("/")

    async def check(self) -> None:
        """Returns if the bucket can be listed at the moment."""
        await self.run(self._client.list_objects_v2, Bucket=self._name, Prefix=self._prefix, MaxKeys=1)

    async def begin_upload(self, key: str) -> str:
        """Begins a multipart upload; returns its id."""
        upload: str = (await self._call(self._client.create_multipart_upload, key))["UploadId"]
        return upload

    async def upload_copy(self, key: str, upload: str, number: int, source: str, etag: str) -> str:
        """Has an object copied into a multipart upload; returns the entity tag of that part.

        Raises:
            Conflict: The object has another entity tag.
            Missing: There is no such object or upload.
        """
        answer = await self._call(
            self._client.upload_part_copy,
            key,
            UploadId=upload,
            PartNumber=number,
            CopySource={"Bucket": self._name, "Key": self._prefix + source},
            CopySourceIfMatch=etag,
        )
        copied: str = answer["CopyPartResult"]["ETag"]
        return copied

    async def upload_bytes(self, key: str, upload: str, number: int, data: bytes) -> str:
        """Sends a part of a multipart upload; returns its entity tag."""
        answer = await self._call(self._client.upload_part, key, UploadId=upload, PartNumber=number, Body=data)
        etag: str = answer["ETag"]
        return etag

    async def complete_upload(self, key: str, upload: str, etags: Sequence[str]) -> None:
        """Makes an object of a multipart upload, at once and durably.

        Raises:
            Missing: There is no such upload.
        """
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        await self._call(self._client.complete_multipart_upload, key, UploadId=upload, MultipartUpload={"Parts": parts})

    async def abort_uploads(self, key: str) -> None:
        """Gives up the multipart uploads of an object."""
        for upload in await self.run(lambda: list(self._uploads(key))):
            with suppress(Missing):
                await self._call(self._client.abort_multipart_upload, key, UploadId=upload)

    def _uploads(self, key: str) -> Iterator[str]:
        for page in self._pages("list_multipart_uploads", key):
            for each in page.get("Uploads", ()):
                if each["Key"] == self._prefix + key:
                    yield each["UploadId"]

    def _pages(self, operation: str, prefix: str, **more: Any) -> Iterator[dict[str, Any]]:
        with _translated():
            paginator = self._client.get_paginator(operation)
            yield from paginator.paginate(Bucket=self._name, Prefix=self._prefix + prefix, **more)

    async def _call(self, operation: Callable[..., dict[str, Any]], key: str, **more: Any) -> dict[str, Any]:
        return await self.run(operation, Bucket=self._name, Key=self._prefix + key, **more)

    async def _put(self, key: str, data: bytes, **conditions: str) -> str:
        etag: str = (await self._call(self._client.put_object, key, Body=data, **conditions))["ETag"]
        return etag

    def _read(self, key: str) -> Read:
        answer = self._client.get_object(Bucket=self._name, Key=self._prefix + key)
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        with answer["Body"] as body:
            return Read(body.read(), answer["ETag"], (now - answer["LastModified"]).total_seconds())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _of_client(error) from error
    except (BotoCoreError, HTTPError, OSError, ValueError) as error:
        raise StoreError(str(error)) from error


def _of_client(error: ClientError) -> Exception:
    """Returns what an answer that is an error means."""
    answer: dict[str, Any] = error.response.get("Error", {})
    code, message = str(answer.get("Code", "")), str(answer.get("Message", ""))
    text = f"{code}: {message}" if message else code
    if code in _MISSING:
        return Missing(text)
    if code in _PAST_END:
        return PastEnd(text)
    if code in _CONFLICT:
        return Conflict(text)
    return StorageFull(text) if code in _FULL else StoreError(text)
