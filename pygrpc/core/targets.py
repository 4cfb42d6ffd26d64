"""Targets of channels and addresses of servers (doc/naming.md in the grpc repository)."""

import functools
import ipaddress
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from pygrpc import resolvers

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
        addresses: Where the service is; host names are still to be resolved. Empty if a registered resolver knows.
        authority: The ``:authority`` of requests.
        resolver: What a registered resolver is asked for, or None.
        dns_server: Whom the target wants to be asked for names, or empty.
    """

    addresses: tuple[Address, ...]
    authority: str
    resolver: resolvers.Target | None = None
    dns_server: str = ""


_IPV6 = re.compile(r"[0-9A-Fa-f:.]+(%[^:]+)?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
#: What may stand in an authority as it is (RFC 3986, section 3.2).
_IN_AUTHORITY = "[]:@!$&'()*+,;=-._~"


def parse_target(target: str) -> Target:
    """Reads a channel's target. One whose scheme nobody knows is a host name as a whole.

    Args:
        target: ``host:port``, or one of ``dns:[//authority/]host[:port]``, ``ipv4:address[:port][,...]``,
            ``ipv6:[address][:port][,...]``, ``unix:path``, ``unix:///path``, ``unix-abstract:name``,
            ``passthrough:///host:port``, or one with a scheme for which a resolver is registered.

    Raises:
        ValueError: The target can't be read; the text says why.
        TypeError: It is no text.
    """
    scheme, rest = _split_scheme(target)
    if resolvers.find(scheme) is None:
        return _built_in(scheme, rest, target)
    authority, endpoint = _split_authority(rest)
    return Target((), quote(endpoint, safe=_IN_AUTHORITY) or "localhost", resolvers.Target(scheme, authority, endpoint))


def parse_listen_address(address: str) -> Address:
    """Reads the address that a server listens on: ``host:port``, ``[::]:port``, ``unix:path`` and so on.

    Raises:
        ValueError: The address can't be read; the text says why.
        TypeError: It is no text.
    """
    return _built_in(*_split_scheme(address), address).addresses[0]


def parse_address(text: str) -> Address:
    """Reads an address that needs no look-up: a numeric IP address with its port, or a Unix socket.

    Raises:
        ValueError: It can't be read, or has a host name; the text says why.
        TypeError: It is no text.
    """
    address = parse_listen_address(text)
    if not address.path and not is_numeric(address.host):
        raise ValueError(f"the address {text!r} has a host name where a numeric IP address belongs")
    return address


def is_numeric(host: str) -> bool:
    """Whether a host is an IP address, so that there is nothing to look up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _split_scheme(target: str) -> tuple[str, str]:
    if not isinstance(target, str):
        raise TypeError(f"an address must be text such as 'localhost:50051', not {target!r}")
    match = _SCHEME.fullmatch(target)
    return ("", target) if match is None else (match[1].lower(), match[2])


def _split_authority(rest: str) -> tuple[str, str]:
    """Takes what follows a scheme apart: the authority, and the endpoint without its leading slash."""
    rest = re.split("[?#]", rest, maxsplit=1)[0]
    authority = ""
    if rest.startswith("//"):
        authority, slash, rest = rest[2:].partition("/")
        rest = slash + rest
    return unquote(authority), unquote(rest.removeprefix("/"))


# Programs make many channels to the same target, which share what it was read into.
@functools.lru_cache(maxsize=64)
def _built_in(scheme: str, rest: str, target: str) -> Target:
    if scheme == "unix":
        path = unquote(rest.removeprefix("//"))
        if rest.startswith("//") and path and not path.startswith("/"):
            raise ValueError(f"the path of the target {target!r} must be absolute behind 'unix://'")
        return Target((_unix(path, target),), "localhost")
    if scheme == "unix-abstract":
        return Target((_unix("\0" + unquote(rest), target),), "localhost")
    if scheme in ("ipv4", "ipv6"):
        return _ip_target(scheme, rest, target)
    if scheme not in ("dns", "passthrough"):
        # Unknown, so what looks like a scheme is the beginning of a name (doc/naming.md).
        scheme, rest = "", "/" + target
    server, endpoint = _split_authority(rest)
    return Target((_tcp(endpoint, target),), endpoint, dns_server=server if scheme == "dns" else "")


def _ip_target(scheme: str, rest: str, target: str) -> Target:
    authority, path = _split_authority(rest)
    if authority:
        raise ValueError(f"the target {target!r} has an authority, which {scheme!r} has no use for")
    endpoints = path.split(",")
    while len(endpoints) > 1 and not endpoints[-1]:
        # grpcio passes over a comma at the end, too.
        endpoints.pop()
    addresses = tuple(_tcp(endpoint, target) for endpoint in endpoints)
    for address in addresses:
        if not is_numeric(address.host) or (":" in address.host) != (scheme == "ipv6"):
            raise ValueError(f"the target {target!r} has {address.host!r} where a numeric {scheme} address belongs")
    return Target(addresses, endpoints[0])


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
