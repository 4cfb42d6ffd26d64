"""What worker processes share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pygrpc.services.serving import processes

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def test_processes_are_counted_together_in_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with processes.counted_together():
        folder = Path(os.environ[VARIABLE])
        assert folder.is_dir()
    assert VARIABLE not in os.environ
    assert not folder.exists()


def test_a_folder_that_is_given_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with processes.counted_together():
        assert os.environ[VARIABLE] == str(tmp_path)
    assert tmp_path.is_dir()


def test_what_the_dead_have_counted_as_going_on_is_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    processes.forget_the_dead()
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    files = [f"gauge_livesum_{dead.pid}.db", f"gauge_livesum_{os.getpid()}.db", f"counter_{dead.pid}.db", "x.db"]
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    processes.forget_the_dead()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files[1:])


def test_this_process_is_no_worker() -> None:
    assert not processes.is_first_worker()
