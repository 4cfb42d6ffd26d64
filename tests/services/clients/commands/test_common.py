"""What all commands have in common: the connection, usage, errors, output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from pygrpc.services.clients.commands.common import choices, code_name, name_of, plain
from pygrpc.services.protos.user.v1 import user_pb2
from tests.services.clients.commands.support import Run, run

__all__ = ["run"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nothing",),
        ("list", "--nothing"),
        ("list", "--timeout", "0"),
        ("list", "--limit", "-1"),
        ("list", "--metadata", "x"),
        ("list", "--status", "asleep"),
        ("list", "--token", "a", "--token-file", "b"),
        ("list", "--token-file", "/nowhere/token"),
        ("list", "--ca", "/nowhere/ca.pem"),
        ("list", "--cert", __file__),
        ("get",),
    ],
)
def test_what_makes_no_sense_is_usage(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run("users", *arguments)
    assert (ended.status, ended.output) == (2, "")
    assert ended.errors.startswith("usage: pygrpc users")
    assert "Traceback" not in ended.errors


@pytest.mark.parametrize("name", ["users", "chat", "files", "orders"])
def test_help(run: Run, name: str) -> None:
    ended = run(name, "--help")
    assert ended.status == 0
    assert ended.output.startswith(f"usage: pygrpc {name}")


def test_a_server_that_is_not_there(run: Run) -> None:
    ended = run("users", "list", "--server", "127.0.0.1:1")
    assert (ended.status, ended.output) == (1, "")
    assert ended.errors.startswith("pygrpc users list: the server 127.0.0.1:1 is not available: ")
    assert ended.errors.count("\n") == 1


def test_a_target_that_makes_no_sense(run: Run) -> None:
    ended = run("users", "list", "--server", "unix:")
    assert ended.status == 1
    assert ended.errors.count("\n") == 1


def test_a_server_that_speaks_no_tls(run: Run, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(trustme.CA().cert_pem.bytes())
    ended = run("users", "list", "--ca", ca)
    assert ended.status == 1
    assert "is not available" in ended.errors


def test_a_deadline(run: Run) -> None:
    ended = run("users", "list", "--timeout", "0.000001")
    assert ended.status == 1
    assert "did not answer in time" in ended.errors


def test_nothing_of_it_is_imported_with_the_library() -> None:
    code = "import sys, pygrpc, pygrpc.cli; print([name for name in sys.modules if name.startswith('pygrpc.services')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ann", "Ann"),
        ("a\x1b[31mb\r", "a\ufffd[31mb\ufffd"),
        ("two\nlines\tand", "two lines and"),
        ("\u2028\u2029", "\ufffd\ufffd"),
        ("zero\u200dwidth", "zero\u200dwidth"),
    ],
)
def test_a_text_of_the_server_can_do_nothing_to_the_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_names_of_values() -> None:
    assert choices(user_pb2.Role, "ROLE_") == {"user": 1, "admin": 2, "moderator": 3}
    assert name_of(user_pb2.Role, "ROLE_", 2) == "admin"
    assert name_of(user_pb2.Role, "ROLE_", 77) == "77"
    assert (code_name(5), code_name(99)) == ("NOT_FOUND", "99")
