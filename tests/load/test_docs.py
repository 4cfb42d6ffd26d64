"""The commands of docs/load.md do what they say, against the user service."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from pygrpc import aio
from pygrpc.cli.commands import main
from pygrpc.load.requests import described_by
from pygrpc.reflection import enable_server_reflection
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from pygrpc.services.users import DatabaseUserStore, UserService
from tests.services.support import cheap_passwords
from tests.source_tree import ROOT

SHELL = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs/load.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in SHELL for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = described_by([user_pb2.DESCRIPTOR])
    (tmp_path / "services.binpb").write_bytes(FileDescriptorSet(file=files).SerializeToString())
    (tmp_path / "protos").symlink_to(ROOT / "protos")
    monkeypatch.chdir(tmp_path)
    passwords = cheap_passwords()
    store = await DatabaseUserStore.open(":memory:")
    server = aio.server()
    user_pb2_grpc.add_UserServiceServicer_to_server(UserService(store, passwords), server)
    enable_server_reflection(["user.v1.UserService"], server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        # The same with less patience: a number of calls, and no seconds.
        command = re.sub(r"--(duration|warmup) \S+|-n \d+", "", command).replace("localhost:50051", target)
        program, *arguments = shlex.split(command)
        assert program == "pygrpc"
        assert await asyncio.to_thread(main, [*arguments, "-n", "20"]) == 0
    finally:
        await server.stop(None)
        await store.close()
        passwords.close()
    captured = capsys.readouterr()
    assert re.search(r"^ +OK +20$", captured.out, re.MULTILINE) and captured.err == ""


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 4 and all(command.startswith("pygrpc load ") for command in COMMANDS)
