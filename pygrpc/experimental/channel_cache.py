"""The channels that calls without a channel share."""

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pygrpc.compression import Compression
from pygrpc.credentials import ChannelCredentials, insecure_channel_credentials, ssl_channel_credentials

_LOGGER = logging.getLogger("pygrpc")

_EVICTION_SECONDS = "GRPC_PYTHON_MANAGED_CHANNEL_EVICTION_SECONDS"
_MAXIMUM = "GRPC_PYTHON_MANAGED_CHANNEL_MAXIMUM"

Options = Sequence[tuple[Any, Any]]


class _Key(NamedTuple):
    target: str
    options: tuple[tuple[Any, Any], ...]
    credentials: ChannelCredentials
    compression: Compression | None


class ChannelCache:
    """Channels by what they were made of; those that have not been used for a while are closed.

    A daemon thread closes them. It is there from the first channel on, and while there are any.
    """

    _instance: "ChannelCache | None" = None
    _instance_lock = threading.Lock()

    def __init__(self, connect: Callable[..., Any], eviction: float = 600.0, maximum: int = 256) -> None:
        """Makes an empty cache.

        Args:
            connect: Makes a channel, like ``secure_channel``.
            eviction: Seconds without use after which a channel is closed.
            maximum: The number of channels above which the least recently used are closed.
        """
        self._connect = connect
        self._eviction = eviction
        self._maximum = maximum
        #: Channels with the time of their end, the next to end first.
        self._channels: OrderedDict[_Key, tuple[Any, float]] = OrderedDict()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._default_credentials: ChannelCredentials | None = None

    @classmethod
    def get(cls) -> "ChannelCache":
        """The cache of this process; the environment says how long channels stay and how many there are at most."""
        with cls._instance_lock:
            if cls._instance is None:
                import pygrpc

                eviction = float(os.environ.get(_EVICTION_SECONDS, 600.0))
                cls._instance = cls(pygrpc.secure_channel, eviction, int(os.environ.get(_MAXIMUM, 256)))
            return cls._instance

    def channel(
        self,
        target: str,
        options: Options,
        credentials: ChannelCredentials | None,
        insecure: bool,
        compression: Compression | None,
    ) -> Any:
        """Returns the channel for these parameters, made now if need be.

        Args:
            target: Where the server is.
            options: Pairs of option and value.
            credentials: Those of the channel; None for TLS with the default roots.
            insecure: Whether to do without; excludes credentials.
            compression: The algorithm for the requests.

        Raises:
            ValueError: Both insecure and credentials are given.
        """
        if insecure and credentials:
            raise ValueError(
                "The insecure option is mutually exclusive with the channel_credentials option. "
                "Please use one or the other."
            )
        with self._condition:
            if insecure:
                credentials = insecure_channel_credentials()
            elif credentials is None:
                # One object for all, so that such calls share their channels.
                credentials = self._default_credentials = self._default_credentials or ssl_channel_credentials()
            key = _Key(target, tuple(options), credentials, compression)
            found = self._channels.pop(key, None)
            channel = found[0] if found else self._connect(target, credentials, options, compression)
            self._channels[key] = (channel, time.monotonic() + self._eviction)
            if found is None:
                self._watch()
        return channel

    def _watch(self) -> None:
        """Makes sure that somebody closes channels in time; requires holding the lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._evict, name="pygrpc-channel-cache", daemon=True)
            self._thread.start()
        else:
            self._condition.notify()

    def _evict(self) -> None:
        with self._condition:
            while self._channels:
                key, (channel, ends) = next(iter(self._channels.items()))
                left = ends - time.monotonic()
                if left > 0 and len(self._channels) <= self._maximum:
                    self._condition.wait(left)
                    continue
                del self._channels[key]
                _LOGGER.debug("closing the channel to %s, which the calls without a channel shared", key.target)
                channel.close()
            self._thread = None

    def __len__(self) -> int:
        """The number of channels."""
        with self._condition:
            return len(self._channels)

    def _test_only_channel_count(self) -> int:
        return len(self)
