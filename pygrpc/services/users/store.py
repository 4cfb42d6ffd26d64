"""What the user service needs of a storage, and the errors that one may report.

The errors:

    errors.StoreError       the storage cannot do its work (disk full, file locked or damaged, ...)
    UserNotFound            there is no user with that id
    EmailTaken              another user has that e-mail address
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pygrpc.services.protos.user.v1 import user_pb2


class UserNotFound(Exception):
    """There is no user with this id."""

    def __init__(self, user_id: str) -> None:
        """Names the id that was asked for."""
        super().__init__(f'there is no user "{user_id}"')
        self.user_id = user_id


class EmailTaken(Exception):
    """Another user has this e-mail address, in upper or lower case."""

    def __init__(self, email: str, holder: str) -> None:
        """Names the address that was asked for and the id of the user that has it."""
        super().__init__(f'the e-mail address "{email}" is already taken')
        self.email = email
        self.holder = holder


class NewUser(NamedTuple):
    """A user to be stored: the store sets id and times.

    The hash is beside the message, not in it, so that whatever returns a user cannot return the hash.
    """

    user: user_pb2.User
    password_hash: str


class StoredUser(NamedTuple):
    """A user as it is stored; `revision` grows by one with each change."""

    user: user_pb2.User
    revision: int


class Position(NamedTuple):
    """A place in the list of all users, just after the user that has these two values.

    Attributes:
        created_at: Microseconds since 1970-01-01 UTC.
        user_id: Settles the order of users that were created in the same microsecond.
    """

    created_at: int
    user_id: str


class Change(NamedTuple):
    """A committed change. The event is shared by all who see it: it must not be modified.

    Attributes:
        event: What watchers are told.
        revision: Of the user.
        position: Grows by one with each change of the whole store, in the order of the commits.
    """

    event: user_pb2.UserEvent
    revision: int
    position: int


class UserStore(Protocol):
    """A storage for users, that several processes may share.

    A method that writes returns after the change is durable. Once begun, a write is finished even if the task that
    asked for it is cancelled, so that the listeners hear of every change that was made. There is a log of the last
    changes, some thousands at least.

    Every method may raise StoreError.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it."""

    def listen(self, listener: Callable[[list[Change]], None]) -> None:
        """Calls `listener` with the changes of each commit of this store, after it and in the order of the commits."""

    async def create(self, users: Sequence[NewUser]) -> list[user_pb2.User | EmailTaken]:
        """Stores users in one transaction.

        Returns:
            For each of them, in their order, the stored user, or the error that kept it out.
        """

    async def get(self, user_id: str) -> StoredUser:
        """Returns one user.

        Raises:
            UserNotFound: There is none with this id.
        """

    async def update(self, user_id: str, change: Callable[[user_pb2.User], None]) -> user_pb2.User:
        """Lets `change` modify a user in place, and stores it; all in one transaction.

        Raises:
            UserNotFound: There is none with this id.
            EmailTaken: The new address belongs to another user. Nothing was changed.
        """

    async def delete(self, user_id: str) -> None:
        """Removes a user.

        Raises:
            UserNotFound: There is none with this id.
        """

    async def page(
        self, *, limit: int, after: Position | None = None, offset: int = 0, status: int = 0
    ) -> list[user_pb2.User]:
        """Returns up to `limit` users in the order of their creation.

        Args:
            limit: The most users to return.
            after: Where to begin; at the first user if None.
            offset: So many users are left out first.
            status: Only users with this status; 0 is any.
        """

    async def numbers(self, user_ids: Sequence[str]) -> dict[str, int]:
        """Returns the numbers that clients of the unversioned contract know users by; removed users have none.

        Numbers begin at 1, grow in the order of creation, and are never used again.
        """

    async def get_numbered(self, number: int) -> StoredUser:
        """Returns the user of a number.

        Raises:
            UserNotFound: There is none; it names the number.
        """

    async def after(self, position: int, limit: int) -> list[Change]:
        """Returns the first changes behind a position that are still in the log."""

    async def latest(self) -> int:
        """Returns the position of the last change, 0 if there is none."""

    async def close(self) -> None:
        """Waits for the writes that were begun, and lets go of the storage."""


def email_key(email: str) -> str:
    """Returns the form in which two spellings of one e-mail address are the same.

    Caseless matching of compatible characters as of the Unicode standard, section 3.13 (D146).
    """
    key = unicodedata.normalize("NFKC", email).casefold()
    return unicodedata.normalize("NFKC", key)


def position_of(user: user_pb2.User) -> Position:
    """Returns the position just after `user`."""
    return Position(user.created_at.ToMicroseconds(), user.id)
