"""Certificates from files: read, refused, and read anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pygrpc.services.serving.errors import StartError
from pygrpc.services.serving.tls import CertificateFiles
from tests.tls import certificates


class Files:
    """The files of a server, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key, self.ca = folder / "server.crt", folder / "server.key", folder / "ca.crt"
        self.write(certificates.server())
        self.ca.write_bytes(certificates.roots())

    def write(self, identity: certificates.Identity) -> None:
        self.certificate.write_bytes(identity.chain)
        self.key.write_bytes(identity.key)

    def open(self) -> CertificateFiles:
        return CertificateFiles(str(self.certificate), str(self.key), str(self.ca))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def problem_of(files: Files) -> str:
    with pytest.raises(StartError) as raised:
        files.open().credentials(require_client_auth=True)
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "what"), [("certificate", "certificate"), ("key", "private key"), ("ca", "CA certificate")]
)
def test_a_file_that_cannot_be_read(files: Files, name: str, what: str) -> None:
    path: Path = getattr(files, name)
    path.unlink()
    assert problem_of(files) == f"the {what} {path} cannot be read: No such file or directory"
    path.mkdir()
    assert problem_of(files) == f"the {what} {path} cannot be read: Is a directory"


def test_a_key_of_another_certificate(files: Files) -> None:
    files.key.write_bytes(certificates.client().key)
    assert problem_of(files) == f"the private key {files.key} does not belong to the certificate {files.certificate}"


def test_files_that_hold_something_else(files: Files) -> None:
    files.ca.write_text("nothing")
    assert problem_of(files) == f"the CA certificate {files.ca} is no PEM certificate"
    files.key.write_text("nothing")
    expected = f"the certificate {files.certificate} and the private key {files.key} are not both PEM"
    assert problem_of(files) == expected


def test_a_key_with_a_password(files: Files) -> None:
    key = serialization.load_pem_private_key(certificates.server().key, None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    assert problem_of(files) == f"the private key {files.key} is encrypted; store it without a password"


def test_files_are_read_anew_when_they_have_changed(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    opened = files.open()
    opened.credentials(require_client_auth=True)
    assert opened.changed() is None
    other = certificates.identity("localhost", common_name="the next server")
    # A new certificate comes before its key: nothing changes, and it is said once.
    files.certificate.write_bytes(other.chain)
    assert opened.changed() is None
    assert opened.changed() is None
    [message] = caplog.messages
    assert message.startswith("The certificates stay as they are: the private key ")
    files.key.write_bytes(other.key)
    assert opened.changed() is not None
    assert opened.changed() is None
    files.certificate.unlink()
    assert opened.changed() is None
    assert caplog.messages[1].endswith("cannot be read: No such file or directory.")


def test_a_file_that_is_replaced_at_once_is_seen(files: Files, tmp_path: Path) -> None:
    opened = files.open()
    opened.credentials(require_client_auth=False)
    before = files.ca.stat()
    other = tmp_path / "other"
    other.write_bytes(files.ca.read_bytes())
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(files.ca)
    assert opened.changed() is not None
