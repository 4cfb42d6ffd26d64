"""`pygrpc chat`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pygrpc.services.clients.commands.chat import in_words
from pygrpc.services.protos.chat.v1 import chat_pb2
from tests.services.clients.commands.support import Run, at_home, finished, run, terminal
from tests.services.clients.support import world
from tests.services.clients.test_chat import ROOM, Reader, room, until

__all__ = ["run"]


def test_rooms_and_history(run: Run) -> None:
    assert run("chat", "create", "Lobby", "--id", "lobby", "--user", "ann").lines == ["lobby  Lobby  0 here"]
    assert run("chat", "create", "Bar", "--id", "bar", "--user", "ann", "--description", "for all").status == 0
    assert run("chat", "rooms").lines == ["lobby  Lobby  0 here", "bar  Bar  0 here  for all"]
    assert [json.loads(line)["room_id"] for line in run("chat", "rooms", "--json").lines] == ["lobby", "bar"]
    assert run("chat", "history", "lobby").output == ""
    failed = run("chat", "history", "nowhere")
    assert failed.status == 1
    assert re.fullmatch("pygrpc chat history: .*nowhere.*\n", failed.errors)


async def test_lines_of_a_pipe_are_said_and_the_end_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with room(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        ended = await finished("chat", "join", ROOM, "--user", "bob", "--name", "Bob", input=b"hello\n\nworld\r\nlast")
        assert (ended.status, ended.errors) == (0, "")
        # What it has said itself is not written.
        assert [line.split("] ")[1] for line in ended.lines] == ["* Bob has come", "* Bob has left"]
        said = [
            each.content for each in await here.clients.chat.history(ROOM) if each.type == chat_pb2.MESSAGE_TYPE_USER
        ]
        assert said == ["hello", "world", "last"]
        as_json = await finished("chat", "join", ROOM, "--user", "bob", "--json", input=b"more\n")
        assert [json.loads(line)["content"] for line in as_json.lines][-2] == "more"


async def test_a_message_that_is_refused_is_said_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        ended = await finished("chat", "join", ROOM, "--user", "bob", input=b"a" * 5000 + b"\nhello\n")
        assert ended.status == 0
        assert ended.errors == "pygrpc chat join: content must not be longer than 4096 characters\n"
        assert [each.content for each in await here.clients.chat.history(ROOM)][-2] == "hello"


async def test_a_room_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        ended = await finished("chat", "join", "nowhere", "--user", "bob")
        assert (ended.status, ended.output) == (1, "")
        assert re.fullmatch("pygrpc chat join: .*nowhere.*\n", ended.errors)


async def test_a_talk_on_a_terminal_over_a_restart_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        async with (
            here.clients.chat.join(ROOM, "ann", username="Ann") as ann,
            terminal("chat", "join", ROOM, "--user", "bob", "--name", "Bob") as bob,
        ):
            said = Reader(ann)
            await bob.sees("Bob has come")
            await ann.send("hello, Bob")
            await bob.sees("Ann: hello, Bob")
            bob.types("hello, Ann\n")
            await until(lambda: said.said() == ["hello, Bob", "hello, Ann"])
            await here.serving.restart()
            await bob.sees("away for a moment: the server", "back in the room")
            bob.types("still here\n")
            await ann.send("so am I")
            await until(lambda: "still here" in said.said())
            await bob.sees("Ann: so am I")
            # What was seen before is not seen again, and what one has typed oneself stands there once.
            assert bob.text.count("Ann: hello, Bob") == 1
            assert bob.text.count("hello, Ann") == 1
            bob.types("\x03")
            assert await bob.ends() == 0
            await until(lambda: said.messages[-1].type == chat_pb2.MESSAGE_TYPE_LEFT)
            assert "Traceback" not in bob.text
            ann.leave()
            await said.task


async def test_the_end_of_the_input_on_a_terminal_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with room(tmp_path) as here:
        at_home(monkeypatch, tmp_path, here.proxy.target)
        async with terminal("chat", "join", ROOM, "--user", "bob") as bob:
            await bob.sees("has come")
            bob.types("bye\n\x04")
            await bob.sees("has left")
            assert await bob.ends() == 0


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (chat_pb2.MESSAGE_TYPE_USER, "[00:00:00Z] Ann: hello"),
        (chat_pb2.MESSAGE_TYPE_SYSTEM, "[00:00:00Z] * hello"),
        (chat_pb2.MESSAGE_TYPE_JOINED, "[00:00:00Z] * Ann has come"),
        (chat_pb2.MESSAGE_TYPE_LEFT, "[00:00:00Z] * Ann has left"),
    ],
)
def test_messages_in_words(kind: chat_pb2.MessageType, line: str) -> None:
    assert in_words(chat_pb2.ChatMessage(username="Ann", content="hello", type=kind)) == line
