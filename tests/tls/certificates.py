"""Certificates for tests, made when they are first needed."""

from __future__ import annotations

import datetime
import functools
from typing import NamedTuple

import trustme


class Identity(NamedTuple):
    """A private key and the certificate chain that belongs to it, both PEM."""

    key: bytes
    chain: bytes


@functools.cache
def authority(name: str = "main") -> trustme.CA:
    return trustme.CA(organization_name=f"pygrpc tests, {name}")


@functools.cache
def identity(*names: str, common_name: str | None = None, ca: str = "main") -> Identity:
    certificate = authority(ca).issue_cert(*names, common_name=common_name)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return Identity(certificate.private_key_pem.bytes(), chain)


def roots(ca: str = "main") -> bytes:
    pem: bytes = authority(ca).cert_pem.bytes()
    return pem


@functools.cache
def expired(name: str) -> Identity:
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    certificate = authority("main").issue_cert(name, not_after=past)
    return Identity(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())


def server() -> Identity:
    return identity("localhost", "127.0.0.1", common_name="the server")


def client() -> Identity:
    return identity("someone@example.org", "client.example", "10.1.2.3", common_name="the client")
