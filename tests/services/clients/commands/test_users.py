"""`pygrpc users`."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from pathlib import Path

import pytest

from pygrpc.services.clients.commands.users import in_words
from pygrpc.services.protos.user.v1 import user_pb2
from tests.services.clients.commands.support import Run, at_home, command, ids, run, terminal
from tests.services.clients.support import world

__all__ = ["run"]


def test_the_life_of_a_user(run: Run) -> None:
    created = run("users", "create", "Ann", "ann@example.com", "--role", "admin", "--tag", "a", "--tag", "b")
    assert (created.status, created.errors) == (0, "")
    [ann] = ids(created.lines)
    assert created.lines == [f"{ann}  Ann <ann@example.com>  active admin  [a, b]"]
    changed = run("users", "update", ann, "--name", "Anna", "--bio", "Hello", "--label", "k=v", "--status", "pending")
    assert changed.lines == [f"{ann}  Anna <ann@example.com>  pending admin  [a, b]"]
    shown = json.loads(run("users", "get", ann, "--json").output)
    assert (shown["profile"]["bio"], shown["metadata"], shown["status"]) == (
        "Hello",
        {"k": "v"},
        "USER_STATUS_PENDING",
    )
    assert run("users", "delete", ann).status == 0
    missing = run("users", "get", ann)
    assert (missing.status, missing.output) == (1, "")
    assert missing.errors == f'pygrpc users get: there is no user "{ann}"\n'


def test_lists(run: Run) -> None:
    for name in ("Ann", "Bob", "Cid"):
        run("users", "create", name, f"{name}@example.com")
    [bob] = ids(run("users", "list").lines[1:2])
    run("users", "update", bob, "--status", "inactive")
    assert [line.split()[1] for line in run("users", "list").lines] == ["Ann", "Bob", "Cid"]
    assert [line.split()[1] for line in run("users", "list", "--limit", 2).lines] == ["Ann", "Bob"]
    assert [json.loads(line)["name"] for line in run("users", "list", "--json", "--status", "inactive").lines] == [
        "Bob"
    ]


def test_every_mistake_is_said(run: Run) -> None:
    failed = run("users", "create", "", "nobody")
    assert failed.status == 1
    assert failed.errors.startswith(
        "pygrpc users create: the request was refused: name must not be empty; email must be"
    )
    assert failed.errors.count("\n") == 1
    assert run("users", "update", "some-id").errors == "pygrpc users update: nothing to change was given\n"


def test_a_password_comes_from_a_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "password"
    path.write_text("correct horse battery\n")
    assert run("users", "create", "Ann", "ann@example.com", "--password-file", path).status == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
    assert run("users", "create", "Bob", "bob@example.com", "--password-file", "-").status == 0
    failed = run("users", "create", "Cid", "cid@example.com", "--password-file", tmp_path / "nothing")
    assert failed.errors == f"pygrpc users create: {tmp_path}/nothing: No such file or directory\n"


CSV = "name,email,role,phone\nAnn,ann@example.com,admin,\nBad,nobody,,\nBob,bob@example.com,,123\n"
JSON = """{"name": "Ann", "email": "ann@example.com", "role": "ROLE_ADMIN"}

{"name": "Bad", "email": "nobody"}
{"name": "Bob", "email": "bob@example.com", "tags": ["a"]}
"""


@pytest.mark.parametrize(("name", "text", "line"), [("users.csv", CSV, 3), ("users.jsonl", JSON, 3)])
def test_an_import_reports_each_bad_line(run: Run, tmp_path: Path, name: str, text: str, line: int) -> None:
    path = tmp_path / name
    path.write_text(text)
    imported = run("users", "import", path)
    assert imported.status == 1
    assert imported.lines[0].split("  ", 1)[1] == "Ann <ann@example.com>  active admin"
    assert len(imported.lines) == 2
    assert imported.errors.startswith(f"pygrpc users import: {path}, line {line}: email must be")
    assert imported.errors.endswith("(INVALID_ARGUMENT)\n")


def test_an_import_of_more_than_a_batch(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "users.jsonl"
    path.write_text(
        "".join(json.dumps({"name": f"U{each}", "email": f"u{each}@example.com"}) + "\n" for each in range(250))
    )
    assert len(run("users", "import", path).lines) == 250
    # Once more: each is taken, and each is said.
    again = run("users", "import", path)
    assert (again.status, again.output) == (1, "")
    assert again.errors.count("(ALREADY_EXISTS)") == 250
    assert "line 250: " in again.errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"name": "Ann"}\nnonsense\n', "line 2 is no JSON"),
        ('{"name": "Ann", "mail": "x"}\n', 'has no field named "mail"'),
        ('{"name": 5}\n', "line 1: Failed to parse name field"),
    ],
)
def test_an_import_that_makes_no_sense(run: Run, tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "users.jsonl"
    path.write_text(text)
    failed = run("users", "import", path)
    assert (failed.status, failed.output) == (1, "")
    assert problem in failed.errors
    assert run("users", "list").output == ""


def test_an_import_that_fails_says_from_where_on(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "users.jsonl"
    path.write_text(JSON)
    failed = run("users", "import", path, "--server", "127.0.0.1:1")
    assert failed.status == 1
    assert failed.errors.startswith(
        f"pygrpc users import: {path}, line 1: nothing is imported from here on: the server 127.0.0.1:1 is not"
    )


async def test_a_watch_ends_with_the_user_and_with_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        users = here.clients.users
        ann = await users.create(user_pb2.CreateUserRequest(name="Ann", email="ann@example.com"))
        async with terminal("users", "watch", ann.id) as first, terminal("users", "watch", ann.id, "--json") as second:
            await first.sees("initial   ", "Ann")
            await second.sees("USER_EVENT_TYPE_INITIAL")
            await users.update(user_pb2.UpdateUserRequest(id=ann.id, name="Anna"))
            await first.sees("updated   ", "Anna")
            second.types("\x03")
            assert await second.ends() == 0
            assert "Traceback" not in second.text
            await users.delete(ann.id)
            await first.sees("deleted")
            assert await first.ends() == 0


async def test_an_output_that_nobody_reads_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        await here.clients.users.create_many(
            [user_pb2.CreateUserRequest(name="Ann", email=f"ann{number}@example.com") for number in range(5)]
        )
        read, write = os.pipe()
        os.close(read)
        process = await asyncio.create_subprocess_exec(
            *command("users", "list"), stdout=write, stderr=asyncio.subprocess.PIPE
        )
        os.close(write)
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (1, b"")


def test_what_this_version_does_not_know_is_shown_as_a_number() -> None:
    user = user_pb2.User(id="1", name="Ann", email="a@b")
    user.role = 99  # type: ignore[assignment]
    assert in_words(user) == "1  Ann <a@b>  unspecified 99"
