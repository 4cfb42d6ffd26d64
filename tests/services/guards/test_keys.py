"""Files with keys."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from pygrpc.services.guards.keys import Key, parse_keys
from tests.services.guards.jwts import ALGORITHMS, jwk, jwks, pem, private_pem, public_key


def named(keys: tuple[Key, ...]) -> list[tuple[str, str | None]]:
    return [(key.algorithm, key.kid) for key in keys]


def test_keys_of_a_set() -> None:
    keys = parse_keys(jwks(*(jwk(algorithm) for algorithm in ALGORITHMS)))
    assert named(keys) == [(algorithm, f"{algorithm}-1") for algorithm in ALGORITHMS]


def test_keys_of_pem() -> None:
    keys = parse_keys(b"a comment\n" + b"\n".join(pem(algorithm) for algorithm in ALGORITHMS[1:]))
    assert named(keys) == [(algorithm, None) for algorithm in ALGORITHMS[1:]]


def test_the_key_of_a_certificate() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + datetime.timedelta(days=1))
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
    )
    assert named(parse_keys(certificate)) == [("ES256", None)]


def test_keys_for_something_else_are_passed_over() -> None:
    keys = parse_keys(
        jwks(
            jwk("RS256", use="enc"),
            jwk("RS256", alg="RS512"),
            jwk("RS256", alg="HS256"),
            {"kty": "EC", "crv": "P-384", "x": "", "y": ""},
            {"kty": "OKP", "crv": "X25519", "x": ""},
            {"kty": "AKP"},
            jwk("RS256", use="sig", alg="RS256"),
        )
    )
    assert named(keys) == [("RS256", "RS256-1")]


def encoded(key: object) -> bytes:
    made: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "has no key"),
        (b"\xff", "has no key"),
        (b"{", "is not a JWK set"),
        (b"{}", "is not a JWK set"),
        (b'{"keys": 1}', "is not a JWK set"),
        (b'{"keys": [1]}', "is not a JWK set"),
        (jwks(), "has no key"),
        (jwks(jwk("ES256", kid=1)), "kid is not a text"),
        (jwks(jwk("ES256", x="!")), "has a key that cannot be understood"),
        (jwks({"kty": "RSA"}), "has a key that cannot be understood"),
        (jwks(jwk("ES256", d="AQ")), "has a private key"),
        (jwks({"kty": "oct", "k": "c2hvcnQ"}), "fewer than 32 bytes"),
        (jwks(*(jwk("HS256", number) for number in range(33))), "more than 32 keys"),
        (private_pem("ES256"), "has a private key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "neither a public key nor a certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "neither a public key nor a certificate"),
        (encoded(rsa.generate_private_key(65537, 1024).public_key()), "fewer than 2048 bits"),
        (encoded(ed448.Ed448PrivateKey.generate().public_key()), "for none of"),
    ],
)
def test_what_cannot_be_used_is_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_keys(content)


def test_an_error_does_not_tell_a_secret() -> None:
    with pytest.raises(ValueError) as caught:
        parse_keys(jwks({"kty": "oct", "k": {"secret": 1}}))
    assert "secret" not in str(caught.value) and caught.value.__cause__ is None


def test_a_public_key_is_never_a_secret() -> None:
    [key] = parse_keys(pem("RS256"))
    assert key.algorithm == "RS256" and key.key == public_key("RS256")
