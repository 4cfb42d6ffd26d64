"""Files that change while the server runs."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from pygrpc.services.guards import GuardError
from pygrpc.services.guards.watched import WatchedFile
from tests.services.guards.support import Clock


def parse(content: bytes) -> str:
    text = content.decode()
    if "broken" in text:
        raise ValueError("is broken")
    return text


def replace(path: Path, text: str) -> None:
    """Puts another file in the place of one, as tools that rotate keys do."""
    other = path.with_suffix(".new")
    other.write_text(text)
    os.replace(other, path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("one")
    return path


def test_a_new_version_is_read_when_it_is_time_to_look(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    file = WatchedFile(path, parse, interval=5, clock=clock)
    replace(path, "two")
    clock.now = 4.9
    assert file.value() == "one"
    clock.now = 5
    assert file.value() == "two"
    assert caplog.messages == [f"{path} has changed and was read again"]


def test_a_file_that_stays_is_not_read_again(path: Path) -> None:
    clock = Clock()
    read: list[bytes] = []
    file = WatchedFile(path, read.append, clock=clock)
    for clock.now in range(10):
        file.value()
    assert read == [b"one"]


def test_a_broken_version_changes_nothing_and_is_logged_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    file = WatchedFile(path, parse, clock=clock)
    replace(path, "broken")
    for clock.now in range(10):
        assert file.value() == "one"
    assert caplog.messages == [f"{path} is broken; what it said before still counts"]
    replace(path, "three")
    clock.now += 1
    assert file.value() == "three"


def test_a_file_that_goes_away_changes_nothing_and_is_logged_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    file = WatchedFile(path, parse, clock=clock)
    path.unlink()
    for clock.now in range(10):
        assert file.value() == "one"
    assert caplog.messages == [f"{path} cannot be read: No such file or directory; what it said before still counts"]
    replace(path, "two")
    clock.now += 1
    assert file.value() == "two"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("broken", "is broken"), ("x" * (1 << 20) + "x", "is larger than 1048576 bytes")],
    ids=["broken", "large"],
)
def test_a_file_that_is_no_use_from_the_start(path: Path, text: str, sentence: str) -> None:
    path.write_text(text)
    with pytest.raises(GuardError, match=f"^{path} {sentence}$"):
        WatchedFile(path, parse)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match="none cannot be read: No such file or directory"):
        WatchedFile(tmp_path / "none", parse)
