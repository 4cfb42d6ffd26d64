"""Every RPC of the user service from the synchronous clients of both libraries, in a thread beside the server."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import grpc
import pytest

import pygrpc
import pygrpc.aio
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from tests.services.support import names, running

BOUND = 20


def conversation(client: ModuleType, address: str) -> None:
    with client.insecure_channel(address) as channel:
        stub: Any = user_pb2_grpc.UserServiceStub(channel)
        ann = stub.CreateUser(user_pb2.CreateUserRequest(name="Ann", email="ann@example.com"), timeout=BOUND).user
        assert stub.GetUser(user_pb2.GetUserRequest(id=ann.id), timeout=BOUND).user == ann
        batch = iter([user_pb2.CreateUserRequest(name="Bob", email="bob@example.com"), user_pb2.CreateUserRequest()])
        created = stub.BatchCreateUsers(batch, timeout=BOUND)
        assert (names(created.users), created.failure_count) == (["Bob"], 1)
        assert names(stub.ListUsers(user_pb2.ListUsersRequest(), timeout=BOUND)) == ["Ann", "Bob"]

        watch = stub.WatchUser(user_pb2.WatchUserRequest(id=ann.id), timeout=BOUND)
        assert next(watch).event_type == user_pb2.USER_EVENT_TYPE_INITIAL
        change = user_pb2.UpdateUserRequest(id=ann.id, name="Anne")
        change.update_mask.paths.append("name")
        assert stub.UpdateUser(change, timeout=BOUND).name == "Anne"
        assert next(watch).user.name == "Anne"
        stub.DeleteUser(user_pb2.DeleteUserRequest(id=ann.id), timeout=BOUND)
        assert [event.event_type for event in watch] == [user_pb2.USER_EVENT_TYPE_DELETED]

        said: queue.SimpleQueue[user_pb2.ChatMessage | None] = queue.SimpleQueue()

        def sent() -> Iterator[user_pb2.ChatMessage]:
            yield from iter(said.get, None)

        chat = stub.UserChat(sent(), timeout=BOUND)
        assert next(chat).user_id == "system"
        said.put(user_pb2.ChatMessage(user_id="bob", content="hello"))
        assert next(chat).content == "Echo: hello"
        said.put(None)
        assert list(chat) == []

        with pytest.raises(client.RpcError) as raised:
            stub.GetUser(user_pb2.GetUserRequest(id=ann.id), timeout=BOUND)
        assert raised.value.code() is client.StatusCode.NOT_FOUND
        with pytest.raises(client.RpcError) as raised:
            next(stub.ListUsers(user_pb2.ListUsersRequest(page_size=-1), timeout=BOUND))
        assert raised.value.code() is client.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("client", [pygrpc, grpc], ids=["pygrpc-client", "grpcio-client"])
async def test_a_synchronous_client(client: ModuleType) -> None:
    async with running(pygrpc.aio) as server:
        await asyncio.to_thread(conversation, client, server.address)
