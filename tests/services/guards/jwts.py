"""Keys and tokens for the tests of JSON Web Tokens."""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import get_default_algorithms

NOW = 1_800_000_000
CLAIMS = {"sub": "ann", "exp": NOW + 60, "aud": "services", "iss": "https://issuer.test", "roles": ["admin"]}
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")


@functools.cache
def private_key(algorithm: str, number: int = 1) -> Any:
    """A key to sign with, the same for each test."""
    match algorithm:
        case "HS256":
            return f"secret number {number} with more than 32 bytes".encode()
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def public_key(algorithm: str, number: int = 1) -> Any:
    """What signatures of that key are checked with."""
    key = private_key(algorithm, number)
    return key if algorithm == "HS256" else key.public_key()


def pem(algorithm: str, number: int = 1) -> bytes:
    """The public key as PEM."""
    encoded: bytes = public_key(algorithm, number).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def private_pem(algorithm: str) -> bytes:
    """The private key as PEM."""
    encoded: bytes = private_key(algorithm).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return encoded


def jwk(algorithm: str, number: int = 1, **more: Any) -> dict[str, Any]:
    """The public key as an entry of a JWK set."""
    made: dict[str, Any] = get_default_algorithms()[algorithm].to_jwk(public_key(algorithm, number), as_dict=True)
    made = {name: made[name] for name in ("kty", "k", "n", "e", "crv", "x", "y") if name in made}
    return {**made, "kid": f"{algorithm}-{number}", **more}


def jwks(*entries: dict[str, Any]) -> bytes:
    """A JWK set."""
    return json.dumps({"keys": list(entries)}).encode()


def token(algorithm: str = "ES256", number: int = 1, kid: str | None = None, **claims: Any) -> str:
    """A token; claims that are None are left out."""
    payload = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    headers = {"kid": f"{algorithm}-{number}" if kid is None else kid} if kid != "" else None
    return jwt.encode(payload, private_key(algorithm, number), algorithm, headers)


def unsigned(**header: Any) -> str:
    """A token with a header of choice and a signature of nothing."""
    parts = [json.dumps(header).encode(), json.dumps(CLAIMS).encode(), b""]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
