"""JSON Web Tokens (RFC 7519) as bearer tokens, with the best practices of RFC 8725."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jwt
from cachetools import LRUCache

from pygrpc.services.guards.calls import GuardError, Identity
from pygrpc.services.guards.keys import ALGORITHMS, Key, parse_keys
from pygrpc.services.guards.tokens import checked_identity, unauthenticated
from pygrpc.services.guards.watched import WatchedFile

_TOKENS_KEPT = 1024
# Seconds since 1970; further than any clock will come.
_END_OF_TIME = 1e15
# Times are checked here, for the tokens that are kept as for new ones, and by the clock that was given.
_OPTIONS: Any = {"require": ["exp", "sub"], "verify_exp": False, "verify_nbf": False, "verify_iat": False}


class _Checked(NamedTuple):
    """A token whose signature and claims are right, at the times between two."""

    identity: Identity
    begins: float
    ends: float


class JwtTokens:
    """JSON Web Tokens whose keys are in a file: a JWK set, or public keys and certificates as PEM.

    The file is read again when it has changed, so keys are rotated by adding the new one, signing with it, and removing
    the old one when its last token has expired. Tokens name their key by `kid`; keys of PEM have none and are tried.
    """

    def __init__(
        self,
        keys: str | os.PathLike[str],
        *,
        algorithms: Collection[str],
        audience: str | None,
        issuer: str | None,
        leeway: float = 30.0,
        roles_claim: str = "roles",
        interval: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Reads the keys.

        Args:
            keys: The path of the file.
            algorithms: Those that are allowed, of HS256, RS256, ES256 and EdDSA.
            audience: What the claim `aud` must be, or have in its list; None refuses tokens that have one.
            issuer: What the claim `iss` must be; None for anything.
            leeway: By how many seconds clocks may differ.
            roles_claim: Has the roles: a list, or a text with spaces between them.
            interval: Seconds between two looks at the file.
            clock: Gives the time in seconds since 1970.

        Raises:
            GuardError: The file can't be read or understood, or an algorithm is not one of these.
        """
        unknown = sorted(set(algorithms) - set(ALGORITHMS))
        if unknown or not algorithms:
            what = f"{unknown[0]!r} is not one" if unknown else "there is none"
            raise GuardError(f"the algorithms of tokens must be of {', '.join(ALGORITHMS)}, and {what}")
        self._file = WatchedFile(keys, parse_keys, interval=interval, clock=clock)
        self._algorithms = frozenset(algorithms)
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway
        self._roles_claim = roles_claim
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        # By digest: to check a signature costs far more than to find a token that was checked.
        self._checked: LRUCache[bytes, _Checked] = LRUCache(_TOKENS_KEPT)

    def identify(self, token: str) -> Identity | None:
        """Returns the subject of a token; None if it doesn't look like a JWT."""
        if token.count(".") != 2:
            return None
        keys = self._file.value()
        if keys is not self._keys:
            self._keys = keys
            self._checked.clear()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        checked = self._checked.get(digest)
        if checked is None:
            checked = self._check(token)
            self._checked[digest] = checked
        now = self._clock()
        if now >= checked.ends + self._leeway:
            raise unauthenticated("TOKEN_EXPIRED", "the token has expired")
        if now < checked.begins - self._leeway:
            raise unauthenticated("TOKEN_NOT_YET_VALID", "the token is not valid yet")
        return checked.identity

    def _check(self, token: str) -> _Checked:
        claims = self._claims(token)
        try:
            identity = checked_identity(claims["sub"], claims.get(self._roles_claim, []), "jwt")
            return _Checked(identity, _time(claims.get("nbf", 0)), _time(claims["exp"]))
        except ValueError as error:
            raise unauthenticated("TOKEN_INVALID", f"the token {error}") from None

    def _claims(self, token: str) -> dict[str, Any]:
        """Returns the claims of a token that one of the keys has signed."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            # The header is whatever somebody has sent: text that is no UTF-8, or JSON in a thousand brackets.
            raise unauthenticated("TOKEN_INVALID", "the token is not a JSON Web Token") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        # It may be any JSON, and so something that no set can be asked for.
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise unauthenticated("TOKEN_ALGORITHM", "the token is signed with an algorithm that is not allowed")
        for key in self._keys:
            if key.algorithm == algorithm and (kid is None or key.kid is None or key.kid == kid):
                try:
                    return jwt.decode(
                        token,
                        key.key,
                        algorithms=[key.algorithm],
                        audience=self._audience,
                        issuer=self._issuer,
                        options=_OPTIONS,
                    )
                except jwt.InvalidSignatureError:
                    continue
                except jwt.InvalidAudienceError:
                    raise unauthenticated("TOKEN_AUDIENCE", "the token is for another audience") from None
                except jwt.InvalidIssuerError:
                    raise unauthenticated("TOKEN_ISSUER", "the token is of another issuer") from None
                except jwt.MissingRequiredClaimError as error:
                    message = f"the token lacks the claim {error.claim!r}"
                    raise unauthenticated("TOKEN_INVALID", message) from None
                except jwt.PyJWTError:
                    raise unauthenticated("TOKEN_INVALID", "the token is not valid") from None
        raise unauthenticated("TOKEN_SIGNATURE", "the token is not signed with a key that is known here")


def _time(value: Any) -> float:
    # Comparable to any clock: not a NaN, and not an integer beyond all floats.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _END_OF_TIME:
        raise ValueError("has a time that is not a number of seconds")
    return float(value)
