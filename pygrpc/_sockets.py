"""What both shells do with sockets and what does not wait: binding a server's addresses, naming the other end."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from pygrpc.core.targets import Address, parse_listen_address, peer_name

#: Connections that may wait to be accepted.
BACKLOG = 4096

#: How often a port of the system's choice is tried when it is taken on another address of the same name.
_PORT_TRIES = 16
#: Errors that say that this machine does not have an address, rather than that somebody else has it.
_NOT_HERE = frozenset([errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])


class Binding(NamedTuple):
    """What an address of a server has become.

    Attributes:
        sockets: Listening sockets that do not block; several if a name has several addresses.
        port: The TCP port; 1 for a Unix socket, as in grpcio.
        path: The file of a Unix socket, which is to be removed at the end; otherwise empty.
    """

    sockets: list[socket.socket]
    port: int
    path: str

    def close(self) -> None:
        """Closes the sockets and removes the file of a Unix socket."""
        for listener in self.sockets:
            listener.close()
        if self.path:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


def bind(address: str, reuse_port: bool) -> Binding:
    """Binds an address such as ``[::]:50051``, ``localhost:0`` or ``unix:/run/server.sock``, and listens.

    Args:
        address: The address as a user gives it.
        reuse_port: Whether several sockets may listen on one port.

    Raises:
        RuntimeError: The address can't be bound; the text says why.
    """
    try:
        parsed = parse_listen_address(address)
        if parsed.path:
            path = "" if parsed.path[0] == "\0" else parsed.path
            return Binding([_bind_unix(parsed.path)], 1, path)
        sockets = _bind_tcp(parsed, reuse_port)
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise RuntimeError(f"Failed to bind to address {address}: {reason}") from error
    return Binding(sockets, int(sockets[0].getsockname()[1]), "")


def reserve(address: str) -> Binding:
    """Binds an address without listening, so that other processes can listen on the port and this one keeps it.

    Args:
        address: As for ``bind``, but no Unix socket: only one process at a time can listen on that.

    Raises:
        RuntimeError: The address can't be bound; the text says why.
    """
    try:
        parsed = parse_listen_address(address)
        if parsed.path:
            raise ValueError("processes can't share a Unix socket")
        if not hasattr(socket, "SO_REUSEPORT"):
            raise ValueError("processes can't share a port on this system: it has no SO_REUSEPORT")
        sockets = _bind_tcp(parsed, True, listen=False)
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise RuntimeError(f"Failed to bind to address {address}: {reason}") from error
    return Binding(sockets, int(sockets[0].getsockname()[1]), "")


def _bind_tcp(address: Address, reuse_port: bool, listen: bool = True) -> list[socket.socket]:
    names = list(_listen_names(address))
    for left in reversed(range(1 if address.port else _PORT_TRIES)):
        try:
            return _bind_all(names, address.port, reuse_port, listen)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not left:
                raise
    raise AssertionError("the last try either worked or raised")


def _listen_names(address: Address) -> Iterator[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    if address.host == "::":
        yield socket.AF_INET6, ("::", 0, 0, 0)
    elif address.host == "0.0.0.0":
        yield socket.AF_INET, ("0.0.0.0", 0)
    else:
        flags = socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=flags)
        yield from dict.fromkeys((family, name) for family, _, _, _, name in found)


def _bind_all(
    names: list[tuple[socket.AddressFamily, tuple[Any, ...]]], port: int, reuse_port: bool, listen: bool
) -> list[socket.socket]:
    """Binds all addresses of a name to one port; an address that this machine does not have is passed over."""
    bound: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, name in names:
            try:
                bound.append(_bind_name(family, (name[0], port, *name[2:]), reuse_port, listen))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
                continue
            port = bound[0].getsockname()[1]
        if missing is not None and not bound:
            if names[0][1][0] != "::":
                raise missing
            # A machine without IPv6: "[::]" means all addresses that there are.
            bound.append(_bind_name(socket.AF_INET, ("0.0.0.0", port), reuse_port, listen))
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound


def _bind_name(family: socket.AddressFamily, name: tuple[Any, ...], reuse_port: bool, listen: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port and hasattr(socket, "SO_REUSEPORT"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # "[::]" also means IPv4, as in grpcio.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if listen:
            _listen(listener, name)
        else:
            listener.bind(name)
    except OSError:
        listener.close()
        raise
    return listener


def _bind_unix(path: str) -> socket.socket:
    if path[0] != "\0":
        with contextlib.suppress(FileNotFoundError):
            if _is_dead_socket(path):
                os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _listen(listener, path)
    except OSError:
        listener.close()
        raise
    return listener


def _listen(listener: socket.socket, name: Any) -> None:
    listener.bind(name)
    listener.listen(BACKLOG)
    listener.setblocking(False)


def _is_dead_socket(path: str) -> bool:
    """Whether a file is a Unix socket that nobody listens on any more."""
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        # To connect to a file of another kind is refused as well, and that file is not ours.
        return False
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    finally:
        probe.close()
    return False


def describe_peer(family: int | None, name: Any) -> str:
    """How ``peer()`` names the other end of a connection.

    Args:
        family: The family of the socket; None for what is no socket, which is named by its name.
        name: What ``getpeername`` returned, or None; it is empty for most clients of a Unix socket.
    """
    if family is None:
        return str(name)
    if family == getattr(socket, "AF_UNIX", None) or not name:
        path = name or ""
        return peer_name("unix", "", 0, path.decode(errors="replace") if isinstance(path, bytes) else str(path))
    host, port = name[0], name[1]
    if family == socket.AF_INET6:
        # A socket on [::] shows IPv4 clients as mapped addresses.
        mapped = host.removeprefix("::ffff:")
        return peer_name("ipv4", mapped, port) if "." in mapped else peer_name("ipv6", host, port)
    return peer_name("ipv4", host, port)
