"""The RPCs of user.UserService, the contract without a version, over the users of user.v1.UserService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from pygrpc import aio
from pygrpc.services import callers
from pygrpc.services.callers import Identify
from pygrpc.services.errors import RequestError, Violation, answering, check_text, invalid, require
from pygrpc.services.protos.user import user_pb2, user_pb2_grpc
from pygrpc.services.protos.user.v1 import user_pb2 as v1
from pygrpc.services.users import batches, errors, fields, validation
from pygrpc.services.users.chat import SYSTEM, ChatRoom, Said, Words
from pygrpc.services.users.events import UserEvents
from pygrpc.services.users.store import EmailTaken, NewUser, UserNotFound, UserStore, position_of
from pygrpc.services.users.validation import Limits

DEFAULT_PAGE_SIZE = 10
# See UserService: a long page is read in pieces.
_PIECE = 100
# Characters of a refused value that a batch repeats.
_SHOWN = 64

_Context: TypeAlias = aio.ServicerContext[Any, Any]

_EVENT_TYPES = {
    v1.USER_EVENT_TYPE_INITIAL: "initial",
    v1.USER_EVENT_TYPE_CREATED: "created",
    v1.USER_EVENT_TYPE_UPDATED: "updated",
    v1.USER_EVENT_TYPE_DELETED: "deleted",
}


class UnversionedUserService(user_pb2_grpc.UserServiceServicer):
    """Serves the RPCs of protos/user/user.proto."""

    def __init__(
        self,
        store: UserStore,
        events: UserEvents,
        chat: ChatRoom,
        *,
        limits: Limits | None = None,
        identify: Identify = callers.unknown,
    ) -> None:
        """Makes the service; see UserService, whose store, events and chat it has."""
        self._store = store
        self._events = events
        self._chat = chat
        self._limits = limits or Limits()
        self._identify = identify

    async def GetUser(self, request: user_pb2.GetUserRequest, context: _Context) -> user_pb2.User:
        """Returns one user."""
        async with self._answering(context, request.user_id):
            if request.user_id <= 0:
                raise _refused("Valid user ID is required", [Violation("user_id", "must be above zero")])
            stored = await self._store.get_numbered(request.user_id)
            return _user(stored.user, request.user_id)

    async def CreateUser(self, request: user_pb2.CreateUserRequest, context: _Context) -> user_pb2.User:
        """Stores a new user."""
        async with self._answering(context):
            violations = validation.check_create(_as_v1(request), self._limits)
            if violations:
                raise _refused(_refusal(request, violations), violations)
            [result] = await self._store.create([_new(request)])
            if isinstance(result, EmailTaken):
                raise result
            [user] = await self._numbered([result])
            return user

    async def UpdateUser(self, request: user_pb2.UpdateUserRequest, context: _Context) -> user_pb2.User:
        """Changes the fields that are not empty."""
        async with self._answering(context, request.user_id):
            stored = await self._store.get_numbered(request.user_id)
            update = v1.UpdateUserRequest(id=stored.user.id, name=request.name, email=request.email)
            # Without a field there is nothing to check; the user's time of change moves all the same.
            violations = validation.check_update(update, self._limits) if fields.set_paths(update) else []
            if violations:
                raise _refused(_field_refusal(violations[0]), violations)
            user = await self._store.update(stored.user.id, lambda user: fields.change_user(user, update))
            return _user(user, request.user_id)

    async def DeleteUser(self, request: user_pb2.DeleteUserRequest, context: _Context) -> user_pb2.DeleteUserResponse:
        """Removes a user."""
        async with self._answering(context, request.user_id):
            stored = await self._store.get_numbered(request.user_id)
            await self._store.delete(stored.user.id)
            message = f"User {request.user_id} deleted successfully"
            return user_pb2.DeleteUserResponse(success=True, message=message)

    async def ListUsers(self, request: user_pb2.ListUsersRequest, context: _Context) -> AsyncIterator[user_pb2.User]:
        """Streams users in the order of their creation."""
        async with self._answering(context):
            require(
                validation.check_list(
                    v1.ListUsersRequest(page_size=request.page_size, offset=request.offset), self._limits
                )
            )
            left = min(request.page_size or DEFAULT_PAGE_SIZE, self._limits.page_size)
            offset, after = request.offset, None
            while left:
                users = await self._store.page(limit=min(left, _PIECE), after=after, offset=offset)
                for user in await self._numbered(users):
                    yield user
                if len(users) < min(left, _PIECE):
                    return
                after, offset, left = position_of(users[-1]), 0, left - len(users)

    async def WatchUser(self, request: user_pb2.WatchUserRequest, context: _Context) -> None:
        """Streams the state of a user and then its changes."""
        async with self._answering(context, request.user_id):
            stored = await self._store.get_numbered(request.user_id)
            async with aclosing(self._events.follow(stored.user.id)) as events:
                async for event in events:
                    await context.write(
                        user_pb2.UserEvent(
                            event_type=_EVENT_TYPES[event.event_type],
                            user=_user(event.user, request.user_id),
                            timestamp=_milliseconds(event.timestamp),
                        )
                    )

    async def CreateMultipleUsers(
        self, request_iterator: AsyncIterator[user_pb2.CreateUserRequest], context: _Context
    ) -> user_pb2.CreateMultipleUsersResponse:
        """Stores the users of a stream together."""
        async with self._answering(context):
            failures: dict[int, str] = {}
            accepted: dict[int, NewUser] = {}
            index = 0
            async for request in batches.within(request_iterator, self._limits):
                if validation.check_create(_as_v1(request), self._limits):
                    name, email = request.name[:_SHOWN], request.email[:_SHOWN]
                    failures[index] = f'Invalid user data: name="{name}", email="{email}"'
                else:
                    accepted[index] = _new(request)
                index += 1
            created = []
            for index, result in zip(accepted, await self._store.create(list(accepted.values())), strict=True):
                if isinstance(result, EmailTaken):
                    failures[index] = f"Email already exists: {result.email}"
                else:
                    created.append(result)
            numbers = [user.id for user in await self._numbered(created)]
            return user_pb2.CreateMultipleUsersResponse(
                created_count=len(created),
                user_ids=numbers,
                errors=[failures[index] for index in sorted(failures)],
            )

    async def ChatWithUsers(self, request_iterator: AsyncIterator[user_pb2.ChatMessage], context: _Context) -> None:
        """Joins the chat until the client half-closes."""
        talk = self._talk(request_iterator, self._identify(context))
        async with self._answering(context), aclosing(self._chat.visit(talk)) as heard:
            async for said in heard:
                # The echo is of user.v1; here the sender hears nothing of its own messages.
                if not said.echo:
                    await context.write(_chat_message(said))

    async def _talk(self, messages: AsyncIterator[user_pb2.ChatMessage], who: str) -> AsyncIterator[Words]:
        """Yields what one client of the chat says."""
        async for message in messages:
            callers.require_self(who, message.username, "username", errors.DOMAIN)
            found = list(check_text("username", message.username, self._limits.name_length, required=False))
            if message.username.casefold() == SYSTEM:
                found.append(Violation("username", f'must not be "{message.username}", which is the server'))
            found += check_text("message", message.message, self._limits.chat_content_length, one_line=False)
            require(found)
            name = message.username or str(message.user_id)
            # Whoever has a name here is known by that, and could claim any number.
            yield Words(name, message.message, 0 if who else message.user_id, message.username)

    async def _numbered(self, users: Sequence[v1.User]) -> list[user_pb2.User]:
        """Returns users as this contract has them; without those that were removed meanwhile."""
        numbers = await self._store.numbers([user.id for user in users])
        return [_user(user, numbers[user.id]) for user in users if user.id in numbers]

    @asynccontextmanager
    async def _answering(self, context: _Context, number: int = 0) -> AsyncIterator[None]:
        """Ends the call with the right status if the body raises an error; the number is that of the user asked for."""
        async with answering(context, partial(_translated, number)):
            try:
                yield
            except EmailTaken as error:
                # Clients of this contract know the holder by number.
                holders = await self._store.numbers([error.holder])
                raise EmailTaken(error.email, str(holders.get(error.holder, ""))) from None


def _translated(number: int, error: Exception) -> RequestError | None:
    """Returns the status of an error: that of user.v1, in the words of this contract."""
    failure = errors.translated(error)
    match error:
        case UserNotFound() if failure is not None:
            return RequestError(failure.code, f"User with ID {number} not found", *failure.details)
        case EmailTaken() if failure is not None:
            return RequestError(failure.code, "Email already exists", *failure.details)
        case _:
            return failure


def _refused(message: str, violations: Sequence[Violation]) -> RequestError:
    error = invalid(violations)
    return RequestError(error.code, message, *error.details)


def _refusal(request: user_pb2.CreateUserRequest, violations: Sequence[Violation]) -> str:
    """Says why a user can't be created."""
    if not request.name or not request.email:
        return "Name and email are required"
    return _field_refusal(violations[0])


