"""Targets of channels and addresses of servers (doc/naming.md in the grpc repository)."""

import re
from typing import NamedTuple
from urllib.parse import unquote

#: The port of a target that names none.
DEFAULT_PORT = 443


class Address(NamedTuple):
    """Where to connect to or listen on.

    Attributes:
        host: A host name or IP address without brackets; empty for a Unix socket.
        port: The TCP port.
        path: The path of a Unix socket; with a leading NUL for an abstract one; empty for TCP.
    """

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        """The address as people write it."""
        if self.path:
            return f"unix:{self.path}" if self.path[0] != "\0" else f"unix-abstract:{self.path[1:]}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Target(NamedTuple):
    """A parsed target.

    Attributes:
        addresses: Where the service is; host names are still to be resolved.
        authority: The ``:authority`` of requests.
    """

    addresses: tuple[Address, ...]
    authority: str


_IPV6 = re.compile(r"[0-9A-Fa-f:.]+(%[^:]+)?")
_SCHEME = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|passthrough):(.*)", re.DOTALL)


def parse_target(target: str) -> Target:
    """Reads a channel's target.

    Args:
        target: ``host:port``, or one of ``dns:[//authority/]host[:port]``, ``ipv4:address:port[,...]``,
            ``ipv6:[address]:port[,...]``, ``unix:path``, ``unix:///path``, ``unix-abstract:name``,
            ``passthrough:///host:port``.

    Raises:
        ValueError: The target can't be read; the text says why.
        TypeError: It is no text.
    """
    if not isinstance(target, str):
        raise TypeError(f"an address must be text such as 'localhost:50051', not {target!r}")
    match = _SCHEME.fullmatch(target)
    if match is None:
        return _host_target(target, target)
    scheme, rest = match.groups()
    if scheme == "unix":
        path = unquote(rest[2:] if rest.startswith("//") else rest)
        return Target((_unix(path, target),), "localhost")
    if scheme == "unix-abstract":
        return Target((_unix("\0" + unquote(rest), target),), "localhost")
    if scheme in ("ipv4", "ipv6"):
        endpoints = rest.removeprefix("///").split(",")
        return Target(tuple(_tcp(endpoint, target) for endpoint in endpoints), endpoints[0])
    if rest.startswith("//"):
        # dns://authority/host: the authority names a DNS server, which the system's resolver doesn't let us choose.
        rest = rest[2:].partition("/")[2]
    return _host_target(rest.lstrip("/"), target)


def parse_listen_address(address: str) -> Address:
    """Reads the address that a server listens on: ``host:port``, ``[::]:port``, ``unix:path`` and so on.

    Raises:
        ValueError: The address can't be read; the text says why.
    """
    return parse_target(address).addresses[0]


def _host_target(endpoint: str, target: str) -> Target:
    return Target((_tcp(endpoint, target),), endpoint)


def _unix(path: str, target: str) -> Address:
    if not path.strip("\0"):
        raise ValueError(f"the target {target!r} has no socket path")
    return Address("", 0, path)


def _tcp(endpoint: str, target: str) -> Address:
    if endpoint.startswith("["):
        host, bracket, port = endpoint[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError(f"the target {target!r} has an IPv6 address without its closing bracket")
        port = port[1:]
    elif endpoint.count(":") > 1:
        # A bare IPv6 address has no room for a port.
        if not _IPV6.fullmatch(endpoint):
            raise ValueError(f"the target {target!r} is neither host:port nor an IPv6 address")
        host, port = endpoint, ""
    else:
        host, _, port = endpoint.partition(":")
    if not host:
        raise ValueError(f"the target {target!r} has no host")
    if not port:
        return Address(host, DEFAULT_PORT)
    if not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise ValueError(f"the port of the target {target!r} must be a number from 0 to 65535, not {port!r}")
    return Address(host, int(port))


def peer_name(family: str, host: str, port: int, path: str = "") -> str:
    """How ``context.peer()`` names the other end, as grpcio does.

    Args:
        family: ``ipv4``, ``ipv6`` or ``unix``.
        host: The IP address.
        port: The TCP port.
        path: The path of a Unix socket, often empty for a client.
    """
    if family == "unix":
        return f"unix:{path}"
    return f"ipv6:%5B{host}%5D:{port}" if family == "ipv6" else f"ipv4:{host}:{port}"
