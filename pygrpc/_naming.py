"""Where the servers of a target are: what both shells need of look-ups and of resolvers that programs register.

A look-up has a thread of its own, a daemon, in both shells: the resolver of a system may hang for minutes, and nobody
is to wait for it then, neither calls with a deadline nor whoever closes the channel, nor the end of the program.
"""

import functools
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from pygrpc import resolvers
from pygrpc.core.balancing import Endpoint
from pygrpc.core.client_channel import ClientChannel
from pygrpc.core.proxies import TUNNEL, Proxy
from pygrpc.core.service_config import InvalidServiceConfig, ServiceConfig, parse_service_config
from pygrpc.core.targets import Address, Target, is_numeric, parse_address

_LOGGER = logging.getLogger("pygrpc")


_NO_ATTRIBUTES: Mapping[str, Any] = {}

#: Seconds that a look-up which failed waits before it says so. The system may refuse a name at once. But programs begin
#: a call, write to it and cancel it, and find it still running meanwhile, as grpcio's resolver always takes its time.
_BAD_NEWS_DELAY = 0.02


class Host(Protocol):
    """The shell, as far as a look-up needs it."""

    @property
    def core(self) -> ClientChannel:
        """The core of the channel."""

    def now(self) -> float:
        """Monotonic time in seconds."""

    def on_core(self, action: Callable[[], None]) -> None:
        """Has something done where the core may be touched, unless the channel is closed; for any thread."""

    def run_user_code(self, action: Callable[[], None]) -> None:
        """Has what a user wrote run where it may, one thing after the other."""


