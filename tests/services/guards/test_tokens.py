"""Tokens in a list."""

from __future__ import annotations

import gc
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pygrpc.services.errors import RequestError
from pygrpc.services.guards import GuardError, Identity, StaticTokens
from pygrpc.services.guards.tokens import checked_identity, unauthenticated
from tests.services.guards.support import Clock

ANN = Identity("ann", frozenset({"admin"}))
BOB = Identity("bob")
TOKENS = {"a-token-of-ann-0123": ANN, "a-token-of-bob-0123": BOB}


def test_tokens_are_known() -> None:
    tokens = StaticTokens(TOKENS)
    assert tokens.identify("a-token-of-ann-0123") is ANN
    assert tokens.identify("a-token-of-bob-0123") is BOB
    for other in ("", "a-token-of-ann-012", "a-token-of-ann-01234", "A-token-of-ann-0123", "\udc80"):
        assert tokens.identify(other) is None


def test_tokens_are_not_kept_as_they_are() -> None:
    secret = "".join(["a-token-", "that-nobody-", "keeps"])
    tokens = StaticTokens({secret: ANN})
    kept = repr([each for each in gc.get_referents(tokens._listed) if "keeps" in repr(each)])
    assert kept == "[]"


def test_a_token_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(GuardError, match="16 characters or more") as caught:
        StaticTokens({"short": ANN})
    assert "short" not in str(caught.value)


def entry(token: str, name: Any = "ann", roles: Any = ("admin",)) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(token.encode()).hexdigest(), "name": name, "roles": roles}


def test_a_file_of_tokens_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps([entry("one")]))
    clock = Clock()
    tokens = StaticTokens.from_file(path, interval=1, clock=clock)
    assert (tokens.identify("one"), tokens.identify("two")) == (ANN, None)
    path.write_text(json.dumps([entry("one"), {**entry("two", "bob"), "roles": "a b"}]))
    clock.now = 1
    assert tokens.identify("two") == Identity("bob", frozenset({"a", "b"}))
    path.write_text("[]")
    clock.now = 2
    assert tokens.identify("one") is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ("{}", "is not a list of objects"),
        ("[1]", "is not a list of objects"),
        ('[{"sha256": "00", "name": "ann"}]', "has an entry whose sha256"),
        ('[{"sha256": 1, "name": "ann"}]', "has an entry whose sha256"),
        ('[{"name": "ann"}]', "has an entry whose sha256"),
        (json.dumps([entry("one", "")]), "has a name that"),
    ],
)
def test_a_file_that_is_no_list_of_tokens(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(content)
    with pytest.raises(GuardError, match=sentence):
        StaticTokens.from_file(path)


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("", []),
        (None, []),
        ("a\nb", []),
        ("x" * 257, []),
        ("ann", None),
        ("ann", [1]),
        ("ann", [""]),
        ("ann", ["a\n"]),
        ("ann", ["x" * 129]),
        ("ann", ["a"] * 65),
        ("ann", {"a": 1}),
    ],
)
def test_names_and_roles_have_bounds(name: Any, roles: Any) -> None:
    with pytest.raises(ValueError, match=r"^has "):
        checked_identity(name, roles, "jwt")


def test_an_error_says_why_for_programs() -> None:
    error = unauthenticated("TOKEN_EXPIRED", "the token has expired")
    assert isinstance(error, RequestError)
    [info] = error.details
    assert (info.reason, info.domain) == ("TOKEN_EXPIRED", "pygrpc.services.guards")  # type: ignore[attr-defined]
