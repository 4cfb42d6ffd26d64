"""Call credentials in the asyncio client: plugins are asked for metadata before a call starts."""

import asyncio
from collections.abc import Callable

from pygrpc.call_credentials import PluginSource, plugin_context, request_metadata
from pygrpc.core.client_call import ClientCall
from pygrpc.core.metadata import Header, encode_metadata
from pygrpc.core.status import Status
from pygrpc.metadata import Metadatum
from pygrpc.status import StatusCode

#: How a call ends whose credentials would go over a connection that anybody can listen to.
NOT_PRIVATE = Status(
    StatusCode.UNAUTHENTICATED,
    "Established channel does not have a sufficient security level to transfer call credential.",
)


class Authentication:
    """The plugins of one call, and where their metadata goes."""

    def __init__(
        self, plugins: tuple[PluginSource, ...], scheme: str, authority: str, path: str, headers: list[Header]
    ) -> None:
        """Keeps what is needed when the call starts.

        Args:
            plugins: The channel's and the call's.
            scheme: How the service URL begins.
            authority: The ``:authority`` of the call.
            path: The full name of the method.
            headers: The custom metadata of the call, which the plugins' is added to.
        """
        self._plugins = plugins
        self._context = plugin_context(scheme, authority, path)
        self._headers = headers

    def begin(self, call: ClientCall, loop: asyncio.AbstractEventLoop, start: Callable[[], None]) -> None:
        """Asks the plugins, in a thread unless none of them can block; ends the call if one fails.

        Args:
            call: The call.
            loop: The loop that it belongs to.
            start: Called in the loop once the metadata is there, unless the call has ended.
        """

        def received(metadata: tuple[Metadatum, ...], error: str | None) -> None:
            if not call.ended:
                self._received(call, metadata, error, start)

        def received_somewhere(metadata: tuple[Metadatum, ...], error: str | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(received, metadata, error)

        if any(plugin.may_block for plugin in self._plugins):
            loop.run_in_executor(None, request_metadata, self._plugins, self._context, received_somewhere)
        else:
            request_metadata(self._plugins, self._context, received)

    def _received(
        self, call: ClientCall, metadata: tuple[Metadatum, ...], error: str | None, start: Callable[[], None]
    ) -> None:
        if error is None:
            try:
                self._headers += encode_metadata(metadata)
            except (TypeError, ValueError) as illegal:
                error = f"Illegal metadata: {illegal}"
        if error is None:
            start()
        else:
            call.cancel(Status(StatusCode.UNAVAILABLE, error))
