"""The certificates of the measurements with TLS, and the settings of the libraries that take an `ssl.SSLContext`."""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from benchmarks.work import HOST, Work

# Names the folder of the certificates, for the processes that are started.
FOLDER = "PYGRPC_BENCHMARKS_CERTIFICATES"


def installed() -> bool:
    """Return whether trustme is there, which makes certificates."""
    return find_spec("trustme") is not None


@contextmanager
def provided() -> Iterator[None]:
    """Have an authority, and a certificate for the loopback address, as long as this lasts; nothing without trustme."""
    if not installed():
        yield
        return
    import trustme

    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER] = folder
        authority = trustme.CA()
        issued = authority.issue_cert(HOST)
        authority.cert_pem.write_to_path(path("ca.pem"))
        issued.private_key_pem.write_to_path(path("server.key"))
        path("server.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        try:
            yield
        finally:
            del os.environ[FOLDER]


def path(name: str) -> Path:
    """Return the path of ca.pem, server.pem or server.key."""
    return Path(os.environ[FOLDER]) / name


def server_context(work: Work) -> ssl.SSLContext | None:
    """Return the TLS settings of a server; None without TLS."""
    if not work.tls:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path("server.pem"), path("server.key"))
    context.set_alpn_protocols(["h2"])
    return context


def client_context(work: Work) -> ssl.SSLContext | None:
    """Return the TLS settings of a client; None without TLS."""
    if not work.tls:
        return None
    context = ssl.create_default_context(cafile=str(path("ca.pem")))
    context.set_alpn_protocols(["h2"])
    return context
