"""Buckets for the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pygrpc.services.files.s3.address import parse
from pygrpc.services.files.s3.bucket import Bucket
from pygrpc.services.files.s3.storage import S3Storage


@asynccontextmanager
async def bucket_of(url: str) -> AsyncIterator[Bucket]:
    bucket = Bucket(parse(url))
    try:
        yield bucket
    finally:
        await bucket.close()


@asynccontextmanager
async def storage_of(url: str) -> AsyncIterator[S3Storage]:
    storage = await S3Storage.open(url)
    try:
        yield storage
    finally:
        await storage.close()


async def keys(bucket: Bucket) -> list[str]:
    """Returns the keys of all objects."""
    return await bucket.run(lambda: [each.key for each in bucket.keys("")])
