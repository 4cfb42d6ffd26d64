"""Tables of methods."""

from __future__ import annotations

import pytest

from pygrpc.services.guards import GuardError
from pygrpc.services.guards.patterns import MethodTable

RULES = {"/a.B/C": 1, "/a.B/*": 2, "*": 3, "/a.Z/C": 0}


@pytest.mark.parametrize(
    ("method", "rule"), [("/a.B/C", 1), ("/a.B/D", 2), ("/a.C/C", 3), ("/a.Z/C", 0), ("", 3), ("/", 3), ("a.B/C", 3)]
)
def test_the_most_exact_rule_counts(method: str, rule: int) -> None:
    assert MethodTable(RULES).get(method) == rule


@pytest.mark.parametrize("method", ["/a.B/D", "/a.BC/C", "/x/a.B/C", "", "*"])
def test_without_a_rule_nothing_is_said(method: str) -> None:
    assert MethodTable({"/a.B/C": 1, "/x.Y/*": 2}).get(method) is None


@pytest.mark.parametrize("pattern", ["a.B/C", "/a.B", "/a.*/C", "/a.B/C*", "/a.*", "", "**", "/a.B/C\n", "/*"])
def test_other_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(GuardError, match="names no method"):
        MethodTable({pattern: 1})
