"""Call credentials in the sync client: plugins are asked for metadata before a call starts."""

import threading
from collections.abc import Callable

from pygrpc.call_credentials import PluginSource, request_metadata
from pygrpc.core.client_call import ClientCall
from pygrpc.core.metadata import Header, encode_metadata
from pygrpc.core.status import Status
from pygrpc.interfaces import AuthMetadataContext
from pygrpc.metadata import Metadatum
from pygrpc.status import StatusCode
from pygrpc.sync.driver import Driver

#: How a call ends whose credentials would go over a connection that anybody can listen to.
NOT_PRIVATE = Status(
    StatusCode.UNAUTHENTICATED,
    "Established channel does not have a sufficient security level to transfer call credential.",
)


class Authentication:
    """The plugins of one call, and where their metadata goes."""

    def __init__(
        self, driver: Driver, plugins: tuple[PluginSource, ...], context: AuthMetadataContext, headers: list[Header]
    ) -> None:
        """Keeps what is needed when the call starts.

        Args:
            driver: The driver of the call's channel.
            plugins: The channel's and the call's.
            context: The call as plugins see it.
            headers: The custom metadata of the call, which the plugins' is added to.
        """
        self._driver = driver
        self._plugins = plugins
        self._context = context
        self._headers = headers

    def begin(self, call: ClientCall, start: Callable[[], None]) -> None:
        """Asks the plugins, in a thread of their own; ends the call if one fails. Requires the lock.

        Args:
            call: The call.
            start: Called with the lock held once the metadata is there, unless the call has ended.
        """

        def received(metadata: tuple[Metadatum, ...], error: str | None) -> None:
            if not call.ended:
                self._received(call, metadata, error, start)

        def received_somewhere(metadata: tuple[Metadatum, ...], error: str | None) -> None:
            with self._driver.lock:
                received(metadata, error)
                self._driver.settle()

        if any(plugin.may_block for plugin in self._plugins):
            # A plugin may take longer than the call has, and may make calls on this very channel.
            arguments = (self._plugins, self._context, received_somewhere)
            threading.Thread(target=request_metadata, args=arguments, name="pygrpc-credentials", daemon=True).start()
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
