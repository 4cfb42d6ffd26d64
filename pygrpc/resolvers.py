"""Resolvers of one's own: where the servers of a target are, told by a program and not by the DNS.

A resolver is registered for a scheme, and from then on channels to ``scheme:name`` use it::

    class FromFile(pygrpc.resolvers.Resolver):
        def __init__(self, target, listener):
            self._path, self._listener = target.endpoint, listener
            self.request_resolution()

        def request_resolution(self):
            with open(self._path) as file:
                self._listener.update(file.read().split())

    pygrpc.resolvers.register("from-file", FromFile)
    channel = pygrpc.insecure_channel("from-file:///etc/servers")

docs/naming.md tells more, and gRFC A21 what becomes of service configs.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
#: What the library resolves itself.
BUILT_IN = frozenset(["dns", "ipv4", "ipv6", "unix", "unix-abstract", "passthrough"])


class Target(NamedTuple):
    """The target of a channel, as its resolver gets it: ``scheme://authority/endpoint`` or ``scheme:endpoint``.

    Attributes:
        scheme: In lower case.
        authority: Whom to ask, often empty; percent-decoded.
        endpoint: The name to resolve, without its leading slash; percent-decoded.
    """

    scheme: str
    authority: str
    endpoint: str


class Address(NamedTuple):
    """An address with something to say about it.

    Attributes:
        address: ``127.0.0.1:50051``, ``[::1]:50051``, ``unix:/path`` or ``unix-abstract:name``.
        attributes: What load balancing policies may look at, such as ``weight``.
    """

    address: str
    attributes: Mapping[str, Any] = {}


class Listener(Protocol):
    """Whom a resolver tells. It may be told at any time and by any thread; behind ``close`` nothing comes of it."""

    def update(
        self,
        addresses: Iterable[str | Address],
        service_config: str | Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """The target has these addresses now, in place of all others; with none, calls fail.

        Args:
            addresses: Numeric IP addresses with their ports, or Unix sockets.
            service_config: What holds for calls from now on, as JSON or as what ``json.loads`` makes of it; None for
                the channel's own. One that can't be understood leaves the last one in force; if there is none, calls
                fail with UNAVAILABLE and the name of the field.
            attributes: What holds for all addresses.

        Raises:
            ValueError: An address can't be understood; nothing has changed.
            TypeError: It is neither text nor an ``Address``, or the service config is neither text nor a mapping.
        """

    def error(self, text: str) -> None:
        """The target can't be resolved now. Channels go on with the addresses they have, or fail calls with the text.

        ``request_resolution`` is called again behind a delay that grows.
        """


class Resolver:
    """The base of resolvers. For a channel of ``pygrpc.aio`` all methods run in its event loop, so they may not block.

    For a channel of ``pygrpc`` they run in a thread for the resolver, one at a time; they may block.
    """

    def request_resolution(self) -> None:
        """A hint that the addresses don't work, or that a server has gone: they should be looked up again.

        It is given no more often than every 30 seconds (``grpc.dns_min_time_between_resolutions_ms``).
        """

    def close(self) -> None:
        """The channel needs no addresses any more: it is closed, or idle. In that case a new resolver is made later."""


#: Makes the resolver for a channel, when that connects. It may tell the listener at once.
ResolverFactory = Callable[[Target, Listener], Resolver]

_factories: dict[str, ResolverFactory] = {}


def register(scheme: str, factory: ResolverFactory) -> None:
    """Makes channels that are created from now on use a resolver for a scheme, in place of one registered before.

    Args:
        scheme: What stands before the colon of a target; letters, digits, ``+``, ``-`` and ``.``.
        factory: Makes a resolver of a target and a listener; a subclass of ``Resolver`` is one.

    Raises:
        ValueError: It can't be a scheme, or it is one that the library resolves itself.
    """
    scheme = scheme.lower()
    if not _SCHEME.fullmatch(scheme):
        raise ValueError(f"{scheme!r} can't be a scheme: it must be a letter, and letters, digits, '+', '-' or '.'")
    if scheme in BUILT_IN:
        raise ValueError(f"the scheme {scheme!r} can't be registered: the library resolves it itself")
    _factories[scheme] = factory


def unregister(scheme: str) -> None:
    """Undoes ``register``; channels that exist keep their resolver."""
    _factories.pop(scheme.lower(), None)


def find(scheme: str) -> ResolverFactory | None:
    """The factory that is registered for a scheme, or None."""
    return _factories.get(scheme.lower())
