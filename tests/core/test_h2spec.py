"""h2spec's cases on both engines; where h2 does something else than RFC 9113 has it, the case says what."""

from __future__ import annotations

import pytest

from tests.core.h2spec import frames, generic, messages, streams
from tests.core.h2spec.harness import Case, run

CASES = [*generic.CASES, *streams.CASES, *frames.CASES, *messages.CASES]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_h2spec(case: Case, each_engine: str) -> None:
    expected = case.h2 if each_engine == "h2" and case.h2 is not None else case.expected
    assert run(case) == expected


def test_names_tell_the_cases_apart() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
