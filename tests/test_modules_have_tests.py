"""Each module of pygrpc is imported by a test, so that none goes without."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from tests import source_tree


def has_logic(path: Path) -> bool:
    """Tells whether a module does more than import, document and name things."""
    plain = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    return not all(isinstance(node, plain) for node in ast.parse(path.read_text(encoding="utf-8")).body)


@functools.cache
def imported_by_tests() -> set[str]:
    """Returns all that the files below tests/ import."""
    found: set[str] = set()
    for path in source_tree.modules("tests").values():
        found |= source_tree.imports(path)
    return found


#: Packages whose modules are tested by behaviour, through the public names of the package.
BY_BEHAVIOUR = ("pygrpc.aio", "pygrpc.sync", "pygrpc.experimental", "pygrpc._cython", "pygrpc._framework")
#: The abstract classes, which tests/test_parity.py compares with those of grpcio as the names of pygrpc.
ABSTRACT = {"pygrpc.interfaces", "pygrpc.call_interfaces", "pygrpc.interceptor_interfaces"}


def is_tested(module: str, imported: set[str]) -> bool:
    """Tells whether tests import a module; a private one is tested through its package."""
    package, _, name = module.rpartition(".")
    if module in imported or module in ABSTRACT or (name.startswith("_") and package in imported):
        return True
    return any(f"{module}.".startswith(f"{each}.") and imported & {each, "pygrpc"} for each in BY_BEHAVIOUR)


@pytest.mark.parametrize(
    "module",
    [module for module, path in source_tree.modules("pygrpc").items() if path.name != "__init__.py" or has_logic(path)],
)
def test_a_module_is_imported_by_a_test(module: str) -> None:
    assert is_tested(module, imported_by_tests()), (
        f"{module} is imported by no file below tests/: add a test file for it, which imports it."
    )


def test_a_module_without_a_test_is_found() -> None:
    assert not is_tested("pygrpc.core.call", {"pygrpc.core", "pygrpc.core.call_state"})
    assert not is_tested("pygrpc.wire._proxy", {"pygrpc"})
    assert not is_tested("pygrpc.aio.channel", {"pygrpc.wire"})


def test_a_module_with_a_test_is_not_reported() -> None:
    assert is_tested("pygrpc.core.call", {"pygrpc.core.call"})
    assert is_tested("pygrpc.aio.channel", {"pygrpc.aio"})
    assert is_tested("pygrpc.wire._proxy", {"pygrpc.wire"})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""Text."""\nfrom a import b\n__all__ = ["b"]\nVERSION: str = "1"\n', False),
        ("def f(): ...\n", True),
        ("if True:\n    import a\n", True),
    ],
)
def test_logic_is_told_from_names(tmp_path: Path, source: str, expected: bool) -> None:
    path = tmp_path / "__init__.py"
    path.write_text(source, encoding="utf-8")
    assert has_logic(path) is expected
