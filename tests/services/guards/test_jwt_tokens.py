"""JSON Web Tokens."""

from __future__ import annotations

import base64
import logging
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jwt
import pytest

from pygrpc.services.errors import RequestError
from pygrpc.services.guards import GuardError, Identity
from pygrpc.services.guards.jwt_tokens import JwtTokens
from tests.services.guards.jwts import ALGORITHMS, CLAIMS, NOW, jwk, jwks, pem, token, unsigned
from tests.services.guards.support import Clock

ANN = Identity("ann", frozenset({"admin"}), "jwt")


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_bytes(jwks(*(jwk(algorithm) for algorithm in ALGORITHMS)))
    return path


def tokens(path: Path, clock: Clock, **options: Any) -> JwtTokens:
    given: dict[str, Any] = {"audience": "services", "issuer": "https://issuer.test", "algorithms": ALGORITHMS}
    return JwtTokens(path, clock=clock, **{**given, **options})


def reason(known: JwtTokens, wrong: str) -> str:
    """Why a token is not taken; twice, because what is kept of the first time must not make it right."""
    reasons = set()
    for _ in range(2):
        with pytest.raises(RequestError) as caught:
            known.identify(wrong)
        [info] = caught.value.details
        assert caught.value.code.name == "UNAUTHENTICATED"
        reasons.add(info.reason)  # type: ignore[attr-defined]
    [only] = reasons
    return str(only)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm(path: Path, clock: Clock, algorithm: str) -> None:
    known = tokens(path, clock)
    assert known.identify(token(algorithm)) == ANN
    assert known.identify(token(algorithm)) == ANN
    assert known.identify(token(algorithm, kid="")) == ANN
    assert reason(known, token(algorithm, 2)) == "TOKEN_SIGNATURE"
    assert reason(known, token(algorithm, kid="other")) == "TOKEN_SIGNATURE"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_only_the_algorithms_that_are_allowed(path: Path, clock: Clock, algorithm: str) -> None:
    known = tokens(path, clock, algorithms=set(ALGORITHMS) - {algorithm})
    assert reason(known, token(algorithm)) == "TOKEN_ALGORITHM"


@pytest.mark.parametrize("name", ["none", "None", "HS512", "RS512", "", None, 1, ["HS256"], {"HS256": 1}])
def test_no_other_algorithm(path: Path, clock: Clock, name: Any) -> None:
    assert reason(tokens(path, clock), unsigned(alg=name)) in ("TOKEN_ALGORITHM", "TOKEN_INVALID")


def test_a_public_key_as_a_secret_is_no_key(tmp_path: Path, clock: Clock) -> None:
    """RFC 8725, section 2.1: who has the public key signs with it as if it were a secret."""
    path = tmp_path / "keys"
    path.write_bytes(pem("RS256"))

    class Secret(jwt.algorithms.HMACAlgorithm):
        def prepare_key(self, key: Any) -> bytes:
            return key if isinstance(key, bytes) else key.encode()

    forger = jwt.PyJWS()
    forger.unregister_algorithm("HS256")
    forger.register_algorithm("HS256", Secret(Secret.SHA256))
    forged = forger.encode(jwt.api_jwt.json.dumps(CLAIMS).encode(), pem("RS256"), "HS256")
    assert reason(tokens(path, clock), forged) == "TOKEN_SIGNATURE"


def test_keys_of_pem_are_tried(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "keys"
    path.write_bytes(pem("ES256", 1) + pem("RS256") + pem("ES256", 2))
    known = tokens(path, clock)
    for number in (1, 2):
        assert known.identify(token("ES256", number, kid="any")) == ANN
    assert reason(known, token("ES256", 3)) == "TOKEN_SIGNATURE"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": "others"}, "TOKEN_AUDIENCE"),
        ({"aud": None}, "TOKEN_INVALID"),
        ({"iss": "https://other.test"}, "TOKEN_ISSUER"),
        ({"iss": None}, "TOKEN_INVALID"),
        ({"exp": None}, "TOKEN_INVALID"),
        ({"sub": None}, "TOKEN_INVALID"),
        ({"sub": ""}, "TOKEN_INVALID"),
        ({"sub": "a\nb"}, "TOKEN_INVALID"),
        ({"exp": "soon"}, "TOKEN_INVALID"),
        ({"exp": True}, "TOKEN_INVALID"),
        ({"exp": float("nan")}, "TOKEN_INVALID"),
        ({"exp": 10**400}, "TOKEN_INVALID"),
        ({"nbf": "soon"}, "TOKEN_INVALID"),
        ({"roles": 1}, "TOKEN_INVALID"),
        ({"exp": NOW - 30}, "TOKEN_EXPIRED"),
        ({"nbf": NOW + 31}, "TOKEN_NOT_YET_VALID"),
    ],
)
def test_claims_are_checked(path: Path, clock: Clock, claims: dict[str, Any], expected: str) -> None:
    assert reason(tokens(path, clock), token(**claims)) == expected