def _field_refusal(violation: Violation) -> str:
    """Says what is wrong with a field."""
    match violation:
        case Violation("name", "must not be empty"):
            return "Name is required and cannot be empty"
        case Violation("email"):
            return "Valid email is required"
        case _:
            return f"Validation failed for field '{violation.field}': {violation.description}"


def _as_v1(request: user_pb2.CreateUserRequest) -> v1.CreateUserRequest:
    return v1.CreateUserRequest(name=request.name, email=request.email)


def _new(request: user_pb2.CreateUserRequest) -> NewUser:
    # A user without a password: this contract has none.
    return NewUser(fields.new_user(_as_v1(request)), "")


def _user(user: v1.User, number: int) -> user_pb2.User:
    return user_pb2.User(
        id=number,
        name=user.name,
        email=user.email,
        created_at=_milliseconds(user.created_at),
        updated_at=_milliseconds(user.updated_at),
    )


def _chat_message(said: Said) -> user_pb2.ChatMessage:
    words = said.words
    name = words.username or words.user_id
    return user_pb2.ChatMessage(
        user_id=words.number,
        username=name.capitalize() if name == SYSTEM else name,
        message=words.content,
        timestamp=said.at // 1000,
    )


def _milliseconds(timestamp: Timestamp) -> int:
    return timestamp.ToMilliseconds()
