"""Rooms in a database."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Row, and_, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pygrpc.services.chat.schema import MIGRATIONS, messages, rooms, servers, sessions
from pygrpc.services.chat.store import (
    Joined,
    KeyTaken,
    Kind,
    Message,
    NotInRoom,
    Page,
    Room,
    RoomNotFound,
    RoomTaken,
    Session,
    TooMany,
)
from pygrpc.services.database import DatabaseStore

# Old messages are removed once for so many new ones.
_PRUNE_EVERY = 100


class DatabaseChatStore(DatabaseStore):
    """A ChatStore in one database. Use `open` to make one."""

    title = "chat database"
    migrations = MIGRATIONS
    version_table = "chat_schema_version"

    # When this process has last said that it lives, and until when it takes no other one for dead.
    _renewed: int | None = None
    _lenient_until = 0

    async def create_room(self, name: str, description: str, created_by: str, room_id: str, most: int) -> Room:
        """See ChatStore."""
        return await self._finish(self._create_room(name, description, created_by, room_id or str(uuid.uuid4()), most))

    async def rooms(self, limit: int, *, after: int = 0, offset: int = 0) -> tuple[list[Room], int]:
        """See ChatStore."""
        return await self._finish(self._rooms(limit, after, offset))

    async def join(self, session: Session, *, history: int, most: int) -> Joined:
        """See ChatStore."""
        return await self._finish(self._join(session, history, most))

    async def end_session(self, session_id: str) -> int:
        """See ChatStore."""
        return await self._finish(self._end_session(session_id))

    async def leave(self, room_id: str, user_id: str) -> bool:
        """See ChatStore."""
        return await self._finish(self._leave(room_id, user_id))

    async def send(self, room_id: str, user_id: str, content: str, *, keep: int, key: str = "") -> Message:
        """See ChatStore."""
        return await self._finish(self._send(room_id, user_id, content, keep, key))

    async def history(self, room_id: str, limit: int, before: int | None = None) -> Page:
        """See ChatStore."""
        return await self._finish(self._history(room_id, limit, before))

    async def after(self, position: int, limit: int) -> list[Message]:
        """See ChatStore."""
        return await self._finish(self._after(position, limit))

    async def since(self, room_id: str, sequence: int, limit: int) -> list[Message]:
        """See ChatStore."""
        return await self._finish(self._since(room_id, sequence, limit))

    async def latest(self) -> int:
        """See ChatStore."""
        return await self._finish(self._latest())

    async def renew(self, server_id: str, lease: int) -> None:
        """See ChatStore."""
        await self._finish(self._renew(server_id, lease))

    async def _create_room(self, name: str, description: str, created_by: str, room_id: str, most: int) -> Room:
        async with self._write() as connection:
            if (await connection.execute(select(exists().where(rooms.c.id == room_id)))).scalar_one():
                raise RoomTaken(room_id)
            if (await connection.execute(select(func.count()).select_from(rooms))).scalar_one() >= most:
                raise TooMany(f"there are {most} rooms, and there may not be more")
            now = self._clock()
            row = {"id": room_id, "name": name, "description": description, "created_by": created_by}
            result = await connection.execute(insert(rooms).values(row | {"created_at": now, "last_sequence": 0}))
            [number] = result.inserted_primary_key or [0]
        return Room(number, room_id, name, description, created_by, now, 0)

    async def _rooms(self, limit: int, after: int, offset: int) -> tuple[list[Room], int]:
        present = select(func.count(sessions.c.user_id.distinct())).where(sessions.c.room_id == rooms.c.id)
        query = select(rooms, present.scalar_subquery().label("members")).where(rooms.c.number > after)
        async with self._read() as connection:
            found = await connection.execute(query.order_by(rooms.c.number).limit(limit).offset(offset))
            total = (await connection.execute(select(func.count()).select_from(rooms))).scalar_one()
        return [_room(row) for row in found], total

    async def _join(self, session: Session, history: int, most: int) -> Joined:
        async with self._write() as connection:
            room_id, user_id = session.room_id, session.user_id
            before = await _last_sequence(connection, room_id)
            count = select(func.count()).where(sessions.c.room_id == room_id)
            if (await connection.execute(count)).scalar_one() >= most:
                raise TooMany(f"room {room_id} is full")
            present = await _username(connection, room_id, user_id) is not None
            row = session._asdict()
            row["id"] = row.pop("session_id")
            await connection.execute(insert(sessions).values(row))
            page = await _page(connection, room_id, history, before + 1)
            if not present:
                name = session.username
                await self._add(connection, room_id, user_id, name, f"{name} joined the room", Kind.JOINED)
        return Joined(before, page.messages)

    async def _end_session(self, session_id: str) -> int:
        async with self._write() as connection:
            last = await self._end(connection, session_id)
        return last

    async def _end(self, connection: AsyncConnection, session_id: str) -> int:
        row = (await connection.execute(select(sessions).where(sessions.c.id == session_id))).one_or_none()
        if row is None:
            return 0
        await connection.execute(delete(sessions).where(sessions.c.id == session_id))
        if await _username(connection, row.room_id, row.user_id) is None:
            return (await self._add_left(connection, row.room_id, row.user_id, row.username)).sequence
        return await _last_sequence(connection, row.room_id)

    async def _leave(self, room_id: str, user_id: str) -> bool:
        async with self._write() as connection:
            await _last_sequence(connection, room_id)
            name = await _username(connection, room_id, user_id)
            if name is None:
                return False
            await connection.execute(delete(sessions).where(_stays(room_id, user_id)))
            await self._add_left(connection, room_id, user_id, name)
        return True

    async def _send(self, room_id: str, user_id: str, content: str, keep: int, key: str) -> Message:
        async with self._write() as connection:
            if key and (sent := await _sent_with(connection, room_id, user_id, key)) is not None:
                if sent.content != content:
                    raise KeyTaken(key)
                return sent
            name = await _username(connection, room_id, user_id)
            if name is None:
                await _last_sequence(connection, room_id)
                raise NotInRoom(user_id, room_id)
            message = await self._add(connection, room_id, user_id, name, content, Kind.USER, key)
            if message.sequence > keep and message.sequence % _PRUNE_EVERY == 0:
                old = and_(messages.c.room_id == room_id, messages.c.sequence <= message.sequence - keep)
                await connection.execute(delete(messages).where(old))
        return message

    async def _add_left(self, connection: AsyncConnection, room_id: str, user_id: str, name: str) -> Message:
        return await self._add(connection, room_id, user_id, name, f"{name} left the room", Kind.LEFT)

    async def _add(
        self,
        connection: AsyncConnection,
        room_id: str,
        user_id: str,
        name: str,
        content: str,
        kind: Kind,
        key: str = "",
    ) -> Message:
        counted = update(rooms).where(rooms.c.id == room_id).values(last_sequence=rooms.c.last_sequence + 1)
        sequence = (await connection.execute(counted.returning(rooms.c.last_sequence))).scalar_one()
        message = Message(0, room_id, sequence, user_id, name, content, self._clock(), kind, key)
        row = message._asdict()
        del row["position"]
        result = await connection.execute(insert(messages).values(row))
        [position] = result.inserted_primary_key or [0]
        message = message._replace(position=position)
        self._tell([message])
        return message

    async def _history(self, room_id: str, limit: int, before: int | None) -> Page:
        async with self._read() as connection:
            last = await _last_sequence(connection, room_id)
            return await _page(connection, room_id, limit, last + 1 if before is None else before)

    async def _after(self, position: int, limit: int) -> list[Message]:
        query = select(messages).where(messages.c.position > position).order_by(messages.c.position).limit(limit)
        async with self._read() as connection:
            return [_message(row) for row in await connection.execute(query)]

    async def _since(self, room_id: str, sequence: int, limit: int) -> list[Message]:
        query = select(messages).where(messages.c.room_id == room_id, messages.c.sequence > sequence)
        async with self._read() as connection:
            return [_message(row) for row in await connection.execute(query.order_by(messages.c.sequence).limit(limit))]

    async def _latest(self) -> int:
        async with self._read() as connection:
            return (await connection.execute(select(func.max(messages.c.position)))).scalar_one() or 0

    async def _renew(self, server_id: str, lease: int) -> None:
        async with self._write() as connection:
            now = self._clock()
            await connection.execute(delete(servers).where(servers.c.id == server_id))
            await connection.execute(insert(servers).values(id=server_id, seen_at=now))
            if self._renewed is not None and now - self._renewed > lease:
                # The database was away, maybe: then the others could not say that they live either.
                self._lenient_until = now + lease
            self._renewed = now
            if now < self._lenient_until:
                return
            await connection.execute(delete(servers).where(servers.c.seen_at < now - lease))
            dead = select(sessions.c.id).where(sessions.c.server_id.not_in(select(servers.c.id)))
            for session_id in (await connection.execute(dead)).scalars().all():
                await self._end(connection, session_id)


async def _last_sequence(connection: AsyncConnection, room_id: str) -> int:
    query = select(rooms.c.last_sequence).where(rooms.c.id == room_id)
    last: int | None = (await connection.execute(query)).scalar_one_or_none()
    if last is None:
        raise RoomNotFound(room_id)
    return last


def _stays(room_id: str, user_id: str) -> Any:
    return and_(sessions.c.room_id == room_id, sessions.c.user_id == user_id)


async def _username(connection: AsyncConnection, room_id: str, user_id: str) -> str | None:
    """Returns the name of a user in a room, None if the user is not there."""
    query = select(sessions.c.username).where(_stays(room_id, user_id)).limit(1)
    name: str | None = (await connection.execute(query)).scalar_one_or_none()
    return name


async def _page(connection: AsyncConnection, room_id: str, limit: int, before: int) -> Page:
    query = select(messages).where(messages.c.room_id == room_id, messages.c.sequence < before)
    # One more than wanted tells whether there are older ones.
    found = await connection.execute(query.order_by(messages.c.sequence.desc()).limit(limit + 1))
    latest = [_message(row) for row in found]
    return Page(latest[:limit][::-1], len(latest) > limit)


async def _sent_with(connection: AsyncConnection, room_id: str, user_id: str, key: str) -> Message | None:
    query = select(messages).where(messages.c.room_id == room_id, messages.c.user_id == user_id, messages.c.key == key)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _message(row)


def _message(row: Row[Any]) -> Message:
    at, kind = row.at, Kind(row.kind)
    return Message(row.position, row.room_id, row.sequence, row.user_id, row.username, row.content, at, kind, row.key)


def _room(row: Row[Any]) -> Room:
    return Room(row.number, row.id, row.name, row.description, row.created_by, row.created_at, row.members)
