"""Requests to an object store."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from pygrpc.services.errors import StoreError
from pygrpc.services.files.s3 import bucket as module
from pygrpc.services.files.s3.bucket import Conflict, Missing, PastEnd
from pygrpc.services.files.storage import StorageFull
from tests.services.files.s3.support import bucket_of, keys


async def test_objects(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    async with bucket_of(s3) as bucket:
        await bucket.check()
        tag = await bucket.put("a/1", b"one")
        found = await bucket.read("a/1")
        assert (found.data, found.etag) == (b"one", tag)
        assert -2 < found.age < 60
        with pytest.raises(Conflict):
            await bucket.put_new("a/1", b"two")
        second = await bucket.put_over("a/1", b"two", tag)
        with pytest.raises(Conflict):
            await bucket.put_over("a/1", b"three", tag)
        assert (await bucket.read("a/1")).etag == second
        for key in ("a/2", "a/3", "b/1"):
            await bucket.put_new(key, b"")
        assert await bucket.run(lambda: [each.size for each in bucket.keys("a/")]) == [3, 0, 0]
        assert await bucket.run(lambda: list(bucket.folders(""))) == ["a", "b"]
        await bucket.delete(["a/1", "a/2", "a/3", "none"])
        assert await keys(bucket) == ["b/1"]
        assert (await bucket.has("b/1"), await bucket.has("a/1")) == (True, False)
        with pytest.raises(Missing):
            await bucket.read("a/1")
        with pytest.raises(PastEnd):
            await bucket.run(bucket.stream, "b/1", 1)


async def test_a_multipart_upload(s3: str) -> None:
    data = b"x" * (5 << 20)
    async with bucket_of(s3) as bucket:
        tag = await bucket.put("source", data)
        upload = await bucket.begin_upload("whole")
        copy, asked = bucket._client.upload_part_copy, []

        def noted(**request: Any) -> Any:
            asked.append(request)
            return copy(**request)

        bucket._client.upload_part_copy = noted
        tags = [await bucket.upload_copy("whole", upload, 1, "source", tag)]
        # The server of the tests does not look at this.
        assert [request["CopySourceIfMatch"] for request in asked] == [tag]
        tags.append(await bucket.upload_bytes("whole", upload, 2, b"rest"))
        assert await keys(bucket) == ["source"]
        await bucket.complete_upload("whole", upload, tags)
        assert (await bucket.read("whole")).data == data + b"rest"
        begun = {key: await bucket.begin_upload(key) for key in ("whole", "whole2")}
        await bucket.abort_uploads("whole")
        # The upload of the other object, whose key begins the same, is still there.
        for key, left in (("whole", []), ("whole2", [begun["whole2"]])):
            assert await bucket.run(lambda key=key: list(bucket._uploads(key))) == left


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("NoSuchKey", Missing),
        ("404", Missing),
        ("NoSuchUpload", Missing),
        ("PreconditionFailed", Conflict),
        ("InvalidRange", PastEnd),
        ("XMinioStorageFull", StorageFull),
        ("AccessDenied", StoreError),
    ],
)
def test_what_an_error_means(code: str, kind: type[Exception]) -> None:
    answer: Any = {"Error": {"Code": code, "Message": "for people"}}
    error = module._of_client(ClientError(answer, "PutObject"))
    assert type(error) is kind
    assert str(error) == f"{code}: for people"
