"""What ``context.auth_context()`` says of a peer; the names and forms of the properties are grpcio's."""

import base64
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from pygrpc.interfaces import LocalConnectionType

AuthContext = dict[str, list[bytes]]

TRANSPORT_SECURITY_TYPE = "transport_security_type"
_X509_SAN = "x509_subject_alternative_name"
_X509_CN = "x509_common_name"

# RFC 4514, section 3: short names of attribute types; those that it doesn't list are written as OpenSSL has them.
_SHORT_NAMES = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "street",
    "domainComponent": "DC",
    "userId": "UID",
}
# Kinds of alternative names as the ssl module calls them, and the property that each has to itself.
_NAME_PROPERTIES = {"email": "peer_email", "DNS": "peer_dns", "URI": "peer_uri", "IP Address": "peer_ip"}


def insecure_auth_context() -> AuthContext:
    """What is known of a peer without any security."""
    return {TRANSPORT_SECURITY_TYPE: [b"insecure"], "security_level": [b"TSI_SECURITY_NONE"]}


def local_auth_context(kind: LocalConnectionType) -> AuthContext:
    """What is known of a peer on the same machine."""
    return {TRANSPORT_SECURITY_TYPE: [b"local"], "security_level": [b"TSI_PRIVACY_AND_INTEGRITY"]}


def tls_auth_context(ssl_object: Any) -> AuthContext:
    """What is known of a peer over TLS.

    Args:
        ssl_object: The ``ssl.SSLObject`` or ``ssl.SSLSocket`` of the connection, behind its handshake.
    """
    properties: AuthContext = {TRANSPORT_SECURITY_TYPE: [b"ssl"]}
    der = ssl_object.getpeercert(binary_form=True)
    # The parsed form is there only of a certificate that was verified.
    parsed = ssl_object.getpeercert() if der else None
    if der and parsed:
        properties |= _certificate_properties(parsed)
        properties["x509_pem_cert"] = [_to_pem(der)]
        issuers = b"".join(_chain(ssl_object)[1:])
        if issuers:
            properties["x509_pem_cert_chain"] = [issuers]
    properties["security_level"] = [b"TSI_PRIVACY_AND_INTEGRITY"]
    properties["ssl_session_reused"] = [b"true" if ssl_object.session_reused else b"false"]
    name = getattr(ssl_object, "requested_server_name", None)
    if name:
        properties["ssl_requested_server_name"] = [name.encode()]
    properties["ssl_tls_version"] = [str(ssl_object.version()).encode()]
    return properties


def _chain(ssl_object: Any) -> list[bytes]:
    """The certificates that the peer has sent, its own first, as PEM."""
    if hasattr(ssl_object, "get_unverified_chain"):
        return [_to_pem(der) for der in ssl_object.get_unverified_chain()]
    # Before Python 3.13 the same is there, but not on the public object.
    inner = getattr(ssl_object, "_sslobj", None)
    return [each.public_bytes().encode() for each in (inner and inner.get_unverified_chain()) or ()]


def peer_identity_key(properties: Mapping[str, Iterable[bytes]]) -> str | None:
    """The property that holds the identities of a peer, or None if it isn't authenticated."""
    if _X509_SAN in properties:
        return _X509_SAN
    if _X509_CN in properties:
        return _X509_CN
    if properties.get(TRANSPORT_SECURITY_TYPE) == [b"local"]:
        return TRANSPORT_SECURITY_TYPE
    return None


def peer_identities(properties: Mapping[str, Iterable[bytes]]) -> list[bytes] | None:
    """The identities of a peer, or None if it isn't authenticated."""
    key = peer_identity_key(properties)
    return None if key is None else list(properties[key])


def _certificate_properties(certificate: Mapping[str, Any]) -> AuthContext:
    subject = [attribute for group in certificate.get("subject", ()) for attribute in group]
    properties: AuthContext = {"x509_subject": [_distinguished_name(subject)]}
    common_names = [value for name, value in subject if name == "commonName"]
    if common_names:
        properties[_X509_CN] = [common_names[-1].encode()]
    for kind, value in certificate.get("subjectAltName", ()):
        if kind in _NAME_PROPERTIES:
            name = (_ip_address(value) if kind == "IP Address" else value).encode()
            properties.setdefault(_X509_SAN, []).append(name)
            properties.setdefault(_NAME_PROPERTIES[kind], []).append(name)
    uris = properties.get("peer_uri", [])
    if len(uris) == 1 and uris[0].startswith(b"spiffe://"):
        # The SPIFFE X.509-SVID standard, section 2: exactly one URI, which is the identity.
        properties["peer_spiffe_id"] = uris
    return properties


def _distinguished_name(subject: Iterable[tuple[str, str]]) -> bytes:
    # RFC 4514, section 2.1: from the last attribute to the first.
    parts = [f"{_SHORT_NAMES.get(name, name)}={_escape(value)}" for name, value in subject]
    return ",".join(reversed(parts)).encode()


def _escape(value: str) -> str:
    # RFC 4514, section 2.4.
    escaped = "".join(f"\\{character}" if character in '\\",+<>;' else character for character in value)
    return f"\\{escaped}" if escaped[:1] in ("#", " ") else escaped


def _ip_address(value: str) -> str:
    # The ssl module writes IPv6 addresses in full, with a newline in some versions.
    try:
        return str(ipaddress.ip_address(value.strip()))
    except ValueError:
        return value.strip()


def _to_pem(der: bytes) -> bytes:
    # RFC 7468, section 2: lines of 64 characters.
    text = base64.standard_b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""])
