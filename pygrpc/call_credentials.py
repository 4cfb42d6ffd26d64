"""Call credentials: what metadata authenticates a call, and how plugins are asked for it.

Nothing here waits: a plugin may block, or call back from a thread of its own, and it is for the shells to choose where
that does no harm.
"""

import contextvars
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pygrpc.interfaces import AuthMetadataContext, AuthMetadataPlugin, AuthMetadataPluginCallback
from pygrpc.metadata import MetadataType, Metadatum

_LOGGER = logging.getLogger("pygrpc")


class PluginSource(NamedTuple):
    """One source of call metadata.

    Attributes:
        plugin: Makes the metadata.
        name: What to call it in logs.
        context: The context variables at the time when the credentials were made, which the plugin runs with.
    """

    plugin: AuthMetadataPlugin
    name: str
    context: contextvars.Context

    @property
    def may_block(self) -> bool:
        """Whether the plugin does more than hand out what it has."""
        return not isinstance(self.plugin, _AccessToken)


class CallCredentials:
    """What metadata authenticates a call; for single calls, or for a channel through composite_channel_credentials."""

    def __init__(self, credentials: Any) -> None:
        """Wraps a description; users call a factory instead."""
        self._credentials = credentials


def call_plugins(credentials: Any) -> tuple[PluginSource, ...]:
    """Looks into call credentials; None has no plugins.

    Raises:
        TypeError: They are no call credentials.
    """
    if credentials is None:
        return ()
    if not isinstance(credentials, CallCredentials):
        raise TypeError(f"expected CallCredentials, got {credentials!r}; see metadata_call_credentials")
    plugins: tuple[PluginSource, ...] = credentials._credentials
    return plugins


# Factories: call credentials.


def metadata_call_credentials(metadata_plugin: AuthMetadataPlugin, name: str | None = None) -> CallCredentials:
    """Makes call credentials of a plugin.

    Args:
        metadata_plugin: Called for each call, with an AuthMetadataContext and an AuthMetadataPluginCallback.
        name: What to call it in logs; None for the name of its class.
    """
    name = name or getattr(metadata_plugin, "__name__", None) or type(metadata_plugin).__name__
    return CallCredentials((PluginSource(metadata_plugin, name, contextvars.copy_context()),))


def access_token_call_credentials(access_token: str) -> CallCredentials:
    """Makes call credentials of a token, which is sent as ``authorization: Bearer <token>``.

    Args:
        access_token: The token, without ``Bearer``.
    """
    return metadata_call_credentials(_AccessToken(access_token), "access token")


class _AccessToken(AuthMetadataPlugin):
    def __init__(self, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)

    def __call__(self, context: AuthMetadataContext, callback: AuthMetadataPluginCallback) -> None:
        callback(self._metadata, None)


def composite_call_credentials(*call_credentials: CallCredentials) -> CallCredentials:
    """Joins call credentials: a call carries the metadata of all of them, in this order."""
    return CallCredentials(tuple(plugin for each in call_credentials for plugin in call_plugins(each)))


# Asking plugins for metadata.


class _PluginContext(NamedTuple):
    service_url: str
    method_name: str


class _Context(_PluginContext, AuthMetadataContext):
    """What a plugin is told of a call."""


def plugin_context(scheme: str, authority: str, path: str) -> AuthMetadataContext:
    """Describes a call to plugins.

    Args:
        scheme: ``https`` for TLS, empty for local credentials.
        authority: The ``:authority`` of the call.
        path: The full name of the method, ``/package.Service/Method``.
    """
    service, _, method = path.rpartition("/")
    if scheme == "https":
        # As in grpcio: the default port is no part of the audience of a token.
        authority = authority.removesuffix(":443")
    return _Context(f"{scheme}://{authority}{service}", method)


#: Told the metadata, or why there is none.
OnMetadata = Callable[[tuple[Metadatum, ...], str | None], None]


class _Callback(AuthMetadataPluginCallback):
    """What a plugin calls once, from any thread, with its metadata or its failure."""

    def __init__(self, on_done: Callable[[MetadataType | None, Exception | None], None]) -> None:
        self._on_done = on_done
        # Taking the only item is atomic, and so decides which of two threads was first without a lock.
        self._turn = [True]

    def __call__(self, metadata: MetadataType | None, error: Exception | None) -> None:
        if not self.take_turn():
            raise RuntimeError("AuthMetadataPluginCallback invoked more than once!")
        self._on_done(metadata, error)

    def take_turn(self) -> bool:
        try:
            return self._turn.pop()
        except IndexError:
            return False


def request_metadata(plugins: Sequence[PluginSource], context: AuthMetadataContext, on_done: OnMetadata) -> None:
    """Asks plugins for the metadata of a call, one after the other.

    A plugin may block, or return and call back later. What it raises is its failure. A shell calls this where blocking
    does no harm, and ends a call whose metadata failed with UNAVAILABLE and the text that it is given.

    Args:
        plugins: The channel's, then the call's own.
        context: The call; see ``plugin_context``.
        on_done: Called once, in the thread of the plugin that was last, before or after this function returns.
    """
    _request_next(list(plugins), context, (), on_done)


def _request_next(
    plugins: list[PluginSource], context: AuthMetadataContext, so_far: tuple[Metadatum, ...], on_done: OnMetadata
) -> None:
    if not plugins:
        on_done(so_far, None)
        return
    source, *rest = plugins

    def received(metadata: MetadataType | None, error: Exception | None) -> None:
        if error is not None:
            on_done((), f"Getting metadata from plugin failed with error: {error}")
        else:
            _request_next(rest, context, so_far + tuple(metadata or ()), on_done)

    callback = _Callback(received)
    try:
        # A copy, because a context can't be entered by two threads at a time.
        source.context.copy().run(source.plugin, context, callback)
    except Exception as error:
        _LOGGER.exception("the call credentials plugin %r raised", source.name)
        if callback.take_turn():
            received(None, error)