def test_an_audience_among_others(path: Path, clock: Clock) -> None:
    assert tokens(path, clock).identify(token(aud=["others", "services"])) == ANN


def test_a_token_for_somebody_is_refused_where_nobody_has_a_name(path: Path, clock: Clock) -> None:
    known = tokens(path, clock, audience=None, issuer=None)
    assert reason(known, token()) == "TOKEN_AUDIENCE"
    assert known.identify(token(aud=None, iss=None)) == ANN


def test_a_token_that_was_right_expires(path: Path, clock: Clock) -> None:
    known = tokens(path, clock, leeway=10)
    held = token(exp=NOW + 60, nbf=NOW)
    assert known.identify(held) == ANN
    clock.now = NOW + 69.9
    assert known.identify(held) == ANN
    clock.now = NOW + 70
    assert reason(known, held) == "TOKEN_EXPIRED"
    clock.now = NOW - 10
    assert known.identify(held) == ANN
    clock.now = NOW - 10.1
    assert reason(known, held) == "TOKEN_NOT_YET_VALID"


@pytest.mark.parametrize("roles", ["reader writer", ["reader", "writer"]])
def test_roles_in_another_claim(path: Path, clock: Clock, roles: Any) -> None:
    found = tokens(path, clock, roles_claim="scope").identify(token(scope=roles))
    assert found == Identity("ann", frozenset({"reader", "writer"}), "jwt")


@pytest.mark.parametrize("text", ["", "opaque", "a.b", "a.b.c.d"])
def test_other_tokens_are_of_another_kind(path: Path, clock: Clock, text: str) -> None:
    assert tokens(path, clock).identify(text) is None


@hypothesis.given(st.text(st.characters(max_codepoint=255), max_size=50).map(lambda text: f"{text}.{text}.{text}"))
def test_any_text_gets_an_answer(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys"
        path.write_bytes(jwks(jwk("HS256")))
        known = tokens(path, Clock(NOW))
        assert text.count(".") != 2 or reason(known, text) == "TOKEN_INVALID"


def test_brackets_without_end(path: Path, clock: Clock) -> None:
    header = base64.urlsafe_b64encode(b"[" * 6000).decode()
    assert reason(tokens(path, clock), f"{header}..") == "TOKEN_INVALID"


@pytest.mark.parametrize("text", ["..", "a.b.c", "\udc80.b.c", token() + "x", "x" + token()])
def test_what_only_looks_like_a_token(path: Path, clock: Clock, text: str) -> None:
    assert reason(tokens(path, clock), text) in ("TOKEN_INVALID", "TOKEN_SIGNATURE")


def test_keys_are_rotated(path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(jwks(jwk("ES256", 1)))
    known = tokens(path, clock)
    assert known.identify(token("ES256", 1)) == ANN
    path.write_bytes(jwks(jwk("ES256", 1), jwk("ES256", 2)))
    clock.now += 1
    assert known.identify(token("ES256", 1)) == ANN
    assert known.identify(token("ES256", 2)) == ANN
    path.write_bytes(b"{")
    clock.now += 1
    assert known.identify(token("ES256", 1)) == ANN
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    path.write_bytes(jwks(jwk("ES256", 2)))
    clock.now += 1
    assert reason(known, token("ES256", 1)) == "TOKEN_SIGNATURE"
    assert known.identify(token("ES256", 2)) == ANN


@pytest.mark.parametrize("algorithms", [(), ("none",), ("HS256", "HS512")])
def test_the_list_of_algorithms_is_explicit(path: Path, clock: Clock, algorithms: Any) -> None:
    with pytest.raises(GuardError, match="must be of HS256, RS256, ES256, EdDSA"):
        tokens(path, clock, algorithms=algorithms)
