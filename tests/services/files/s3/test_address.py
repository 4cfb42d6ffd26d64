"""URLs of storages in S3."""

from __future__ import annotations

import pytest

from pygrpc.services.errors import StoreError
from pygrpc.services.files.s3.address import Address, is_address, parse


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("s3://bucket", Address("bucket", "", "", ""), "s3://bucket/"),
        ("s3://bucket/", Address("bucket", "", "", ""), "s3://bucket/"),
        ("s3://my.bucket/a/b/", Address("my.bucket", "a/b/", "", ""), "s3://my.bucket/a/b/"),
        (
            "s3://b/p?endpoint=http://127.0.0.1:9000&region=eu-west-1",
            Address("b", "p/", "http://127.0.0.1:9000", "eu-west-1"),
            "s3://b/p/",
        ),
        ("s3://b?endpoint=https%3A%2F%2Fstore%2Fs3", Address("b", "", "https://store/s3", ""), "s3://b/"),
    ],
)
def test_an_address(url: str, address: Address, shown: str) -> None:
    assert parse(url) == address
    assert str(address) == shown
    assert is_address(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3:bucket", "something else"),
        ("s3:///prefix", "something else"),
        ("s3://bucket/a#b", "something else"),
        ("s3://key:secret@bucket", "credentials are taken from the environment"),
        ("s3://bucket:9000/a", "credentials are taken from the environment"),
        ("s3://bucket?endpoint=127.0.0.1:9000", "endpoint must begin with http:// or https://"),
        ("s3://bucket?secret=1", '"secret" is not known'),
        ("s3://bucket?region", "bad query field"),
        ("s3://[bucket", "Invalid IPv6 URL"),
    ],
)
def test_what_is_no_address(url: str, why: str) -> None:
    with pytest.raises(StoreError, match=f"s3://bucket/prefix.*{why}") as raised:
        parse(url)
    assert "key:secret" not in str(raised.value)


def test_a_folder_is_no_address() -> None:
    assert not is_address("/srv/files")
    assert not is_address("s3")
