"""`pygrpc chat`: rooms, what was said in them, and being there."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Sequence

from pygrpc import StatusCode
from pygrpc.services.clients.chatting import ChatSession
from pygrpc.services.clients.commands import standard_input
from pygrpc.services.clients.commands.common import (
    Commands,
    complain,
    count,
    plain,
    sentence,
    show,
    user_option,
)
from pygrpc.services.clients.commands.standard_input import lines_of
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.together import Clients
from pygrpc.services.protos.chat.v1 import chat_pb2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `pygrpc chat`; returns the exit status."""
    commands = Commands("chat", "Opens chat rooms, shows what was said in them, and takes part.")
    commands.add("rooms", "list all rooms", _rooms)
    create = commands.add("create", "open a room", _create)
    create.add_argument("name")
    create.add_argument("--id", default="", help="letters, digits, - and _ (default: chosen by the server)")
    create.add_argument("--description", default="")
    user_option(create)
    history = commands.add("history", "show the last messages of a room", _history)
    history.add_argument("room")
    history.add_argument("--size", type=count, default=50, help="how many (default: %(default)s)")
    join = commands.add(
        "join",
        "be in a room: what others say is written, and each line of standard input is said, until it ends or Ctrl-C",
        _join,
        interruptible=True,
    )
    join.add_argument("room")
    user_option(join)
    join.add_argument("--name", default="", help="the name that others see")
    join.add_argument("--history", type=count, default=20, help="messages from before to show (default: %(default)s)")
    return commands.run(arguments)


async def _rooms(clients: Clients, given: argparse.Namespace) -> int:
    async for room in clients.chat.rooms():
        show(given, room, _room)
    return 0


async def _create(clients: Clients, given: argparse.Namespace) -> int:
    request = chat_pb2.CreateRoomRequest(
        name=given.name, description=given.description, created_by=given.user, room_id=given.id
    )
    show(given, await clients.chat.create_room(request), _room)
    return 0


async def _history(clients: Clients, given: argparse.Namespace) -> int:
    for message in await clients.chat.history(given.room, given.size):
        show(given, message, in_words)
    return 0


async def _join(clients: Clients, given: argparse.Namespace) -> int:
    def interrupted(error: ServiceError | None) -> None:
        if error is None:
            complain(given, "back in the room")
        elif error.code is StatusCode.UNAVAILABLE:
            complain(given, f"away for a moment: {sentence(error)}")

    session = clients.chat.join(
        given.room, given.user, username=given.name, history=given.history, interrupted=interrupted
    )
    async with session:
        speaking = asyncio.create_task(_speak(session, given))
        try:
            async for message, own in session.marked():
                # Who said it has it on the terminal already; a program that reads JSON wants to know that it is stored.
                if given.json or not own:
                    show(given, message, in_words)
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
    return 0


async def _speak(session: ChatSession, given: argparse.Namespace) -> None:
    """Says each line of standard input, and leaves after the last one."""
    async with contextlib.aclosing(lines_of(standard_input.INPUT)) as lines:
        async for line in lines:
            if line.strip():
                try:
                    await session.send(line)
                except ServiceError as error:
                    complain(given, sentence(error))
    session.leave()


def in_words(message: chat_pb2.ChatMessage) -> str:
    """Writes a message on one line."""
    when = message.timestamp.ToDatetime(tzinfo=None)
    name = message.username or message.user_id
    time = f"[{when:%H:%M:%S}Z]"
    match message.type:
        case chat_pb2.MESSAGE_TYPE_JOINED:
            return f"{time} * {name} has come"
        case chat_pb2.MESSAGE_TYPE_LEFT:
            return f"{time} * {name} has left"
        case chat_pb2.MESSAGE_TYPE_SYSTEM:
            return f"{time} * {message.content}"
    return f"{time} {name}: {message.content}"


def _room(room: chat_pb2.Room) -> str:
    description = f"  {room.description}" if room.description else ""
    return f"{room.room_id}  {plain(room.name)}  {room.member_count} here{description}"
