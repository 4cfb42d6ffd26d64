"""The client of the demo: reads the name of a step from each line of its standard input and makes the calls of it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from google.protobuf import text_format
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from pygrpc import RpcError, StatusCode, aio
from pygrpc.services.demo.lines import STEP_KEY, Line, LineKind
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc

_DETAILS_KEY = "grpc-status-details-bin"
#: No call of the demo takes longer, in seconds, unless something is wrong.
_PATIENCE = 10.0
DEADLINE = 0.5


class Unexpected(Exception):
    """A call ended in another way than it should; the text is a sentence that says how."""


class Client:
    """Makes the calls and tells of them."""

    def __init__(self, address: str, watched_address: str, say: Callable[[Line], None]) -> None:
        """Opens the channels.

        Args:
            address: The server's.
            watched_address: That of a proxy which records what passes.
            say: Told each line to show.
        """
        self._channel = aio.insecure_channel(address)
        self._watched_channel = aio.insecure_channel(watched_address)
        self._stub = user_pb2_grpc.UserServiceStub(self._channel)
        self._watched = user_pb2_grpc.UserServiceStub(self._watched_channel)
        self._say = say
        self._ada = user_pb2.User()
        self._watch: Any = None
        self.steps: dict[str, Callable[[], Awaitable[None]]] = {
            "create": self._create,
            "get": self._get,
            "batch": self._batch,
            "list": self._list,
            "chat": self._chat,
            "watch": self._begin_watch,
            "update": self._update,
            "delete": self._delete,
            "errors": self._errors,
            "deadline": self._deadline,
            "cancel": self._cancel,
            "wire-unary": self._wire_unary,
            "wire-stream": self._wire_stream,
        }

    async def close(self) -> None:
        """Closes the channels."""
        await self._channel.close()
        await self._watched_channel.close()

    # Every RPC once.

    async def _create(self) -> None:
        request = user_pb2.CreateUserRequest(
            name="Ada Lovelace", email="ada@example.com", password="note G", role=user_pb2.ROLE_ADMIN
        )
        self._call("CreateUser", "one request, one response", request)
        call = self._stub.CreateUser(request, timeout=_PATIENCE)
        self._ada = (await call).user
        self._response(self._ada)
        await self._ended(call)

    async def _get(self) -> None:
        request = user_pb2.GetUserRequest(id=self._ada.id)
        self._call("GetUser", "one request, one response", request)
        call = self._stub.GetUser(request, timeout=_PATIENCE)
        self._response((await call).user)
        await self._ended(call)

    async def _batch(self) -> None:
        requests = [
            user_pb2.CreateUserRequest(name="Grace Hopper", email="grace@example.com"),
            user_pb2.CreateUserRequest(name="Ada again", email="ada@example.com"),
            user_pb2.CreateUserRequest(name="Alan Turing", email="alan@example.com"),
        ]
        self._call("BatchCreateUsers", "many requests, one response", *requests)
        call = self._stub.BatchCreateUsers(iter(requests), timeout=_PATIENCE)
        response = await call
        self._response(f"{response.success_count} created, {response.failure_count} failed")
        for error in response.errors:
            code = next(each for each in StatusCode if each.value[0] == error.code)
            self._say(Line(LineKind.DETAIL, f"request {error.index}: {code.name}, {error.message}"))
        await self._ended(call)

    async def _list(self) -> None:
        request = user_pb2.ListUsersRequest(page_size=2, status_filter=user_pb2.USER_STATUS_ACTIVE)
        self._call("ListUsers", "one request, many responses", request)
        call = self._stub.ListUsers(request, timeout=_PATIENCE)
        async for user in call:
            self._response(user)
        await self._ended(call)
        token = dict(await call.trailing_metadata()).get("next-page-token", "")
        self._say(Line(LineKind.DETAIL, f"there are more: trailing metadata next-page-token {token!s}"))

    async def _chat(self) -> None:
        self._call("UserChat", "many requests, many responses, of two clients at once")
        ada, grace = self._stub.UserChat(timeout=_PATIENCE), self._stub.UserChat(timeout=_PATIENCE)
        for call, name in ((ada, "Ada"), (grace, "Grace")):
            self._response(f"to {name}:  {in_words(await call.read())}")
        message = user_pb2.ChatMessage(user_id="ada", content="Hello, Grace!")
        self._request(f"by Ada:  {in_words(message)}")
        await ada.write(message)
        self._response(f"to Grace:  {in_words(await grace.read())}")
        self._response(f"to Ada:  {in_words(await ada.read())}")
        for call in (ada, grace):
            await call.done_writing()
            await self._no_more(call)
            await _check(call, StatusCode.OK)
        await self._ended(ada)

    async def _begin_watch(self) -> None:
        request = user_pb2.WatchUserRequest(id=self._ada.id)
        self._call("WatchUser", "one request, many responses as they happen", request)
        self._watch = self._stub.WatchUser(request, timeout=_PATIENCE)
        self._response(await self._watch.read())

    async def _update(self) -> None:
        request = user_pb2.UpdateUserRequest(id=self._ada.id, name="Ada King", update_mask=FieldMask(paths=["name"]))
        self._call("UpdateUser", "one request, one response; the mask names what to change", request)
        call = self._stub.UpdateUser(request, timeout=_PATIENCE)
        self._response(await call)
        await self._ended(call)
        self._call("WatchUser", "goes on")
        self._response(await self._watch.read())

    async def _delete(self) -> None:
        request = user_pb2.DeleteUserRequest(id=self._ada.id)
        self._call("DeleteUser", "one request, one response", request)
        call = self._stub.DeleteUser(request, timeout=_PATIENCE)
        await call
        self._response("an empty message")
        await self._ended(call)
        self._call("WatchUser", "ends with the user")
        self._response(await self._watch.read())
        await self._no_more(self._watch)
        await self._ended(self._watch)

    # What can go wrong.

    async def _errors(self) -> None:
        bad = user_pb2.CreateUserRequest(name="", email="nobody")
        self._call("CreateUser", "with two mistakes", bad)
        await self._fails(self._stub.CreateUser(bad, timeout=_PATIENCE), StatusCode.INVALID_ARGUMENT)
        taken = user_pb2.CreateUserRequest(name="Grace", email="grace@example.com")
        self._call("CreateUser", "with an address that is taken", taken)
        await self._fails(self._stub.CreateUser(taken, timeout=_PATIENCE), StatusCode.ALREADY_EXISTS)
        missing = user_pb2.GetUserRequest(id=self._ada.id)
        self._call("GetUser", "of the user that was deleted", missing)
        await self._fails(self._stub.GetUser(missing, timeout=_PATIENCE), StatusCode.NOT_FOUND)

    async def _deadline(self) -> None:
        request = user_pb2.WatchUserRequest(id=await self._anybody())
        self._call("WatchUser", f"with a deadline in {DEADLINE:g} seconds, and nothing to tell before it", request)
        call = self._stub.WatchUser(request, timeout=DEADLINE, metadata=((STEP_KEY, "deadline"),))
        self._response(await call.read())
        await self._fails(call.read(), StatusCode.DEADLINE_EXCEEDED)

    async def _cancel(self) -> None:
        request = user_pb2.WatchUserRequest(id=await self._anybody())
        self._call("WatchUser", "cancelled by the client after the first response", request)
        call = self._stub.WatchUser(request, metadata=((STEP_KEY, "cancel"),))
        self._response(await call.read())
        call.cancel()
        await self._ended(call, StatusCode.CANCELLED)

    async def _anybody(self) -> str:
        async for user in self._stub.ListUsers(user_pb2.ListUsersRequest(page_size=1), timeout=_PATIENCE):
            return str(user.id)
        raise Unexpected("ListUsers found no user")

    # Calls that are recorded.

    async def _wire_unary(self) -> None:
        request = user_pb2.GetUserRequest(id=await self._anybody())
        call = self._watched.GetUser(request, timeout=_PATIENCE, metadata=((STEP_KEY, "unary"),))
        await call

    async def _wire_stream(self) -> None:
        call = self._watched.UserChat(timeout=_PATIENCE)
        # The server speaks first.
        await call.read()
        await call.write(user_pb2.ChatMessage(user_id="grace", content="Is anybody there?"))
        await call.read()
        await call.done_writing()
        await self._no_more(call)

    # Telling.

    def _call(self, rpc: str, how: str, *requests: Message) -> None:
        self._say(Line(LineKind.CALL, how, rpc))
        for request in requests:
            self._request(request)

    def _request(self, message: Message | str) -> None:
        self._say(Line(LineKind.REQUEST, message if isinstance(message, str) else in_words(message)))

    def _response(self, message: Message | str) -> None:
        self._say(Line(LineKind.RESPONSE, message if isinstance(message, str) else in_words(message)))

    async def _no_more(self, call: Any) -> None:
        if await call.read() is not aio.EOF:
            raise Unexpected("a stream of responses went on where it should end")

    async def _ended(self, call: Any, expected: StatusCode = StatusCode.OK) -> None:
        """Tells the status of a call, which must be the expected one."""
        self._say(Line(LineKind.STATUS, await _check(call, expected), expected.name))

    async def _fails(self, outcome: Awaitable[Any], expected: StatusCode) -> None:
        """Awaits an outcome that must be an error, and tells its details."""
        try:
            await outcome
        except aio.AioRpcError as error:
            self._say(Line(LineKind.STATUS, _checked(error.code(), error.details(), expected), expected.name))
            for key, value in error.trailing_metadata() or ():
                if key == _DETAILS_KEY and isinstance(value, bytes):
                    for text in violations(value):
                        self._say(Line(LineKind.DETAIL, text))
        else:
            raise Unexpected(f"a call succeeded that should end with {expected.name}")


async def _check(call: Any, expected: StatusCode) -> str:
    """Returns the details of a call that is over, which must have ended as expected."""
    return _checked(await call.code(), await call.details(), expected)


def _checked(code: StatusCode, details: str | None, expected: StatusCode) -> str:
    if code is not expected:
        raise Unexpected(f"a call ended with {code.name} instead of {expected.name}: {details}")
    return details or ""


def violations(status: bytes) -> list[str]:
    """Lists what a google.rpc.Status says of the fields of a request."""
    found = []
    for detail in Status.FromString(status).details:
        bad_request = BadRequest()
        if detail.Unpack(bad_request):
            found += [f"BadRequest, {each.field}: {each.description}" for each in bad_request.field_violations]
    return found


def in_words(message: Message) -> str:
    """Writes a message on one line; users and what contains them without the fields that tell nothing new."""
    match message:
        case user_pb2.User():
            status, role = user_pb2.UserStatus.Name(message.status), user_pb2.Role.Name(message.role)
            words = f"{status.removeprefix('USER_STATUS_').lower()} {role.removeprefix('ROLE_').lower()}"
            return f"{message.name} <{message.email}>, {words}, id {message.id}"
        case user_pb2.UserEvent():
            kind = user_pb2.UserEventType.Name(message.event_type).removeprefix("USER_EVENT_TYPE_")
            return f"{kind}: {in_words(message.user)}"
        case user_pb2.ChatMessage():
            return f"{message.user_id}: {message.content}"
        case _:
            return text_format.MessageToString(message, as_one_line=True, as_utf8=True)


async def main(address: str, watched_address: str) -> None:
    """Makes the calls of each step that is asked for, until standard input ends."""

    def say(line: Line) -> None:
        print(line.encode(), flush=True)

    client = Client(address, watched_address, say)
    try:
        async for step in _lines_of_stdin():
            try:
                await client.steps[step]()
                say(Line(LineKind.END))
            except (Unexpected, RpcError, OSError) as error:
                say(Line(LineKind.FAILED, _sentence(error)))
    finally:
        await client.close()


def _sentence(error: Exception) -> str:
    if isinstance(error, aio.AioRpcError):
        return f"a call ended with {error.code().name}: {error.details()}"
    return str(error)


async def _lines_of_stdin() -> AsyncIterator[str]:
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        yield line.rstrip("\n")


if __name__ == "__main__":
    # Ctrl-C reaches the whole group of processes; the demo is the one that ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(main(*sys.argv[1:3]))
