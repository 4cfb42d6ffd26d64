"""What the chat service needs of a storage, and the errors that one may report.

The errors:

    errors.StoreError       the storage cannot do its work (disk full, file locked or damaged, ...)
    RoomNotFound            there is no room with that id
    RoomTaken               another room has that id
    NotInRoom               the user is not in the room
    KeyTaken                the user has sent something else with that key
    TooMany                 there are as many rooms, or stays in a room, as there may be
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple, Protocol


class RoomNotFound(Exception):
    """There is no room with this id."""

    def __init__(self, room_id: str) -> None:
        """Names the id that was asked for."""
        super().__init__(f"Room {room_id} not found")
        self.room_id = room_id


class RoomTaken(Exception):
    """Another room has this id."""

    def __init__(self, room_id: str) -> None:
        """Names the id that was asked for."""
        super().__init__(f"Room {room_id} exists already")
        self.room_id = room_id


class NotInRoom(Exception):
    """The user is not in the room."""

    def __init__(self, user_id: str, room_id: str) -> None:
        """Names both."""
        super().__init__(f"User {user_id} not in room {room_id}")
        self.user_id = user_id
        self.room_id = room_id


class KeyTaken(Exception):
    """The user has sent another message with this key."""

    def __init__(self, key: str) -> None:
        """Names the key."""
        super().__init__(f'another message was sent with the idempotency key "{key}"')
        self.key = key


class TooMany(Exception):
    """A limit is reached; the text says which."""


class Kind(enum.IntEnum):
    """What a message is. The numbers are those of chat.v1.MessageType, and are stored."""

    USER = 1
    SYSTEM = 2
    JOINED = 3
    LEFT = 4


class Message(NamedTuple):
    """A stored message.

    Attributes:
        position: Grows with each message of the whole store, in the order of the commits.
        room_id: Where it was said.
        sequence: Its number in the room, from 1.
        user_id: Who says it, has come or has left.
        username: The name of that user at the time.
        content: For people.
        at: Microseconds since 1970-01-01 UTC.
        kind: What it is.
        key: The idempotency key with which it was sent; empty for none.
    """

    position: int
    room_id: str
    sequence: int
    user_id: str
    username: str
    content: str
    at: int
    kind: Kind
    key: str = ""

    @property
    def message_id(self) -> str:
        """The id that clients see."""
        return f"{self.room_id}.{self.sequence}"


class Room(NamedTuple):
    """A room; `number` is its place in the list of rooms, `created_at` is in microseconds since 1970-01-01 UTC."""

    number: int
    room_id: str
    name: str
    description: str
    created_by: str
    created_at: int
    members: int


class Session(NamedTuple):
    """One stay of a user in a room: the user is there while it has at least one.

    Attributes:
        session_id: Unique.
        server_id: The process that serves the stay.
        room_id: The room.
        user_id: The user.
        username: The name that others are shown.
    """

    session_id: str
    server_id: str
    room_id: str
    user_id: str
    username: str


class Joined(NamedTuple):
    """How a stay begins: the last sequence of the room before it, and the last messages up to that one."""

    sequence: int
    history: list[Message]


class Page(NamedTuple):
    """Messages in their order, and whether there are older ones."""

    messages: list[Message]
    has_more: bool


class ChatStore(Protocol):
    """A storage for rooms, that several processes may share.

    A method that writes returns after the change is durable. Once begun, a write is finished even if the task that
    asked for it is cancelled. Every method may raise StoreError.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it."""

    def listen(self, listener: Callable[[list[Message]], None]) -> None:
        """Calls `listener` with the messages of each commit of this store, after it and in the order of the commits."""

    async def create_room(self, name: str, description: str, created_by: str, room_id: str, most: int) -> Room:
        """Opens a room; chooses its id if `room_id` is empty.

        Raises:
            RoomTaken: There is one with this id.
            TooMany: There are `most` rooms.
        """

    async def rooms(self, limit: int, *, after: int = 0, offset: int = 0) -> tuple[list[Room], int]:
        """Returns rooms with a larger number than `after`, without the first `offset`; and how many there are."""

    async def join(self, session: Session, *, history: int, most: int) -> Joined:
        """Begins a stay, and stores the announcement if the user was not in the room.

        Raises:
            RoomNotFound: There is no such room.
            TooMany: There are `most` stays in it.
        """

    async def end_session(self, session_id: str) -> int:
        """Ends a stay, and stores the announcement if it was the last one of the user in the room.

        Returns:
            The last sequence of the room; 0 if there was no such stay.
        """

    async def leave(self, room_id: str, user_id: str) -> bool:
        """Ends all stays of a user in a room, and stores the announcement.

        Returns:
            Whether there were any.

        Raises:
            RoomNotFound: There is no such room.
        """

    async def send(self, room_id: str, user_id: str, content: str, *, keep: int, key: str = "") -> Message:
        """Stores what a user says. The room keeps its last `keep` messages, or somewhat more.

        Returns:
            The message; the one of the first time if the user repeats it with its key.

        Raises:
            RoomNotFound: There is no such room.
            NotInRoom: The user is not in it.
            KeyTaken: The user has sent something else with this key.
        """

    async def history(self, room_id: str, limit: int, before: int | None = None) -> Page:
        """Returns the last messages of a room whose sequence is below `before`.

        Raises:
            RoomNotFound: There is no such room.
        """

    async def after(self, position: int, limit: int) -> list[Message]:
        """Returns the first messages of all rooms behind a position."""

    async def since(self, room_id: str, sequence: int, limit: int) -> list[Message]:
        """Returns the first messages of a room behind a sequence."""

    async def latest(self) -> int:
        """Returns the position of the last message, 0 if there is none."""

    async def renew(self, server_id: str, lease: int) -> None:
        """Says that a process lives, and ends the stays of those that have not said so within `lease` microseconds."""

    async def close(self) -> None:
        """Waits for the writes that were begun, and lets go of the storage."""
