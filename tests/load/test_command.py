"""``pygrpc load``, as it is run from a shell."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pygrpc.cli import COMMANDS
from pygrpc.cli.commands import main as pygrpc
from pygrpc.load import plot
from pygrpc.load.command import main
from tests.load.servers import SERVICE, serving, silent_server
from tests.source_tree import ROOT
from tests.tls import certificates

BOUND = 20.0
UNARY = f"{SERVICE}/UnaryCall"


@pytest.mark.parametrize("api", ["pygrpc", "grpc"])
def test_a_report_as_text(api: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(api) as (target, service):
        assert pygrpc(["load", target, UNARY, "-n", "30", "-c", "3", "-d", '{"response_size": 7}']) == 0
        assert len(service.requests) == 30
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{UNARY} on {target}: 3 calls in flight at most on 1 connection, ")
    assert "OK                           30" in captured.out and captured.err == ""


@pytest.mark.parametrize("source", ["reflection", "protos", "descriptor set"])
def test_a_report_as_json(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {
        "reflection": [],
        "protos": ["--proto", "grpc/testing/test.proto", "-I", str(ROOT / "protos")],
        "descriptor set": ["--descriptor-set", str(tmp_path / "set")],
    }[source]
    if source == "descriptor set":
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "protos"), "--include_imports"]
        command += [f"--descriptor_set_out={tmp_path / 'set'}", "grpc/testing/test.proto"]
        subprocess.run(command, check=True, timeout=60)
    data = tmp_path / "requests.json"
    data.write_text('{"payload": {"body": "AAAA"}}\n{"payload": {"body": "BBBB"}}', encoding="utf-8")
    with serving("pygrpc", "v1" if source == "reflection" else "") as (target, service):
        more = ["-n", "5", "-H", "x-key: value", "-d", f"@{data}", "--json", "--processes", "2"]
        assert main([target, f"{SERVICE}/FullDuplexCall", *arguments, *more]) == 0
        assert set(service.metadata) == {("x-key", "value")}
    report = json.loads(capsys.readouterr().out)
    assert (report["calls"], report["connections"], report["concurrency"]) == (5, 2, 10)
    assert report["messages"] == {"sent": 10, "received": 10}


def test_a_plot(tmp_path: Path) -> None:
    with serving() as (target, _):
        assert main([target, UNARY, "-n", "5", "--plot", str(tmp_path / "plot.svg")]) == 0
    assert "5 calls" in (tmp_path / "plot.svg").read_text(encoding="utf-8")


def test_no_call_that_was_ok(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as (target, _):
        data = '{"response_status": {"code": 5, "message": "nobody"}}'
        assert main([target, UNARY, "-n", "5", "-d", data]) == 1
    assert "'nobody'" in capsys.readouterr().out


def sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Runs the command, which has to fail with one sentence."""
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err.removeprefix("pygrpc load: ").strip()


def test_one_sentence_where_something_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protos = ["--proto", "grpc/testing/test.proto", "-I", str(ROOT / "protos")]
    with serving() as (target, _):
        assert sentence([target, f"{UNARY}s"], capsys).endswith(f"did you mean {UNARY}?")
        assert 'no field named "size"' in sentence([target, UNARY, "-d", '{"size": 1}'], capsys)
        assert "response_size" in sentence([target, UNARY, "-d", '{"response_size": "x"}'], capsys)
        assert "is no JSON" in sentence([target, UNARY, "-d", "{"], capsys)
        assert "No such file" in sentence([target, UNARY, "-d", "@/no/such/file"], capsys)
        assert "there is no folder" in sentence([target, UNARY, "--plot", "/no/such/folder/plot.svg"], capsys)
    assert f"{target} can't be reached" in sentence([target, UNARY], capsys)
    assert f"{target} can't be reached" in sentence([target, UNARY, *protos], capsys)
    assert f"{target} can't be reached" in sentence([target, UNARY, *protos, "--processes", "2"], capsys)
    assert "No such file" in sentence([target, UNARY, "--descriptor-set", str(tmp_path / "none")], capsys)
    assert "No such file" in sentence([target, UNARY, "--ca", str(tmp_path / "none")], capsys)


def test_a_plot_without_matplotlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    assert "matplotlib" in sentence(["host:1", UNARY, "--plot", "x.svg"], capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-c", "0"], "'0' is not above zero"),
        (["--cert", "x"], "--cert and --key belong together"),
        (["--proto", "x", "--descriptor-set", "y"], "exclude each other"),
        (["-c", "2", "--processes", "3"], "3 processes can't share 2 calls in flight"),
        (["-c", "2", "--connections", "3"], "no more than the calls in flight"),
        (["--processes", "3", "--connections", "2"], "at least the number of processes"),
        (["--rate", "fast"], "invalid float value: 'fast'"),
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["host:1", UNARY, *arguments])
    assert said in capsys.readouterr().err


def test_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in {
        "ca": certificates.roots(),
        "cert": certificates.client().chain,
        "key": certificates.client().key,
    }.items():
        (tmp_path / name).write_bytes(content)
    files = [f"--{name}={tmp_path / name}" for name in ("ca", "cert", "key")]
    with serving() as (target, _):
        # A server without TLS: what the certificates are for is checked in test_calls.py.
        assert "can't be reached" in sentence([target, UNARY, *files, "--server-name", "localhost"], capsys)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pygrpc.cli", "load", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_reports_what_there_is(processes: str) -> None:
    with serving() as (target, service):
        service.open.clear()
        command = start(target, UNARY, "-c", "4", "--duration", "1h", "--json", "--processes", processes)
        for _ in range(4):
            assert service.called.acquire(timeout=BOUND)
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=BOUND)
    assert (command.returncode, err) == (130, b"")
    report: dict[str, Any] = json.loads(out)
    assert (report["interrupted"], report["unfinished"], report["calls"]) == (True, 4, 0)


async def test_ctrl_c_before_the_server_has_answered() -> None:
    async with silent_server() as (host, port, connected):
        command = start(f"{host}:{port}", UNARY)
        await connected.wait()
        command.send_signal(signal.SIGINT)
        out, err = await asyncio.to_thread(command.communicate, timeout=BOUND)
    assert (command.returncode, out, err) == (130, b"", b"")


def test_the_command_is_known() -> None:
    assert COMMANDS["load"].load() is main
