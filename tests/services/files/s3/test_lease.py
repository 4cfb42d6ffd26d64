"""Who may write a part."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from pygrpc.services.errors import StoreError
from pygrpc.services.files.s3.bucket import Bucket, Conflict, Missing, Read
from pygrpc.services.files.s3.lease import Lease, released
from pygrpc.services.files.storage import PartBusy
from tests.services.files.s3.support import bucket_of, keys
from tests.services.support import until

LONG = 1000.0


async def test_a_lease_is_one_processs_until_it_is_released(s3: str) -> None:
    async with bucket_of(s3) as bucket:
        lease = await Lease.take(bucket, "lease", LONG)
        with pytest.raises(PartBusy):
            await Lease.take(bucket, "lease", LONG)
        lease.check()
        await lease.release()
        assert await keys(bucket) == []
        again = await Lease.take(bucket, "lease", LONG)
        await again.release()


def aged(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes all objects appear to be old."""
    read = bucket.read

    async def older(key: str) -> Read:
        return (await read(key))._replace(age=2 * LONG)

    monkeypatch.setattr(bucket, "read", older)


async def test_the_lease_of_a_dead_process_is_taken(
    s3: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with bucket_of(s3) as bucket:
        # As if it could not renew it any more.
        dead = await Lease.take(bucket, "lease", LONG)
        with monkeypatch.context() as patch:
            aged(bucket, patch)
            lease = await Lease.take(bucket, "lease", LONG)
        dead._seconds = 0.003
        with caplog.at_level(logging.ERROR, "pygrpc"):
            renewing = asyncio.create_task(dead._renew())
            await asyncio.wait((renewing,))
        assert caplog.messages == ["Another process has taken an upload over."]
        with pytest.raises(StoreError, match="may be another process's now"):
            dead.check()
        # It is the other's, and stays.
        await dead.release()
        assert await keys(bucket) == ["lease"]
        lease.check()
        await released(lease)


async def test_only_one_takes_what_is_left(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bucket_of(s3) as bucket:
        dead = await Lease.take(bucket, "lease", LONG)
        aged(bucket, monkeypatch)
        put_over = bucket.put_over

        async def late(key: str, data: bytes, etag: str) -> str:
            # Somebody else is quicker.
            await put_over(key, b"somebody else", etag)
            return await put_over(key, data, etag)

        monkeypatch.setattr(bucket, "put_over", late)
        with pytest.raises(PartBusy):
            await Lease.take(bucket, "lease", LONG)
        dead._end = 0.0
        await dead.release()


async def test_a_lease_is_renewed(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bucket_of(s3) as bucket:
        lease = await Lease.take(bucket, "lease", LONG)
        first = await bucket.read("lease")
        put_over = bucket.put_over
        fail = [StoreError("out of order"), None]

        async def sometimes(key: str, data: bytes, etag: str) -> str:
            problem = fail.pop(0) if fail else None
            if problem is not None:
                raise problem
            tag = await put_over(key, data, etag)
            if not fail:
                # The answer is lost, and the request sent again.
                raise Conflict(key)
            return tag

        monkeypatch.setattr(bucket, "put_over", sometimes)
        lease._seconds = 0.003
        renewing = asyncio.create_task(lease._renew())
        await until(lambda: lease._renewals >= 3)
        renewing.cancel()
        await asyncio.wait((renewing,))
        second = await bucket.read("lease")
        assert first.data.split()[0] == second.data.split()[0]
        assert first.etag != second.etag
        lease._end = asyncio.get_running_loop().time() + LONG
        await lease.release()


async def test_a_request_that_was_sent_twice_is_our_own(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bucket_of(s3) as bucket:
        put_new = bucket.put_new

        async def twice(key: str, data: bytes) -> str:
            await put_new(key, data)
            return await put_new(key, data)

        monkeypatch.setattr(bucket, "put_new", twice)
        lease = await Lease.take(bucket, "lease", LONG)
        lease.check()
        await lease.release()


async def test_what_goes_wrong_at_the_end_is_left_to_time(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bucket_of(s3) as bucket:
        lease = await Lease.take(bucket, "lease", LONG)

        async def fails(names: Any) -> None:
            raise StoreError("out of order")

        monkeypatch.setattr(bucket, "delete", fails)
        await released(lease)
        with pytest.raises(PartBusy):
            await Lease.take(bucket, "lease", LONG)

        async def gone(key: str) -> Read:
            raise Missing(key)

        monkeypatch.setattr(bucket, "read", gone)
        with pytest.raises(PartBusy):
            await Lease.take(bucket, "lease", LONG)
