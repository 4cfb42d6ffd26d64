"""The project in data/shop under mypy --strict: what is right passes, and each mistake is found.

The types of results are asserted in the programs themselves, with ``assert_type``.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pygrpc.codegen import Parameters, generate_files
from tests.source_tree import ROOT

DATA = Path(__file__).parent / "data"
SHOP_PROTOS = ["shop/v1/money.proto", "shop/v1/shop.proto"]
PROGRAMS = ["right_sync.py", "right_aio.py", "wrong.py"]


def has_types_of_grpc() -> bool:
    """Tells whether the type stubs of grpcio are there, which grpcio itself does not bring."""
    try:
        importlib.metadata.version("types-grpcio")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


LIBRARIES = [
    "pygrpc",
    pytest.param("grpc", marks=pytest.mark.skipif(not has_types_of_grpc(), reason="types-grpcio is not installed")),
]


def mypy(folder: Path, *targets: str) -> list[str]:
    """Runs mypy on a project and returns the lines that it prints."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent", "--no-pretty"]
    command += ["--no-error-summary", "--hide-error-context", "--cache-dir", str(folder / ".mypy_cache"), *targets]
    # The library is found as its users find it, but nothing else is to be taken from the folder of the tests.
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, timeout=240, check=False, env=environment
    )
    assert result.stderr == ""
    return result.stdout.splitlines()


def errors(lines: list[str]) -> set[tuple[str, int, str]]:
    """Extracts file, line and code of each error."""
    found = set()
    for line in lines:
        if ": error: " in line:
            match = re.fullmatch(r"(?P<file>[^:]+):(?P<line>\d+): error: .*  \[(?P<code>[\w-]+)\]", line)
            assert match, line
            found.add((match["file"], int(match["line"]), match["code"]))
    return found


def expected_errors(path: Path) -> set[tuple[str, int, str]]:
    """Reads the comments of a program that announce errors."""
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    return {(path.name, number, match[1]) for number, line in lines if (match := re.search(r"  # E: ([\w-]+)$", line))}


def on_library(program: str, library: str) -> str:
    """Makes a program that is written for grpc import what is to stand in for it."""
    if library == "grpc":
        return program
    return re.sub(
        r"(?m)^import grpc\n(import grpc\.aio\n)?|^import grpc\.aio\n", f"import {library} as grpc\n", program
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    return tmp_path


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    "parameters",
    [Parameters(relative_imports=True), Parameters(import_prefix="app.protos")],
    ids=["relative", "prefix"],
)
def test_the_shop(project: Path, library: str, parameters: Parameters) -> None:
    parameters = Parameters(parameters.relative_imports, parameters.import_prefix, grpc_module=library)
    generate_files(SHOP_PROTOS, [DATA / "shop" / "protos"], project / "app" / "protos", parameters)
    expected = set()
    for name in PROGRAMS:
        text = (DATA / "shop" / name).read_text(encoding="utf-8")
        (project / name).write_text(on_library(text, library), encoding="utf-8")
        expected |= expected_errors(project / name)
    assert len(expected) == 28
    lines = mypy(project, ".")
    assert errors(lines) == expected, "\n".join(lines)


@pytest.mark.parametrize("library", LIBRARIES)
def test_names_that_are_keywords(project: Path, library: str) -> None:
    awkward = DATA / "awkward"
    protos = sorted(path.relative_to(awkward).as_posix() for path in awkward.rglob("*.proto"))
    out = project / "app" / "protos"
    generate_files(protos, [awkward], out, Parameters(relative_imports=True, grpc_module=library))
    shutil.copy(DATA / "awkward" / "use.py", project)
    # mypy takes no file from a package that is called like a keyword; what imports from there has Any for its types.
    modules = [path for path in out.rglob("*.pyi") if "in" not in path.relative_to(out).parts]
    assert len(modules) == 12
    assert mypy(project, "use.py", *(str(path.relative_to(project)) for path in modules)) == []