class Naming:
    """Resolves the target of one channel."""

    __slots__ = ("_attributes", "_factory", "_host", "_listener", "_names", "_target")

    def __init__(self, host: Host, target: Target, proxy: Proxy | None = None) -> None:
        """Resolves nothing yet.

        Args:
            host: The shell.
            target: What to resolve.
            proxy: By which the target is reached; then it is the proxy's name that is looked up, here.
        """
        self._host = host
        self._target = target
        self._names = target.addresses if proxy is None else (proxy.address,)
        self._attributes: Mapping[str, Any] = _NO_ATTRIBUTES if proxy is None else {TUNNEL: proxy.tunnel}
        self._factory = None if target.resolver is None else resolvers.find(target.resolver.scheme)
        #: Whom the user's resolver tells, from the first time it is asked until it is closed.
        self._listener: _Listener | None = None

    def resolve(self) -> bool:
        """Begins to resolve; the core is told the outcome.

        Returns:
            False if there may be none, because the user's resolver has just been given a hint.
        """
        if self._factory is not None:
            return self._ask_resolver(self._factory)
        if all(address.path or is_numeric(address.host) for address in self._names):
            self._host.core.resolved(self._endpoints(self._names), self._host.now())
        else:
            _report_settings(self._target.dns_server, os.environ.get("GRPC_DNS_RESOLVER", ""))
            threading.Thread(target=self._look_up, name="pygrpc-resolver", daemon=True).start()
        return True

    def stop(self) -> None:
        """Nobody wants to know any more: a look-up that is under way comes to nothing, and a resolver is closed."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._host.run_user_code(listener.close)

    # The system's resolver.

    def _endpoints(self, addresses: Iterable[Address]) -> list[Endpoint]:
        return [Endpoint(address, self._attributes) for address in addresses]

    def _look_up(self) -> None:
        host = self._host
        try:
            found = self._endpoints([address for name in self._names for address in look_up(name)])
        except (OSError, ValueError) as error:
            # A host that can't be a name is a ValueError: UnicodeError from IDNA, or a NUL within.
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            names = ", ".join(str(name) for name in self._names)
            text = f"DNS resolution failed for {names}: {reason}"
            time.sleep(_BAD_NEWS_DELAY)
            host.on_core(lambda: host.core.resolution_failed(text, host.now()))
            return
        host.on_core(lambda: host.core.resolved(found, host.now()))

    # A resolver of the user's own.

    def _ask_resolver(self, factory: resolvers.ResolverFactory) -> bool:
        first = self._listener is None
        if self._listener is None:
            assert self._target.resolver is not None
            self._listener = _Listener(self, factory, self._target.resolver)
        self._host.run_user_code(self._listener.ask)
        return first

    def tell(self, listener: "_Listener", action: Callable[[], None]) -> None:
        """Passes on what the resolver says, unless it has been closed meanwhile."""

        def tell() -> None:
            if self._listener is listener:
                action()

        self._host.on_core(tell)

    def update(
        self, listener: "_Listener", endpoints: list[Endpoint], config: ServiceConfig | InvalidServiceConfig | None
    ) -> None:
        """The resolver has found addresses."""
        host = self._host
        self.tell(listener, lambda: host.core.resolved(endpoints, host.now(), config))

    def error(self, listener: "_Listener", text: str) -> None:
        """The resolver has failed."""
        host = self._host
        self.tell(listener, lambda: host.core.resolution_failed(text, host.now()))


class _Listener:
    """What a user's resolver talks to, and the resolver itself."""

    def __init__(self, naming: Naming, factory: resolvers.ResolverFactory, target: resolvers.Target) -> None:
        self._naming = naming
        self._factory = factory
        self._target = target
        self._resolver: resolvers.Resolver | None = None

    # What the channel does, where the user's code runs.

    def ask(self) -> None:
        """Makes the resolver, or gives it a hint."""
        try:
            if self._resolver is None:
                self._resolver = self._factory(self._target, self)
            else:
                self._resolver.request_resolution()
        except Exception as error:
            _LOGGER.exception("the resolver of %r raised", self._target.scheme)
            self.error(f"the resolver of {self._target.scheme!r} raised {type(error).__name__}: {error}")

    def close(self) -> None:
        """Closes the resolver."""
        resolver, self._resolver = self._resolver, None
        if resolver is not None:
            try:
                resolver.close()
            except Exception:
                _LOGGER.exception("the resolver of %r raised while it was closed", self._target.scheme)

    # resolvers.Listener.

    def update(
        self,
        addresses: Iterable[str | resolvers.Address],
        service_config: str | Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(addresses, str):
            raise TypeError(f"the addresses must be a list of texts, not one text: {addresses!r}")
        endpoints = [_endpoint(address, attributes or {}) for address in addresses]
        config: ServiceConfig | InvalidServiceConfig | None = None
        if service_config is not None:
            try:
                text = json.dumps(service_config) if isinstance(service_config, Mapping) else service_config
                config = parse_service_config(text)
            except InvalidServiceConfig as error:
                _LOGGER.warning("the resolver of %r has an invalid service config: %s", self._target.scheme, error)
                config = error
        self._naming.update(self, endpoints, config)

    def error(self, text: str) -> None:
        self._naming.error(self, str(text))


def _endpoint(address: str | resolvers.Address, attributes: Mapping[str, Any]) -> Endpoint:
    if isinstance(address, resolvers.Address):
        return Endpoint(parse_address(address.address), {**attributes, **address.attributes})
    return Endpoint(parse_address(address), attributes)


def look_up(name: Address) -> list[Address]:
    """The addresses of a name, as the system knows them, in its order. This blocks.

    Raises:
        OSError: There are none, or the system can't tell.
        ValueError: It can't be a name.
    """
    if name.path:
        return [name]
    # As bytes, unless IDNA is needed: to import its codec now could lock up the child of a fork meanwhile.
    host = name.host.encode() if name.host.isascii() else name.host
    addresses = []
    for family, _, _, _, sockaddr in socket.getaddrinfo(host, name.port, type=socket.SOCK_STREAM):
        found = str(sockaddr[0])
        if family == socket.AF_INET6 and len(sockaddr) > 3 and sockaddr[3] and "%" not in found:
            # A link-local address means nothing without its interface.
            found = f"{found}%{sockaddr[3]}"
        addresses.append(Address(found, int(sockaddr[1])))
    return addresses


@functools.lru_cache(maxsize=64)
def _report_settings(dns_server: str, resolver: str) -> None:
    """Says, once for each, what is asked for and can't be had of the system's resolver."""
    if dns_server:
        _LOGGER.warning("names are looked up by the system's resolver, not by the DNS server %r", dns_server)
    if resolver and resolver != "native":
        _LOGGER.warning("GRPC_DNS_RESOLVER=%r has no effect: names are looked up by the system's resolver", resolver)
