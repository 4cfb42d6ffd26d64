"""The RPCs of user.v1.UserService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

from google.protobuf.empty_pb2 import Empty

from pygrpc import aio
from pygrpc.services import callers
from pygrpc.services.callers import Identify
from pygrpc.services.errors import RequestError, invalid, require
from pygrpc.services.fanout import Fanout
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from pygrpc.services.users import batches, errors, fields, paging, validation
from pygrpc.services.users.chat import ChatRoom, Said, Words
from pygrpc.services.users.events import UserEvents
from pygrpc.services.users.passwords import Passwords
from pygrpc.services.users.store import EmailTaken, NewUser, UserStore, position_of
from pygrpc.services.users.validation import Limits

NEXT_PAGE_TOKEN = "next-page-token"
DEFAULT_PAGE_SIZE = 50
ECHO = "Echo: "
# A page is read in pieces of so many users, so that a long page of large users is never in memory as a whole.
_PIECE = 100

_Context: TypeAlias = aio.ServicerContext[Any, Any]


class UserService(user_pb2_grpc.UserServiceServicer):
    """Serves the RPCs of protos/user/v1/user.proto, which says what each of them does.

    One instance belongs to one event loop. Its watchers see the changes of all instances on the same database.
    """

    def __init__(
        self,
        store: UserStore,
        passwords: Passwords,
        *,
        limits: Limits | None = None,
        queue_limit: int = 256,
        poll: float = 0.25,
        fanout: Fanout | None = None,
        identify: Identify = callers.unknown,
    ) -> None:
        """Makes the service on an open store.

        Args:
            store: Where the users are. The caller closes it after the service has stopped.
            passwords: Hashes passwords. The caller closes it.
            limits: The largest requests that are accepted.
            queue_limit: The most events or messages that wait for one client of WatchUser or UserChat.
            poll: How often to look for changes of other processes, in seconds, while no hints come from there.
            fanout: Passes hints on between processes. The caller opens it before and closes it after the service.
            identify: Knows who makes a call, and may chat as nobody else.
        """
        self._store = store
        self._passwords = passwords
        self._limits = limits or Limits()
        self._identify = identify
        self.events = UserEvents(store, queue_limit, poll=poll, fanout=fanout)
        self.chat = ChatRoom(queue_limit)

    def shut_down(self) -> None:
        """Ends the calls that would not end by themselves, so that a graceful stop need not wait for them."""
        self.events.close()
        self.chat.close()

    async def CreateUser(self, request: user_pb2.CreateUserRequest, context: _Context) -> user_pb2.CreateUserResponse:
        """Stores a new user."""
        async with errors.answering(context):
            require(validation.check_create(request, self._limits))
            [result] = await self._store.create([await self._described(request)])
            if isinstance(result, EmailTaken):
                raise result
            return user_pb2.CreateUserResponse(user=result)

    async def GetUser(self, request: user_pb2.GetUserRequest, context: _Context) -> user_pb2.GetUserResponse:
        """Returns one user."""
        async with errors.answering(context):
            require(validation.check_id(request.id, self._limits))
            return user_pb2.GetUserResponse(user=(await self._store.get(request.id)).user)

    async def UpdateUser(self, request: user_pb2.UpdateUserRequest, context: _Context) -> user_pb2.User:
        """Changes the fields that the update mask names."""
        async with errors.answering(context):
            require(validation.check_update(request, self._limits))
            return await self._store.update(request.id, lambda user: fields.change_user(user, request))

    async def DeleteUser(self, request: user_pb2.DeleteUserRequest, context: _Context) -> Empty:
        """Removes a user."""
        async with errors.answering(context):
            require(validation.check_id(request.id, self._limits))
            await self._store.delete(request.id)
            return Empty()

    async def ListUsers(self, request: user_pb2.ListUsersRequest, context: _Context) -> AsyncIterator[user_pb2.User]:
        """Streams one page of users."""
        async with errors.answering(context):
            require(validation.check_list(request, self._limits))
            status, offset, after = request.status_filter, request.offset, None
            if request.page_token:
                after = paging.decode_token(request.page_token, status)
            left = min(request.page_size or DEFAULT_PAGE_SIZE, self._limits.page_size)
            while True:
                wanted = min(left, _PIECE)
                # One more than wanted tells whether there is another page.
                users = await self._store.page(limit=wanted + 1, after=after, offset=offset, status=status)
                for user in users[:wanted]:
                    yield user
                if len(users) <= wanted:
                    return
                after, offset, left = position_of(users[wanted - 1]), 0, left - wanted
                if not left:
                    context.set_trailing_metadata(((NEXT_PAGE_TOKEN, paging.encode_token(after, status)),))
                    return

    async def WatchUser(self, request: user_pb2.WatchUserRequest, context: _Context) -> None:
        """Streams the state of a user and then its changes."""
        async with errors.answering(context):
            require(validation.check_id(request.id, self._limits))
            async with aclosing(self.events.follow(request.id)) as events:
                async for event in events:
                    await context.write(event)

    async def BatchCreateUsers(
        self, request_iterator: AsyncIterator[user_pb2.CreateUserRequest], context: _Context
    ) -> user_pb2.BatchCreateUsersResponse:
        """Stores the users of a stream together."""
        async with errors.answering(context):
            failures: dict[int, RequestError] = {}
            accepted: dict[int, NewUser] = {}
            index = -1
            async for request in batches.within(request_iterator, self._limits):
                index += 1
                violations = validation.check_create(request, self._limits)
                if violations:
                    failures[index] = invalid(violations)
                else:
                    accepted[index] = await self._described(request)
            response = user_pb2.BatchCreateUsersResponse()
            for index, result in zip(accepted, await self._store.create(list(accepted.values())), strict=True):
                if isinstance(result, EmailTaken):
                    failures[index] = errors.email_taken(result)
                else:
                    response.users.append(result)
            response.success_count, response.failure_count = len(response.users), len(failures)
            for index, failure in sorted(failures.items()):
                response.errors.add(index=index, code=failure.code.value[0], message=failure.message)
            return response

    async def UserChat(self, request_iterator: AsyncIterator[user_pb2.ChatMessage], context: _Context) -> None:
        """Joins the chat until the client half-closes."""
        async with (
            errors.answering(context),
            aclosing(self.chat.visit(self._talk(request_iterator, self._identify(context)))) as heard,
        ):
            async for said in heard:
                await context.write(_chat_message(said))

    async def _talk(self, messages: AsyncIterator[user_pb2.ChatMessage], who: str) -> AsyncIterator[Words]:
        """Yields what one client of the chat says."""
        async for message in messages:
            callers.require_self(who, message.user_id, "user_id", errors.DOMAIN)
            require(validation.check_chat(message, self._limits))
            yield Words(message.user_id, message.content)

    async def _described(self, request: user_pb2.CreateUserRequest) -> NewUser:
        return NewUser(fields.new_user(request), await self._passwords.hash(request.password))


def _chat_message(said: Said) -> user_pb2.ChatMessage:
    words = said.words
    message = user_pb2.ChatMessage(user_id=words.user_id, content=ECHO + words.content if said.echo else words.content)
    message.timestamp.FromMicroseconds(said.at)
    return message
