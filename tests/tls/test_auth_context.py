"""What is said of a peer, worked out from what the ssl module knows of it."""

from __future__ import annotations

from typing import Any

import pytest

from pygrpc import _auth_context
from pygrpc.interfaces import LocalConnectionType


class Connection:
    """As much of an SSLObject as is looked at."""

    def __init__(self, certificate: dict[str, Any] | None, der: bytes | None, reused: bool = False) -> None:
        self._certificate = certificate
        self._der = der
        self.session_reused = reused

    def version(self) -> str:
        return "TLSv1.3"

    def getpeercert(self, binary_form: bool = False) -> Any:
        return self._der if binary_form else self._certificate


def properties(certificate: dict[str, Any] | None, der: bytes | None = b"\0" * 100) -> dict[str, list[bytes]]:
    return _auth_context.tls_auth_context(Connection(certificate, der))


def test_a_peer_without_a_certificate() -> None:
    expected = {
        "transport_security_type": [b"ssl"],
        "security_level": [b"TSI_PRIVACY_AND_INTEGRITY"],
        "ssl_session_reused": [b"false"],
        "ssl_tls_version": [b"TLSv1.3"],
    }
    assert properties(None, None) == expected
    # A certificate that nobody verified is as good as none.
    assert properties({}) == expected


def test_names_of_every_kind() -> None:
    names = (
        ("DNS", "a.example"),
        ("email", "a@example.org"),
        ("URI", "spiffe://example/a"),
        ("IP Address", "10.0.0.1"),
        ("IP Address", "2001:DB8:0:0:0:0:0:1\n"),
        ("IP Address", "<invalid>"),
        ("Registered ID", "1.2.3"),
    )
    found = properties({"subject": ((("commonName", "old"),), (("commonName", "new"),)), "subjectAltName": names})
    assert found["x509_subject_alternative_name"] == [
        b"a.example", b"a@example.org", b"spiffe://example/a", b"10.0.0.1", b"2001:db8::1", b"<invalid>",
    ]  # fmt: skip
    assert found["peer_dns"] == [b"a.example"]
    assert found["peer_email"] == [b"a@example.org"]
    assert found["peer_uri"] == found["peer_spiffe_id"] == [b"spiffe://example/a"]
    assert found["peer_ip"] == [b"10.0.0.1", b"2001:db8::1", b"<invalid>"]
    assert found["x509_common_name"] == [b"new"]
    assert _auth_context.peer_identity_key(found) == "x509_subject_alternative_name"


@pytest.mark.parametrize("uris", [["spiffe://a", "spiffe://b"], ["https://a"], []])
def test_what_is_no_spiffe_identity(uris: list[str]) -> None:
    assert "peer_spiffe_id" not in properties({"subjectAltName": [("URI", uri) for uri in uris]})


def test_the_common_name_identifies_if_there_is_nothing_better() -> None:
    found = properties({"subject": ((("commonName", "name"),),)})
    assert _auth_context.peer_identity_key(found) == "x509_common_name"
    assert _auth_context.peer_identities(found) == [b"name"]


def test_the_subject_is_written_as_in_rfc_4514() -> None:
    subject = (
        (("countryName", "FR"),),
        (("organizationName", "A, B"), ("organizationalUnitName", "#1")),
        (("serialNumber", " 7"),),
    )
    assert properties({"subject": subject})["x509_subject"] == [b"serialNumber=\\ 7,OU=\\#1,O=A\\, B,C=FR"]


def test_the_certificate_is_pem() -> None:
    (pem,) = properties({"subject": ()})["x509_pem_cert"]
    lines = pem.split(b"\n")
    assert lines[0] == b"-----BEGIN CERTIFICATE-----"
    assert [len(line) for line in lines[1:-2]] == [64, 64, 8]
    assert lines[-2:] == [b"-----END CERTIFICATE-----", b""]


def test_other_kinds_of_peers() -> None:
    assert _auth_context.peer_identities(_auth_context.insecure_auth_context()) is None
    local = _auth_context.local_auth_context(LocalConnectionType.UDS)
    assert _auth_context.peer_identities(local) == [b"local"]
    resumed = _auth_context.tls_auth_context(Connection(None, None, reused=True))
    assert resumed["ssl_session_reused"] == [b"true"]


def test_the_chain_of_newer_and_older_pythons() -> None:
    class Newer(Connection):
        def get_unverified_chain(self) -> list[bytes]:
            return [b"own", b"issuer"]

    class Certificate:
        def __init__(self, text: str) -> None:
            self._text = text

        def public_bytes(self) -> str:
            return self._text

    class Older(Connection):
        class _sslobj:
            @staticmethod
            def get_unverified_chain() -> list[Certificate]:
                return [Certificate("own"), Certificate("issuer\n"), Certificate("root\n")]

    certificate = {"subject": ((("commonName", "name"),),)}
    newer = _auth_context.tls_auth_context(Newer(certificate, b"own"))
    assert newer["x509_pem_cert_chain"] == [_auth_context._to_pem(b"issuer")]
    assert _auth_context.tls_auth_context(Older(certificate, b"own"))["x509_pem_cert_chain"] == [b"issuer\nroot\n"]
    assert "x509_pem_cert_chain" not in _auth_context.tls_auth_context(Connection(certificate, b"own"))
