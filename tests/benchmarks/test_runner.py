"""The runner: rounds and failures with measurements that are made up, and real ones that are tiny."""

import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import certificates, h2load, runner
from benchmarks.implementations import IMPLEMENTATIONS, Implementation
from benchmarks.publish import MARKER, PAGE
from benchmarks.runner import Failed, Sample, measure, reason_to_leave_out, run
from benchmarks.scenarios import Scenario
from benchmarks.work import Work, WrongReply
from tests.benchmarks.fakes import cell, sample


def ignore(line: str) -> None:
    """Progress is not looked at."""


async def test_a_round_measures_each_cell_once_and_keeps_scenarios_together() -> None:
    cells = [cell(name, who) for name in ("upload", "sequential") for who in ("pygrpc.aio", "grpc.aio", "grpclib")]
    seen: list[tuple[str, str]] = []

    async def fake(scenario: Scenario, implementation: Implementation, seconds: float) -> Sample:
        seen.append((scenario.name, implementation.name))
        return sample(seconds)

    results = await run(cells, 4, 0.5, ignore, fake)
    rounds = [seen[start : start + 6] for start in range(0, 24, 6)]
    for each in rounds:
        assert [name for name, _ in each] == ["upload"] * 3 + ["sequential"] * 3
        assert set(each) == {(scenario.name, implementation.name) for scenario, implementation in cells}
    assert len({tuple(each) for each in rounds}) > 1
    assert [result.samples for result in results.values()] == [[sample(0.5)] * 4] * 6
    assert list(results) == cells


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Failed("server: no"), "server: no"), (WrongReply("no"), "no"), (OSError("no room"), "OSError: no room")],
)
async def test_a_cell_that_fails_is_not_tried_again_and_the_others_go_on(error: Exception, reason: str) -> None:
    good, bad = cell("upload", "grpc.aio"), cell("upload", "pygrpc.aio")
    tried: list[str] = []

    async def fake(scenario: Scenario, implementation: Implementation, seconds: float) -> Sample:
        tried.append(implementation.name)
        if implementation == bad[1] and tried.count(implementation.name) == 2:
            raise error
        return sample()

    results = await run([good, bad], 3, 0.5, ignore, fake)
    assert results[bad].failed == reason
    assert (len(results[good].samples), tried.count("pygrpc.aio")) == (3, 2)


async def test_what_is_left_out_is_not_tried() -> None:
    left_out = cell("h2load", "raw asyncio")

    async def fake(scenario: Scenario, implementation: Implementation, seconds: float) -> Sample:
        raise AssertionError("it was tried")

    results = await run([left_out], 1, 0.5, ignore, fake)
    assert results[left_out].left_out == "it speaks no HTTP/2"


def test_reasons_to_leave_something_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "file_limit", lambda: 256)
    assert reason_to_leave_out(*cell("sequential", "pygrpc.aio")) is None
    reason = reason_to_leave_out(*cell("connections=2000", "pygrpc.aio"))
    assert reason == "it needs 2,100 open files, and this user may have 256 (ulimit -Hn)"
    monkeypatch.setattr(h2load, "installed", lambda: False)
    reason = reason_to_leave_out(*cell("h2load", "pygrpc.aio"))
    assert reason is not None
    assert reason.startswith("h2load is not installed")
    monkeypatch.setattr(certificates, "installed", lambda: False)
    reason = reason_to_leave_out(*cell("sequential+tls", "pygrpc.aio"))
    assert reason == "trustme, which makes the certificates, is not installed"


def test_a_peer_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.implementations.find_spec", lambda name: None if name == "grpc" else object())
    assert reason_to_leave_out(*cell("sequential", "grpcio client, pygrpc server")) == "grpcio is not installed"
    assert reason_to_leave_out(*cell("sequential", "pygrpc")) is None


