"""What the URL of a storage in S3 says."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pygrpc.services.errors import StoreError

_OPTIONS = {"endpoint", "region"}


class Address(NamedTuple):
    """Where a storage is.

    Attributes:
        bucket: Name of the bucket.
        prefix: What the keys of all objects begin with; empty, or with a slash at the end.
        endpoint: URL of a server other than that of Amazon; may be empty.
        region: Of the bucket; empty for that of the environment.
    """

    bucket: str
    prefix: str
    endpoint: str
    region: str

    def __str__(self) -> str:
        """Returns it without the options."""
        return f"s3://{self.bucket}/{self.prefix}"


def is_address(place: str) -> bool:
    """Tells whether the place of a storage is a URL of S3."""
    return place.startswith("s3:")


def parse(url: str) -> Address:
    """Reads `s3://bucket/prefix?endpoint=http://host:port&region=name`. Prefix and options may be left out.

    Raises:
        StoreError: It is no such URL.
    """
    # Not the whole URL: somebody may have put a secret into it.
    problem = "a storage in S3 is given as s3://bucket/prefix?endpoint=URL&region=NAME"
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        if parts.username is not None or parts.port is not None:
            raise StoreError(f"{problem}: credentials are taken from the environment, or from where AWS tools look")
    except ValueError as error:
        raise StoreError(f"{problem}: {error}") from error
    if parts.scheme != "s3" or not parts.netloc or parts.fragment:
        raise StoreError(f"{problem}, and this is something else")
    if unknown := sorted(options.keys() - _OPTIONS):
        raise StoreError(f'{problem}: "{unknown[0]}" is not known')
    endpoint = options.get("endpoint", "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise StoreError(f"{problem}: endpoint must begin with http:// or https://")
    prefix = parts.path.strip("/")
    return Address(parts.netloc, f"{prefix}/" if prefix else "", endpoint, options.get("region", ""))
