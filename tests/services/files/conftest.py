"""Where the files of a test are."""

from __future__ import annotations

from pathlib import Path

import grpc.aio
import pytest

from tests.services.files.support import Place


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty storage of each kind, with a catalog."""
    if request.param == "folder":
        return Place(tmp_path / "files")
    return Place(request.getfixturevalue("s3"), str(tmp_path / "catalog.db"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Takes out the tests of S3 with a client of grpcio: what a client can see of it, it sees of a folder."""
    items[:] = [item for item in items if not {"s3", grpc.aio} <= _parameters(item)]


def _parameters(item: pytest.Item) -> set[object]:
    callspec = getattr(item, "callspec", None)
    return set() if callspec is None else {callspec.params.get("place"), callspec.params.get("client_aio")}
