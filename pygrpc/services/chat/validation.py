"""Every rule about what a request may hold. Each check returns the list of what is wrong, empty for a good request."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from pygrpc.services.errors import Violation, check_text
from pygrpc.services.paging import sealed, unsealed

# The server.
SYSTEM = "system"

_ROOM_ID = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN = struct.Struct(">BQ")
_TOKEN_VERSION = 1
_LONGEST_NUMBER = 18


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest values that are accepted. Lengths are in characters.

    Attributes:
        id_length: Of the ids of rooms and users, and of idempotency keys.
        name_length: Of the names of rooms and users.
        description_length: Of a room's description.
        content_length: Of a message. A page of the longest ones stays below the 4 MiB that a client accepts.
        page_size: Rooms or messages in one response, and the history that a newcomer gets.
        offset: Rooms that can be left out of a list.
        rooms: How many rooms there may be.
        members: How many stays there may be in one room.
        messages: How many messages a room keeps.
        rate: Messages that a user may send in a second, in the long run.
        burst: Messages that a user may send at once.
    """

    id_length: int = 64
    name_length: int = 100
    description_length: int = 1000
    content_length: int = 4096
    page_size: int = 200
    offset: int = 1_000_000
    rooms: int = 10_000
    members: int = 1000
    messages: int = 10_000
    rate: float = 20.0
    burst: int = 100


def check_room(room_id: str, name: str, description: str, created_by: str, limits: Limits) -> list[Violation]:
    """Checks a request to open a room; an empty id lets the server choose."""
    found = list(check_text("name", name, limits.name_length))
    found += check_text("description", description, limits.description_length, required=False, one_line=False)
    found += check_user(created_by, limits, "created_by")
    if room_id:
        found += check_room_id(room_id, limits)
    return found


def check_room_id(room_id: str, limits: Limits) -> list[Violation]:
    """Checks the id of a room. Whether there is such a room is the store's to say."""
    found = list(check_text("room_id", room_id, limits.id_length))
    if not found and not _ROOM_ID.fullmatch(room_id):
        found.append(Violation("room_id", 'may hold only letters, digits, "-" and "_"'))
    return found


def check_user(user_id: str, limits: Limits, field: str = "user_id") -> list[Violation]:
    """Checks the id of a user."""
    found = list(check_text(field, user_id, limits.id_length))
    if user_id.casefold() == SYSTEM:
        found.append(Violation(field, f'must not be "{SYSTEM}", which is the server'))
    return found


def check_member(room_id: str, user_id: str, limits: Limits) -> list[Violation]:
    """Checks the ids of a room and a user."""
    return check_room_id(room_id, limits) + check_user(user_id, limits)


def check_join(room_id: str, user_id: str, username: str, history: int, limits: Limits) -> list[Violation]:
    """Checks a request to enter a room."""
    found = check_member(room_id, user_id, limits)
    found += check_text("username", username, limits.name_length, required=False)
    if username.strip().casefold() == SYSTEM:
        found.append(Violation("username", f'must not be "{SYSTEM}", which is the server'))
    return found + check_not_negative("history_size", history)


def check_content(content: str, limits: Limits) -> list[Violation]:
    """Checks what a user says."""
    return list(check_text("content", content, limits.content_length, one_line=False))


def check_key(key: str, limits: Limits) -> list[Violation]:
    """Checks the key of a message."""
    return list(check_text("idempotency_key", key, limits.id_length, required=False))


def check_not_negative(field: str, value: int) -> list[Violation]:
    """Checks a size of a page."""
    return [Violation(field, "must not be negative")] if value < 0 else []


def check_offset(offset: int, limits: Limits) -> list[Violation]:
    """Checks how many rooms are to be left out."""
    return [] if 0 <= offset <= limits.offset else [Violation("offset", f"must be from 0 to {limits.offset}")]


def check_before(room_id: str, message_id: str) -> Iterable[Violation]:
    """Checks the message that a page of history ends before."""
    if message_id and sequence_of(room_id, message_id) is None:
        yield Violation("before_message_id", "is not the id of a message of this room")


def sequence_of(room_id: str, message_id: str) -> int | None:
    """Returns the sequence of a message, None if the id is not one of this room."""
    prefix, _, number = message_id.rpartition(".")
    if prefix != room_id or not number.isascii() or not number.isdecimal() or len(number) > _LONGEST_NUMBER:
        return None
    return int(number)


def check_token(token: str) -> Iterable[Violation]:
    """Checks the page token of a list of rooms."""
    try:
        decode_token(token)
    except ValueError as error:
        yield Violation("page_token", str(error))


def encode_token(number: int) -> str:
    """Returns the token of the page behind a room, in a form that clients cannot read anything into."""
    return sealed(_TOKEN.pack(_TOKEN_VERSION, number))


def decode_token(token: str) -> int:
    """Returns the number of the room that a page begins behind; 0 for no token.

    Raises:
        ValueError: The token was not made by `encode_token`.
    """
    if not token:
        return 0
    version, number = _TOKEN.unpack(unsealed(token, _TOKEN.size))
    if version != _TOKEN_VERSION or number >= 1 << 63:
        raise ValueError("is not a page token of this service")
    return int(number)
