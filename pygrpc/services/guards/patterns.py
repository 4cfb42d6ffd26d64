"""Tables that say something of methods."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

from pygrpc.services.guards.calls import GuardError

T = TypeVar("T")

_PATTERN = re.compile(r"\*|/[\w.]+/(\*|\w+)", re.ASCII)


class MethodTable(Generic[T]):
    """What is said of a method, of all methods of a service, or of all methods: the most exact rule counts.

    The patterns are `/package.Service/Method`, `/package.Service/*` and `*`.
    """

    def __init__(self, rules: Mapping[str, T]) -> None:
        """Sorts the rules.

        Raises:
            GuardError: A pattern has another form.
        """
        for pattern in rules:
            if not _PATTERN.fullmatch(pattern):
                raise GuardError(f"{pattern!r} names no method: write /package.Service/Method, /package.Service/* or *")
        self._methods = {pattern: rule for pattern, rule in rules.items() if not pattern.endswith("*")}
        self._services = {pattern[:-1]: rule for pattern, rule in rules.items() if pattern.endswith("/*")}
        self._others = rules.get("*")

    def get(self, method: str) -> T | None:
        """Returns what is said of a method, None if nothing is."""
        rule = self._methods.get(method)
        if rule is None and self._services:
            rule = self._services.get(method[: method.rfind("/") + 1])
        return self._others if rule is None else rule
