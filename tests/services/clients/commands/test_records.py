"""Files of records that a command imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from pygrpc.services.clients.commands.common import CommandError
from pygrpc.services.clients.commands.records import batches_of
from pygrpc.services.protos.user.v1 import user_pb2


def read(path: Path, text: str, size: int = 10) -> list[list[tuple[str, str]]]:
    path.write_text(text, encoding="utf-8")
    batches = batches_of(str(path), user_pb2.CreateUserRequest, size, lambda row: row.pop("ignored", None))
    return [[(place.rpartition(", ")[2], each.name) for place, each in batch] for batch in batches]


def test_json_lines(tmp_path: Path) -> None:
    text = '{"name": "Ann"}\n\n{"name": "B\\u00f6b"}\n{"name": "Cid"}'
    assert read(tmp_path / "users.jsonl", text, 2) == [[("line 1", "Ann"), ("line 3", "Böb")], [("line 4", "Cid")]]
    assert read(tmp_path / "users.jsonl", "") == []


def test_csv(tmp_path: Path) -> None:
    text = 'name,email,ignored\nAnn,a@b,x\n"Bob\nBob",,\n'
    assert read(tmp_path / "USERS.CSV", text) == [[("line 2", "Ann"), ("line 4", "Bob\nBob")]]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.jsonl", "{", "a.jsonl, line 1 is no JSON: "),
        ("a.jsonl", '\n{"nothing": 1}', "a.jsonl, line 2: "),
        ("a.csv", "name,nothing\na,b", "a.csv, line 2: "),
    ],
)
def test_something_else(tmp_path: Path, name: str, text: str, problem: str) -> None:
    with pytest.raises(CommandError) as raised:
        read(tmp_path / name, text)
    assert problem in str(raised.value)
