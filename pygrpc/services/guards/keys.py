"""Keys that prove who has made a JSON Web Token, read from a JWK set (RFC 7517) or PEM (RFC 7468)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

#: The algorithms that there are; "none" is not one of them. RFC 8725, section 3.1.
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")

_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
# A token that names no key is tried with all that fit, so their number bounds what a wrong one costs.
_MOST_KEYS = 32
# RFC 7518, sections 3.2 and 3.3.
_SHORTEST_SECRET = 32
_SHORTEST_RSA = 2048


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        algorithm: The only one that it is good for, so that a public key is never taken for a secret.
        key: As PyJWT takes it.
        kid: What tokens call it, or None.
    """

    algorithm: str
    key: Any
    kid: str | None = None


def parse_keys(content: bytes) -> tuple[Key, ...]:
    """Reads the keys of a file.

    Args:
        content: A JWK set, or public keys and certificates as PEM. Keys of a JWK set that are for something else, such
            as encryption, are passed over (RFC 7517, section 5).

    Raises:
        ValueError: It is neither, has no key, a weak one, or a private one; the text is the end of a sentence.
    """
    keys = tuple(_of_set(content) if content.lstrip().startswith(b"{") else _of_pem(content))
    if not keys:
        raise ValueError(f"has no key for {', '.join(ALGORITHMS)}")
    if len(keys) > _MOST_KEYS:
        raise ValueError(f"has more than {_MOST_KEYS} keys")
    return keys


def _of_set(content: bytes) -> Iterator[Key]:
    try:
        entries = json.loads(content)["keys"]
    except (ValueError, KeyError):
        raise ValueError("is not a JWK set") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("is not a JWK set")
    for entry in entries:
        if entry.get("use", "sig") != "sig" or entry.get("alg", ALGORITHMS[0]) not in ALGORITHMS:
            continue
        if entry.get("kty") not in ("RSA", "EC", "OKP", "oct"):
            continue
        kid = entry.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise ValueError("has a key whose kid is not a text")
        if "d" in entry:
            raise ValueError("has a private key, and a server needs only the public one")
        key = _of_entry(entry, kid)
        if key is not None and entry.get("alg", key.algorithm) == key.algorithm:
            yield key


def _of_entry(entry: dict[str, Any], kid: str | None) -> Key | None:
    try:
        made = jwt.PyJWK.from_dict({name: value for name, value in entry.items() if name != "alg"})
    except jwt.PyJWTError:
        if entry.get("kty") in ("EC", "OKP") and entry.get("crv") not in ("P-256", "Ed25519"):
            return None
        # What the error says may have the key in it.
        raise ValueError("has a key that cannot be understood") from None
    if entry["kty"] == "oct":
        if len(made.key) < _SHORTEST_SECRET:
            raise ValueError(f"has a secret of fewer than {_SHORTEST_SECRET} bytes")
        return Key("HS256", made.key, kid)
    algorithm = _algorithm_of(made.key)
    return None if algorithm is None else Key(algorithm, made.key, kid)


def _of_pem(content: bytes) -> Iterator[Key]:
    for block in _PEM_BLOCK.finditer(content):
        if b"PRIVATE" in block[1]:
            raise ValueError("has a private key, and a server needs only the public one")
        try:
            if block[1] == b"CERTIFICATE":
                key: Any = x509.load_pem_x509_certificate(block[0]).public_key()
            else:
                key = load_pem_public_key(block[0])
        except ValueError:
            raise ValueError("has a PEM block that is neither a public key nor a certificate") from None
        algorithm = _algorithm_of(key)
        if algorithm is None:
            raise ValueError(f"has a key that is for none of {', '.join(ALGORITHMS)}")
        yield Key(algorithm, key)


def _algorithm_of(key: Any) -> str | None:
    if isinstance(key, RSAPublicKey):
        if key.key_size < _SHORTEST_RSA:
            raise ValueError(f"has an RSA key of fewer than {_SHORTEST_RSA} bits")
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    if isinstance(key, Ed25519PublicKey):
        return "EdDSA"
    return None
