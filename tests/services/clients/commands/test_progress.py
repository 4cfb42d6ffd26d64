"""The bar that shows how far a transfer is."""

from __future__ import annotations

import io

import pytest

from pygrpc.services.clients.commands.progress import ProgressBar, size_in_words


class Screen(io.StringIO):
    """A terminal, or none."""

    def __init__(self, terminal: bool = True) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def states(self) -> list[str]:
        return [each.removesuffix("\x1b[K") for each in self.getvalue().rstrip("\n").split("\r")[1:]]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_a_transfer() -> None:
    screen, clock = Screen(), Clock()
    with ProgressBar("data.bin", screen, clock) as bar:
        for step in range(5):
            bar.update(step << 18, 1 << 20)
            clock.now += 1
            assert bar.percent == 25 * step
    states = screen.states()
    assert states[0] == f"data.bin   0 % [{' ' * 40}] 0 B of 1.0 MiB, 0 B/s"
    assert states[2] == f"data.bin  50 % [{'#' * 16}{' ' * 16}] 512 KiB of 1.0 MiB, 256 KiB/s"
    assert states[-1].startswith("data.bin 100 % [####")
    assert {len(each) for each in states} == {79}
    assert screen.getvalue().endswith("\n")


def test_what_was_there_before_counts_for_no_speed() -> None:
    screen, clock = Screen(), Clock()
    with ProgressBar("data.bin", screen, clock) as bar:
        bar.update(900, 1000)
        clock.now += 1
        bar.update(1000, 1000)
    assert screen.states()[-1].endswith("1000 B of 1000 B, 100 B/s")


def test_it_is_not_written_too_often() -> None:
    screen, clock = Screen(), Clock()
    with ProgressBar("data.bin", screen, clock) as bar:
        for step in range(1000):
            clock.now += 0.001
            bar.update(step, 1000)
    assert len(screen.states()) <= 12


def test_no_terminal_no_bar() -> None:
    screen = Screen(terminal=False)
    with ProgressBar("data.bin", screen) as bar:
        bar.update(1, 2)
        assert bar.percent == 50
    assert screen.getvalue() == ""


def test_nothing_is_written_before_it_begins() -> None:
    screen = Screen()
    with ProgressBar("data.bin", screen):
        pass
    assert screen.getvalue() == ""


def test_an_empty_file_and_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    screen = Screen()
    with ProgressBar("x" * 40 + "\n", screen) as bar:
        bar.update(0, 0)
        assert bar.percent == 0
    assert screen.states()[-1] == "x" * 23 + "… 100 %  0 B of 0 B, 0 B/s"


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (102_400, "100 KiB"),
        (5 << 30, "5.0 GiB"),
        (1 << 60, "1048576 TiB"),
    ],
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert size_in_words(size) == words
