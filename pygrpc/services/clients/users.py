"""The client of the user service."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Unpack

from pygrpc import StatusCode
from pygrpc.services.clients.connection import Connection, collected
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.options import CallOptions
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc

_NEXT_PAGE = "next-page-token"
_PAGE_SIZE = 200
_Stub = user_pb2_grpc.UserServiceStub


class UserClient:
    """Makes the calls of protos/user/v1/user.proto.

    Each method takes the options of `CallOptions` besides its own arguments, and raises ServiceError.
    """

    def __init__(self, connection: Connection) -> None:
        """Makes a client on a connection, which others may share and the caller closes."""
        self._connection = connection

    async def create(self, request: user_pb2.CreateUserRequest, **how: Unpack[CallOptions]) -> user_pb2.User:
        """Stores a new user and returns it."""
        response = await self._connection.unary(_Stub, "CreateUser", request, how)
        user: user_pb2.User = response.user
        return user

    async def get(self, user_id: str, **how: Unpack[CallOptions]) -> user_pb2.User:
        """Returns a user."""
        response = await self._connection.unary(_Stub, "GetUser", user_pb2.GetUserRequest(id=user_id), how)
        user: user_pb2.User = response.user
        return user

    async def update(self, request: user_pb2.UpdateUserRequest, **how: Unpack[CallOptions]) -> user_pb2.User:
        """Changes what the request's mask names, and returns the user as it is then."""
        user: user_pb2.User = await self._connection.unary(_Stub, "UpdateUser", request, how)
        return user

    async def delete(self, user_id: str, **how: Unpack[CallOptions]) -> None:
        """Removes a user for good."""
        await self._connection.unary(_Stub, "DeleteUser", user_pb2.DeleteUserRequest(id=user_id), how)

    async def list(
        self, status: int = 0, *, page_size: int = _PAGE_SIZE, **how: Unpack[CallOptions]
    ) -> AsyncIterator[user_pb2.User]:
        """Iterates over all users in the order of their creation, page by page.

        Args:
            status: Only users with this status; 0 for all.
            page_size: How many users to ask for at a time.
            **how: Hold for each page.
        """
        token = ""
        while True:
            request = user_pb2.ListUsersRequest(page_size=page_size, page_token=token)
            request.status_filter = status  # type: ignore[assignment]
            users, token = await self._connection.page(_Stub, "ListUsers", request, how, _NEXT_PAGE)
            for user in users:
                yield user
            if not token:
                return

    async def create_many(
        self,
        requests: Iterable[user_pb2.CreateUserRequest] | AsyncIterable[user_pb2.CreateUserRequest],
        **how: Unpack[CallOptions],
    ) -> user_pb2.BatchCreateUsersResponse:
        """Stores many users together; the response says which of them were refused, and why."""
        # All of them are there before the call begins, so that one that is made again has all of them again.
        batch = await collected(requests)
        response: user_pb2.BatchCreateUsersResponse = await self._connection.unary(
            _Stub, "BatchCreateUsers", batch, how
        )
        return response

    async def watch(self, user_id: str, **how: Unpack[CallOptions]) -> AsyncIterator[user_pb2.UserEvent]:
        """Iterates over the state of a user and then its changes, for as long as the user exists.

        A watch that breaks off is taken up again. What changed meanwhile comes as one event of type UPDATED, or
        DELETED, with the state as it is then; if nothing changed, nothing comes.

        Args:
            user_id: The user.
            **how: Has no timeout unless one is given; that holds for all attempts together.
        """
        deadline = self._connection.deadline({"timeout": how.get("timeout")})
        pacing = self._connection.pacing()
        request = user_pb2.WatchUserRequest(id=user_id)
        last: user_pb2.UserEvent | None = None
        while True:
            try:
                responses = self._connection.responses(_Stub, "WatchUser", request, how, deadline, pacing)
                async with aclosing(responses) as events:
                    async for event in events:
                        pacing.progressed()
                        if event.event_type == user_pb2.USER_EVENT_TYPE_INITIAL and last is not None:
                            if event.user == last.user:
                                continue
                            event.event_type = user_pb2.USER_EVENT_TYPE_UPDATED
                        last = event
                        yield event
                return
            except ServiceError as error:
                if last is not None and error.code is StatusCode.NOT_FOUND:
                    deletion = user_pb2.UserEvent(event_type=user_pb2.USER_EVENT_TYPE_DELETED, user=last.user)
                    deletion.timestamp.GetCurrentTime()
                    yield deletion
                    return
                await pacing.after(error)

    async def chat(
        self, messages: AsyncIterable[user_pb2.ChatMessage], **how: Unpack[CallOptions]
    ) -> AsyncIterator[user_pb2.ChatMessage]:
        """Is in the chat of all users, says there what `messages` yields, and leaves after its end.

        The chat keeps no messages, so there is nothing to take up again: rooms that do are in `ChatClient`.
        """
        deadline = self._connection.deadline({"timeout": how.get("timeout")})
        responses = self._connection.responses(_Stub, "UserChat", messages, how, deadline, self._connection.pacing())
        async with aclosing(responses) as received:
            async for message in received:
                yield message
