"""Bearer tokens: what every kind of them has in common, and the kind that stands in a list."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc import StatusCode
from pygrpc.services.errors import RequestError
from pygrpc.services.guards.calls import DOMAIN, GuardError, Identity
from pygrpc.services.guards.watched import WatchedFile

#: The longest name of a caller, in characters.
NAME_LENGTH = 256
_ROLE_LENGTH = 128
_MOST_ROLES = 64
_FEWEST_CHARACTERS = 16


class Tokens(Protocol):
    """Knows the callers behind bearer tokens."""

    def identify(self, token: str) -> Identity | None:
        """Returns who has a token; None if the token is not of this kind.

        Raises:
            RequestError: UNAUTHENTICATED; the token is of this kind, and not valid.
        """


def unauthenticated(reason: str, message: str) -> RequestError:
    """Returns the error of a call whose caller is not known.

    Args:
        reason: For programs: "TOKEN_EXPIRED".
        message: For people.
    """
    return RequestError(StatusCode.UNAUTHENTICATED, message, ErrorInfo(reason=reason, domain=DOMAIN))


class StaticTokens:
    """Tokens that stand in a list; only their SHA-256 is kept."""

    def __init__(self, tokens: Mapping[str, Identity]) -> None:
        """Makes the list.

        Args:
            tokens: Who has which token.

        Raises:
            GuardError: A token is so short that it could be guessed.
        """
        if any(len(token) < _FEWEST_CHARACTERS for token in tokens):
            raise GuardError(f"a token must have {_FEWEST_CHARACTERS} characters or more")
        listed = tuple((_digest(token), identity) for token, identity in tokens.items())
        self._listed: Callable[[], tuple[tuple[bytes, Identity], ...]] = lambda: listed

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, interval: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> StaticTokens:
        """Reads the list from a JSON file, and again when the file changes.

        The file is a list of objects with `sha256` (the hexadecimal digest of a token), `name` and `roles`.

        Args:
            path: Of the file.
            interval: Seconds between two looks at it.
            clock: Gives the time in seconds.

        Raises:
            GuardError: The file can't be read or understood.
        """
        made = cls({})
        made._listed = WatchedFile(path, _parsed, interval=interval, clock=clock).value
        return made

    def identify(self, token: str) -> Identity | None:
        """Returns who has a token; takes as long for one as for another."""
        digest = _digest(token)
        found = None
        for known, identity in self._listed():
            if hmac.compare_digest(known, digest):
                found = identity
        return found


def checked_identity(name: Any, roles: Any, kind: str) -> Identity:
    """Makes an identity of what a file or a token says.

    Args:
        name: Must be a text of 1 to 256 printable characters.
        roles: Must be a list of such texts, or one text with spaces between roles, as OAuth's scopes are.
        kind: See `Identity`.

    Raises:
        ValueError: They are not so; the text is the end of a sentence.
    """
    if not isinstance(name, str) or not _is_name(name, NAME_LENGTH):
        raise ValueError(f"has a name that is not 1 to {NAME_LENGTH} printable characters")
    if isinstance(roles, str):
        roles = roles.split()
    if not isinstance(roles, list) or len(roles) > _MOST_ROLES:
        raise ValueError(f"has roles that are not a list of {_MOST_ROLES} at most")
    if not all(isinstance(role, str) and _is_name(role, _ROLE_LENGTH) for role in roles):
        raise ValueError(f"has a role that is not 1 to {_ROLE_LENGTH} printable characters")
    return Identity(name, frozenset(roles), kind)


def _is_name(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and text.isprintable()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _parsed(content: bytes) -> tuple[tuple[bytes, Identity], ...]:
    try:
        entries = json.loads(content)
    except ValueError:
        raise ValueError("is not JSON") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("is not a list of objects")
    return tuple(_entry(entry) for entry in entries)


def _entry(entry: dict[str, Any]) -> tuple[bytes, Identity]:
    try:
        digest = bytes.fromhex(entry.get("sha256", ""))
    except (TypeError, ValueError):
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError("has an entry whose sha256 is not a digest of 64 hexadecimal digits")
    return digest, checked_identity(entry.get("name"), entry.get("roles", []), "token")
