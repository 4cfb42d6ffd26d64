"""A synchronous API as a side of behaviours: an object with the names of `grpc.aio`."""

from __future__ import annotations

from typing import Any

from tests.behaviour import sync_client, sync_server


class SyncApi:
    """What behaviours use of the module `grpc.aio`, made of the synchronous API of the same library."""

    EOF = sync_client.EOF

    #: What a synchronous API raises where asyncio has a class of its own.
    UsageError = ValueError
    InternalError = ValueError
    AbortError = Exception

    def __init__(self, root: Any) -> None:
        """Stand for the asyncio API of a library.

        Args:
            root: The package, as `grpc`.
        """
        self._root = root
        self.AioRpcError = root.RpcError
        self.Metadata = root.aio.Metadata

    def insecure_channel(self, target: str, **settings: Any) -> sync_client.Channel:
        return sync_client.Channel(self._root, self._root.insecure_channel(target, **settings))

    def secure_channel(self, target: str, credentials: Any, **settings: Any) -> sync_client.Channel:
        return sync_client.Channel(self._root, self._root.secure_channel(target, credentials, **settings))

    def server(self, **settings: Any) -> sync_server.Server:
        return sync_server.Server(self._root, settings)