DRESSED = Work(tls=True, interceptors=True, timeout=20.0, metadata=100)
TINY = [
    *((who, DRESSED) for who in ("pygrpc.aio", "pygrpc", "grpc.aio", "grpcio", "grpclib")),
    *((who, Work(tls=True, lanes=2)) for who in ("raw asyncio", "raw sockets")),
    *((who, Work("download", messages=3)) for who in ("pygrpc.aio", "raw asyncio", "raw sockets")),
    *((who, Work("upload", messages=3, size=5000)) for who in ("pygrpc", "raw asyncio", "raw sockets")),
    ("grpclib", Work("hold", lanes=2, connections=2)),
    ("pygrpc.aio", Work("hold", lanes=2, connections=2)),
    ("grpc.aio", Work("idle", connections=3)),
    ("pygrpc.aio", Work("latency", lanes=2)),
    ("raw asyncio", Work("latency", lanes=2, pace=5000.0)),
    ("pygrpc.aio client, grpc.aio server", Work(size=0)),
]


@pytest.mark.parametrize(("who", "work"), TINY, ids=[f"{who} {work.call}" for who, work in TINY])
async def test_a_tiny_measurement(who: str, work: Work) -> None:
    scenario = Scenario("tiny", "Tiny", work, (who,))
    with certificates.provided():
        found = await measure(scenario, IMPLEMENTATIONS[who], 0.02)
    assert {"server_cpu", "client_cpu", "server_peak", "client_peak", "server_growth", "client_growth"} <= set(found)
    assert found["server_peak"] > 2**20
    assert found["client_cpu"] >= 0
    assert ("server_each" in found) == (work.call in ("idle", "hold"))
    assert ("offered" in found) == (work.call == "latency")
    if work.pace is not None:
        assert found["offered"] == work.pace
    assert (found.get("rate", 0) > 0) == (work.call not in ("idle", "hold"))


@pytest.mark.skipif(not h2load.installed(), reason="h2load is not installed")
async def test_a_tiny_measurement_under_h2load() -> None:
    work = Work("h2load", lanes=2, connections=2, tls=True, timeout=20.0, metadata=100)
    with certificates.provided():
        found = await measure(Scenario("tiny", "Tiny", work, ()), IMPLEMENTATIONS["pygrpc.aio"], 0.001)
    assert found["rate"] > 0
    assert found["server_cpu"] >= 0


async def test_the_failure_of_a_process_says_which_one_and_why() -> None:
    # grpclib's server refuses the work: there are no certificates.
    with pytest.raises(Failed, match="server: KeyError: 'PYGRPC_BENCHMARKS_CERTIFICATES'"):
        await measure(Scenario("tiny", "Tiny", Work(tls=True), ()), IMPLEMENTATIONS["grpclib"], 0.02)


def test_the_command_measures_reports_and_publishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / PAGE).write_text(f"{MARKER}\n")
    arguments = [
        "--only",
        "sequential/raw asyncio",
        "--only",
        "h2load/raw asyncio",
        "--rounds",
        "1",
        "--seconds",
        "0.02",
    ]
    arguments += ["--publish", str(tmp_path), "--json", str(tmp_path / "all.json")]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    assert command.main() == 0
    shown = capsys.readouterr().out
    page = (tmp_path / PAGE).read_text()
    for text in (shown, page):
        assert "### sequential: Sequential unary" in text
        assert "left out: it speaks no HTTP/2" in text
        assert "The run took" in text
    assert (tmp_path / "all.json").read_text() == (tmp_path / "benchmarks/figures.json").read_text()


def test_a_failure_of_pygrpc_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fails(scenario: Scenario, implementation: Implementation, seconds: float) -> Sample:
        raise Failed(f"{implementation.name} is out of order")

    ours, peer = "upload/pygrpc.aio", "upload/grpclib"
    real = command.run
    monkeypatch.setattr(command, "run", lambda cells, rounds, seconds, progress: real(cells, 1, 1, progress, fails))
    for only, status in ((ours, 1), (peer, 0)):
        monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", only])
        assert command.main() == status
        assert f"failed: {only.partition('/')[2]} is out of order" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--only", "grpcoi"], "nothing is called 'grpcoi'"),
        (["--rounds", "0"], "must be positive"),
        (["--publish", "nowhere"], "to write the results to"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    arguments: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit):
        command.main()
    assert complaint in capsys.readouterr().err
