"""HTTP proxies: whether a target is reached through one, and what is said to it (gRFC A1; RFC 9110, section 9.3.6).

The client connects to the proxy and asks for a tunnel with ``CONNECT host:port``. The name goes there as it is in the
target: it is the proxy that looks it up. Behind the answer the connection is as one to the server itself.
"""

import base64
import functools
import ipaddress
import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from pygrpc.core.targets import Address, Target, parse_listen_address
from pygrpc.options import Options

_LOGGER = logging.getLogger("pygrpc")

#: Under this name an endpoint, whose address is that of a proxy, has the ``Tunnel`` that leads to the server.
TUNNEL = "pygrpc.tunnel"

#: Bytes that a proxy's answer may have.
MAX_ANSWER = 16_384
_END = b"\r\n\r\n"
_VERSION = b"HTTP/1."

#: Where the proxy stands, in order: the first that is set counts, even when it is empty, which means none.
_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")


class Tunnel(NamedTuple):
    """What a proxy is asked for.

    Attributes:
        server: The server, as ``host:port``.
        credentials: What stands behind ``Proxy-Authorization: Basic``, or empty.
    """

    server: str
    credentials: str = ""


class Proxy(NamedTuple):
    """A proxy, and what it is asked for.

    Attributes:
        address: Where it is; its name is still to be looked up.
        tunnel: The tunnel to the server.
    """

    address: Address
    tunnel: Tunnel


class ProxyError(ConnectionError):
    """A proxy doesn't do what it is asked for; the text says why."""


# Which proxy.


def find_proxy(target: Target, options: Options, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy by which a channel reaches its target, or None.

    Unix sockets, lists of several addresses and what a registered resolver finds are reached without.

    Args:
        target: The target.
        options: The options of the channel.
        environment: The variables of the process.
    """
    if not options.enable_http_proxy or len(target.addresses) != 1 or target.addresses[0].path:
        return None
    url = options.http_proxy
    if url is None:
        url = _first(_VARIABLES, environment)
    found = _read_url(url) if url else None
    if found is None:
        return None
    (server,) = target.addresses
    exceptions = _first(_EXCEPTIONS, environment) or ""
    if any(_matches(server.host, entry.strip()) for entry in exceptions.split(",")):
        return None
    address, credentials = found
    return Proxy(address, Tunnel(str(server), credentials))


def _first(names: Iterable[str], environment: Mapping[str, str]) -> str | None:
    return next((value for name in names if (value := environment.get(name)) is not None), None)


@functools.lru_cache(maxsize=16)
def _read_url(url: str) -> tuple[Address, str] | None:
    """Where a proxy is, and the credentials for it; None, with a word to the log, if its URL is no good."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "http":
            raise ValueError(f"its scheme must be http, not {parts.scheme!r}")
        user, at, place = parts.netloc.rpartition("@")
        address = parse_listen_address(f"dns:///{place}")
    except ValueError as error:
        # As grpcio does: the variables are for other programs as well, which may take URLs that we can't.
        _LOGGER.error("an HTTP proxy is not used: its URL can't be understood: %s", error)
        return None
    return address, base64.b64encode(unquote(user).encode()).decode() if at else ""


def _matches(host: str, entry: str) -> bool:
    """Whether an entry of a list of exceptions means a host: it ends with the entry, or is in its network."""
    if not entry:
        return False
    if host.lower().endswith(entry.lower()):
        return True
    if "/" not in entry:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


# What is said to it.


class TunnelHandshake:
    """The client's end of a CONNECT request: ``request`` is to be sent, then what comes to be given to ``receive``.

    Never more than ``wanted`` bytes may be read at once: what follows the answer is not ours.
    """

    def __init__(self, tunnel: Tunnel) -> None:
        """Makes the request.

        Raises:
            ProxyError: The server's name can't be told to a proxy.
        """
        #: What is to be sent.
        self.request = _request(tunnel)
        self._answer = bytearray()

    @property
    def wanted(self) -> int:
        """How many bytes there are to come at least, if the answer ends as soon as it may."""
        answer = bytes(self._answer[-len(_END) + 1 :])
        return next(left for left in range(1, len(_END) + 1) if answer.endswith(_END[: len(_END) - left]))

    def receive(self, data: bytes) -> bool:
        """Takes what the proxy has sent; nothing means that it has closed the connection.

        Returns:
            Whether the tunnel is there.

        Raises:
            ProxyError: The proxy refuses it, or is none.
        """
        if not data:
            raise ProxyError("the HTTP proxy closed the connection without an answer")
        self._answer += data
        beginning = bytes(self._answer[: len(_VERSION)])
        if not _VERSION.startswith(beginning):
            raise ProxyError(f"the HTTP proxy's answer is not HTTP: it begins with {beginning!r}")
        if self._answer.endswith(_END):
            self._check_status()
            return True
        if len(self._answer) >= MAX_ANSWER:
            raise ProxyError(f"the HTTP proxy's answer has more than {MAX_ANSWER} bytes")
        return False

    def _check_status(self) -> None:
        line = self._answer.partition(b"\r\n")[0].decode("latin-1")
        _, _, rest = line.partition(" ")
        code, _, reason = rest.partition(" ")
        if not (len(code) == 3 and code.isascii() and code.isdigit()):
            raise ProxyError(f"the HTTP proxy's answer has no status: it begins with {line[:80]!r}")
        if not code.startswith("2"):
            words = "".join(letter if letter.isprintable() else "?" for letter in reason[:80])
            raise ProxyError(f"HTTP proxy returned response code {code}" + (f" ({words})" if words else ""))


def _request(tunnel: Tunnel) -> bytes:
    try:
        server = tunnel.server.encode("ascii" if tunnel.server.isascii() else "idna").decode()
    except UnicodeError as error:
        raise ProxyError(f"the name {tunnel.server!r} can't be told to an HTTP proxy: {error}") from None
    if not server.isprintable() or " " in server:
        raise ProxyError(f"the name {tunnel.server!r} can't be told to an HTTP proxy")
    lines = [f"CONNECT {server} HTTP/1.1", f"Host: {server}"]
    if tunnel.credentials:
        lines.append(f"Proxy-Authorization: Basic {tunnel.credentials}")
    return "\r\n".join([*lines, "", ""]).encode()
