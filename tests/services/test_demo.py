"""The demo: all of it once as a user runs it, how it fails, and its parts."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from pygrpc.services.demo import __main__ as program
from pygrpc.services.demo.children import Child, DemoFailed
from pygrpc.services.demo.client import in_words, violations
from pygrpc.services.demo.lines import Line, LineKind
from pygrpc.services.demo.server import NarratedUserService
from pygrpc.services.demo.stage import Stage
from pygrpc.services.demo.tour import Tour
from pygrpc.services.protos.user.v1 import user_pb2
from tests.source_tree import ROOT

BOUND = 120
DEMO = [sys.executable, "-m", "pygrpc.services.demo"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Lets the demo keep its temporary files in a folder of the test."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(temporary), **more}


def left_over(folder: Path) -> list[Path]:
    return list((folder / "tmp").iterdir())


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the demo prints; it is run once."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        DEMO, cwd=ROOT, env=environment(folder), capture_output=True, timeout=BOUND, check=False, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert left_over(folder) == []
    return done.stdout


def section(output: str, title: str) -> str:
    match = re.search(rf"^\d+\. {title}.*?=\n(.*?)(?=^\d+\. |\Z)", output, re.DOTALL | re.MULTILINE)
    assert match, f"there is no section {title!r}"
    return match[1]


def call(text: str, rpc: str) -> str:
    """What is shown of all calls of an RPC."""
    found = re.findall(rf"^  {rpc}  .*\n((?:    .*\n)*)", text, re.MULTILINE)
    assert found, f"there is no call of {rpc}"
    return "".join(found)


def test_the_two_processes_have_ended(output: str) -> None:
    pids = [int(pid) for pid in re.findall(r"\(process (\d+)\)", output)]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ("rpc", "parts"),
    [
        ("CreateUser", ['--> name: "Ada Lovelace"', "<-- Ada Lovelace <ada@example.com>, active admin"]),
        ("GetUser", ["--> id: ", "<-- Ada Lovelace <ada@example.com>, active admin"]),
        ("BatchCreateUsers", ["<-- 2 created, 1 failed", "request 1: ALREADY_EXISTS"]),
        ("ListUsers", ["<-- Ada Lovelace", "<-- Grace Hopper", "next-page-token"]),
        ("UserChat", ["<-- to Grace:  ada: Hello, Grace!", "<-- to Ada:  ada: Echo: Hello, Grace!"]),
        ("UpdateUser", ['update_mask { paths: "name" }', "<-- Ada King <ada@example.com>"]),
        ("WatchUser", ["<-- INITIAL: Ada Lovelace", "<-- UPDATED: Ada King", "<-- DELETED: Ada King"]),
        ("DeleteUser", ["--> id: ", "<-- an empty message"]),
    ],
)
def test_every_rpc_is_driven(output: str, rpc: str, parts: list[str]) -> None:
    shown = call(section(output, "Every RPC"), rpc)
    for part in parts:
        assert part in shown
    assert "    OK\n" in shown


def test_errors_have_details(output: str) -> None:
    text = section(output, "Errors")
    assert "INVALID_ARGUMENT  name must not be empty (and 1 more)\n" in text
    assert "BadRequest, name: must not be empty\n" in text
    assert "BadRequest, email: must be" in text
    assert "ALREADY_EXISTS  " in text
    assert "NOT_FOUND  " in text


def test_a_deadline_arrives_at_the_server(output: str) -> None:
    text = section(output, "A deadline")
    assert "    DEADLINE_EXCEEDED  Deadline Exceeded\n" in text
    assert re.search(r"server: WatchUser begins, 0\.[0-5]\d\d s left until its deadline\n", text)
    assert re.search(r"server: WatchUser is cancelled after \d+\.\d{3} s, 0\.\d{3} s left until its deadline\n", text)


def test_a_cancellation_arrives_at_the_server(output: str) -> None:
    text = section(output, "A cancellation")
    assert "    CANCELLED  Locally cancelled by application!\n" in text
    assert re.search(r"server: WatchUser begins, no deadline\n.*is cancelled after \d+\.\d{3} s, no deadline\n", text)


def test_users_are_shown_on_the_command_line(output: str) -> None:
    text = section(output, "All services")
    assert re.search(r"  \$ pygrpc serve .*\n    listening on 127\.0\.0\.1:\d+\n", text)
    assert text.count("Ada Lovelace <ada@example.com>  active admin\n") == 2
    assert "pygrpc users create: email must be an e-mail address" in text


def test_two_talk_in_a_room(output: str) -> None:
    text = section(output, "A room")
    mine, _, others = text.partition("What the terminal of Grace shows meanwhile:\n")
    assert "* Ada has come\n" in mine
    assert [line.partition("] ")[2] for line in others.splitlines()[:3]] == [
        "* Ada has come",
        "Ada: Good morning, Grace!",
        "* Ada has left",
    ]


def test_a_file_goes_up_and_comes_back(output: str) -> None:
    text = section(output, "A file")
    assert re.search(r"notes    3\.0 MiB .* notes\.bin\n", text)
    assert "\n    copy.bin\n" in text
    assert 'pygrpc files download: "notes" belongs to somebody else\n' in text


def test_orders_are_matched(output: str) -> None:
    text = section(output, "Orders")
    assert "buy WIDGET 4 9.75    (typed)\n" in text
    # At the price of the order that was there first.
    assert re.search(r"4 .*9\.50", text)


def test_the_server_is_put_under_load(output: str) -> None:
    assert re.search(r"\n +OK +[\d,]+\n", section(output, "The load tester"))


def test_the_wire_of_a_unary_call(output: str) -> None:
    text = section(output, "The wire of a unary call")
    steps = [
        r"client --> server  PREFACE +PRI \* HTTP/2\.0 SM\n",
        r"client --> server  SETTINGS +stream 0 ",
        r"client --> server  HEADERS +stream 1 +END_HEADERS +request headers, \d+ bytes\n",
        r" +:path: /user\.v1\.UserService/GetUser\n",
        r" +grpc-timeout: \d+\w +\([\d.]+ seconds\)\n",
        r" +content-type: application/grpc\n",
        r"client --> server  DATA +stream 1 +END_STREAM +43 bytes, half-close\n"
        r" +prefix: 00 00 00 00 26  \(not compressed, 38 bytes\)\n"
        r" +user\.v1\.GetUserRequest\n +id: \"[0-9a-f-]{36}\"\n",
        r"client <-- server  HEADERS +stream 1 +END_HEADERS +response headers, \d+ bytes\n",
        r" +:status: 200\n",
        r"client <-- server  DATA +stream 1 +\d+ bytes\n"
        r" +prefix: 00 00 00 00 [0-9a-f]{2}  \(not compressed, \d+ bytes\)\n"
        r" +user\.v1\.GetUserResponse\n +user {\n",
        r" +email: \"grace@example\.com\"\n",
        r"client <-- server  HEADERS +stream 1 +END_STREAM END_HEADERS +trailers, \d+ bytes\n"
        r" +grpc-status: 0  \(OK\)\n",
    ]
    assert re.search(".*".join(steps), text, re.DOTALL)


def test_the_wire_of_a_streaming_call(output: str) -> None:
    text = section(output, "The wire of a streaming call")
    frames = re.findall(r"^ +[\d.]+ ms  client (-->|<--) server  (\w+) +stream 3 ", text, re.MULTILINE)
    assert frames == [
        ("-->", "HEADERS"),
        ("<--", "HEADERS"),
        ("<--", "DATA"),
        ("-->", "DATA"),
        ("<--", "DATA"),
        ("-->", "DATA"),
        ("<--", "HEADERS"),
    ]
    assert re.search(r"prefix: 00 00 00 00 1a  .*\n +user\.v1\.ChatMessage\n +user_id: \"grace\"\n", text)
    assert re.search(r"END_STREAM +0 bytes, half-close\n", text)
    assert re.search(r"trailers, \d+ bytes?\n +grpc-status: 0  \(OK\)\n", text)


def test_the_output_is_plain_text_of_100_columns(output: str) -> None:
    assert "\x1b" not in output
    assert max(map(len, output.splitlines())) <= 100


# How it fails


def run(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = subprocess.run(
        DEMO, cwd=ROOT, env=environment(folder, **more), capture_output=True, timeout=BOUND, check=False, text=True
    )
    assert left_over(folder) == []
    return command


@pytest.mark.parametrize("who", ["server", "client"])
def test_a_process_that_fails_is_one_sentence(tmp_path: Path, who: str) -> None:
    missing = {"server": "sqlalchemy", "client": "hpack"}[who]
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nif 'pygrpc.services.demo.{who}' in sys.orig_argv:\n    sys.modules[{missing!r}] = None\n",
        encoding="utf-8",
    )
    done = run(tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert re.fullmatch(rf"demo: the {who} ended with exit code 1: ModuleNotFoundError: .*{missing}.*\.\n", done.stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    pipe = asyncio.subprocess.PIPE
    demo = await asyncio.create_subprocess_exec(*DEMO, cwd=ROOT, env=environment(tmp_path), stdout=pipe, stderr=pipe)
    assert demo.stdout is not None
    async with asyncio.timeout(BOUND / 3):
        lines = [await demo.stdout.readline() for _ in range(4)]
        demo.send_signal(number)
        _, errors = await demo.communicate()
    assert (demo.returncode, errors) == (130, b"demo: interrupted.\n")
    assert left_over(tmp_path) == []
    for pid in re.findall(rb"\(process (\d+)\)", b"".join(lines)):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_the_exit_code_says_that_it_failed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def play(stage: Stage) -> None:
        raise DemoFailed("the server did not start.")

    monkeypatch.setattr(Stage, "play", play)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert program.main() == 1
    assert capsys.readouterr().err == "demo: the server did not start.\n"


# The parts


def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> Child:
    (tmp_path / "demo_child.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Child("child", "demo_child", ["argument"], tmp_path)


async def test_a_child_is_told_and_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = script(
        tmp_path, monkeypatch, "import sys\nfor line in sys.stdin: print(sys.argv[1], line.upper(), end='')\n"
    )
    async with child:
        await child.tell("hello")
        assert await child.hear() == "argument HELLO"
        assert await child.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


async def test_a_child_that_ends_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with script(
        tmp_path, monkeypatch, "import sys\nprint('one\\ntwo\\n', file=sys.stderr)\nsys.exit(3)\n"
    ) as child:
        with pytest.raises(DemoFailed, match=r"^the child ended with exit code 3: two$"):
            await child.hear()
        with pytest.raises(DemoFailed, match="exit code 3"):
            while True:
                await child.tell("hello")


async def test_a_child_that_ends_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with script(tmp_path, monkeypatch, "") as child:
        with pytest.raises(DemoFailed, match="exit code 0: it did not say why"):
            await child.hear()


async def test_a_child_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pygrpc.services.demo.children._PATIENCE", 0.01)
    async with script(tmp_path, monkeypatch, "import signal\nsignal.pause()\n") as child:
        with pytest.raises(DemoFailed, match=r"the child said nothing for 0\.01 seconds"):
            await child.hear()
        assert await child.stop() == -signal.SIGKILL


async def test_a_child_is_killed_when_the_demo_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = script(tmp_path, monkeypatch, "import signal\nprint('ready')\nsignal.pause()\n")
    with pytest.raises(DemoFailed, match="enough"):
        async with child:
            await child.hear()
            raise DemoFailed("enough")
    assert await child.stop() == -signal.SIGKILL


@pytest.mark.parametrize("line", [Line(LineKind.END), Line(LineKind.STATUS, "é\n\x1b", "OK")])
def test_a_line_travels_as_one_line(line: Line) -> None:
    assert "\n" not in line.encode()
    assert Line.decode(line.encode()) == line


@pytest.mark.parametrize("text", ["", "hello", "[]", '["other", "", ""]'])
def test_what_is_no_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Line.decode(text)


def test_violations_are_those_of_bad_requests() -> None:
    status = Status(code=3)
    status.details.add().Pack(BadRequest(field_violations=[{"field": "email", "description": "is empty"}]))
    status.details.add().Pack(Empty())
    assert violations(status.SerializeToString()) == ["BadRequest, email: is empty"]


def test_messages_in_words() -> None:
    user = user_pb2.User(
        id="1", name="Ada", email="a@b.c", status=user_pb2.USER_STATUS_PENDING, role=user_pb2.ROLE_USER
    )
    assert in_words(user) == "Ada <a@b.c>, pending user, id 1"
    event = user_pb2.UserEvent(event_type=user_pb2.USER_EVENT_TYPE_UPDATED, user=user)
    assert in_words(event) == "UPDATED: Ada <a@b.c>, pending user, id 1"
    assert in_words(user_pb2.ChatMessage(user_id="ada", content="hé")) == "ada: hé"
    assert in_words(user_pb2.ListUsersRequest(page_size=2, offset=1)) == "page_size: 2 offset: 1"


def test_the_server_is_the_user_service() -> None:
    own = {name for name in vars(NarratedUserService) if not name.startswith("_")}
    assert own == {"WatchUser"}


async def test_the_stage_fails_if_the_server_talks_of_other_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(io.StringIO())
    async with script(tmp_path, monkeypatch, "print('WatchUser begins')\nprint('hello')\n") as child:
        with pytest.raises(DemoFailed, match="'hello' where it should say that a call is cancelled"):
            await stage._hear_of_cancellation(child)


async def test_the_stage_fails_if_a_step_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    lines = [Line(LineKind.CALL, "how", "Rpc"), Line(LineKind.FAILED, "it broke")]
    source = "input()\n" + "".join(f"print({line.encode()!r})\n" for line in lines)
    async with script(tmp_path, monkeypatch, source) as child:
        with pytest.raises(DemoFailed, match="the step 'create' of the client failed: it broke"):
            await Stage(stream)._step(child, "create")
    assert "  Rpc  how\n" in stream.getvalue()


async def test_a_command_that_fails_ends_the_tour(tmp_path: Path) -> None:
    shown: list[tuple[str, bool]] = []
    tour = Tour(tmp_path, lambda title: None, lambda line, typed: shown.append((line, typed)))
    with pytest.raises(DemoFailed, match="pygrpc users nothing ended with exit code 2"):
        await tour._run("users", "nothing", str(tmp_path / "a.txt"))
    assert shown[0] == ("pygrpc users nothing a.txt", True)
    assert "invalid choice" in shown[-1][0]
