"""How modules import each other, tried with real packages."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pygrpc.codegen.imports import ImportStyle

MODULES = ["imports_a.b.c_pb2", "imports_a.b.d_pb2", "imports_a.in.e_pb2", "imports_f_pb2", "imports_a.3d.g_pb2"]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with all of the modules, once below the top and once below a package."""
    for top in (tmp_path, tmp_path / "imports_app" / "protos"):
        for module in MODULES:
            path = top.joinpath(*module.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("imports_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("style", "package"),
    [
        (ImportStyle(), ""),
        (ImportStyle(MODULES), ""),
        (ImportStyle(MODULES, relative=True), "imports_app.protos"),
        (ImportStyle(MODULES, prefix="imports_app.protos"), "imports_app.protos"),
    ],
    ids=["by default", "absolute", "relative", "prefix"],
)
@pytest.mark.parametrize("importer", ["imports_a.b", "imports_a", "", "imports_h.i"])
@pytest.mark.usefixtures("tree")
def test_each_module_can_be_imported_from_anywhere(style: ImportStyle, package: str, importer: str) -> None:
    inside = {"__package__": ".".join(filter(None, [package, importer])), "importlib": importlib}
    for module in MODULES:
        statement = style.statement(module, importer, "alias")
        assert (statement is None) is (".in." in module or ".3d." in module)
        for text in filter(None, [statement, f"alias = {style.call(module, importer)}"]):
            scope = dict(inside)
            if package and importer == "imports_h.i":
                importlib.import_module(package)
            exec(text, scope)
            assert scope["alias"].__name__ == ".".join(filter(None, [package, module])), text


def test_modules_of_others_stay_where_they_are() -> None:
    for style in (ImportStyle(MODULES, relative=True), ImportStyle(MODULES, prefix="app")):
        statement = style.statement("google.protobuf.empty_pb2", "imports_a.b", "empty")
        assert statement == "from google.protobuf import empty_pb2 as empty"


def test_which_styles_move_modules() -> None:
    assert not ImportStyle(MODULES).moves
    assert ImportStyle(relative=True).moves
    assert ImportStyle(prefix="app").moves
