"""TLS for both shells: what to do with a connection, and what to check of it.

A shell makes one ``ClientSecurity`` for a channel and one ``ServerSecurity`` for a port. It wraps its connections with
their contexts, and asks them what is known of the peer.
"""

import errno
import ipaddress
import logging
import os
import re
import ssl
import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

from pygrpc._auth_context import AuthContext, insecure_auth_context, local_auth_context, tls_auth_context
from pygrpc._tls_contexts import ALPN, SessionCache, client_context, server_context
from pygrpc.credentials import (
    CertificateConfiguration,
    ChannelCredentials,
    ChannelDescription,
    ClientTls,
    Local,
    ServerCertificateConfiguration,
    ServerCredentials,
    ServerTls,
    Unavailable,
    channel_description,
    insecure_channel_credentials,
    server_transport,
)
from pygrpc.interfaces import LocalConnectionType

_LOGGER = logging.getLogger("pygrpc")
_SERVER_NAME = "grpc.ssl_target_name_override"
_SESSIONS = "grpc.ssl_session_cache"
#: The name of an alert (RFC 8446, section 6.2) in the words of the ssl module, where only they are left of an error.
_ALERT = re.compile(r"\[SSL: \w*?ALERT_(\w+)\]")
#: How errors end that say only that the peer is gone. What it had to say is lost if it has reset the connection.
_CLOSED = ("the peer closed the connection", os.strerror(errno.ECONNRESET), os.strerror(errno.EPIPE))


def ssl_context_channel_credentials(context: ssl.SSLContext) -> ChannelCredentials:
    """Makes credentials for TLS with a context of your own, for what ``ssl_channel_credentials`` has no parameter for.

    Not in grpcio. Examples: an encrypted private key, a key log file, revocation lists, only TLS 1.3.

    Args:
        context: A client context, for example from ``ssl.create_default_context()``. Its ALPN protocols are set to
            ``h2``, without which a gRPC server refuses the connection.
    """
    context.set_alpn_protocols(ALPN)
    return ChannelCredentials(ChannelDescription(ClientTls(context=context)))


def ssl_context_server_credentials(context: ssl.SSLContext) -> ServerCredentials:
    """Makes credentials for TLS on a server with a context of your own. Not in grpcio.

    Args:
        context: A server context with its certificate loaded. Its ALPN protocols are set to ``h2``.
    """
    context.set_alpn_protocols(ALPN)
    return ServerCredentials(ServerTls(None, context=context))


class TlsOptions(NamedTuple):
    """The options of a channel that are about TLS.

    Attributes:
        server_name: What the server's certificate must be for (``grpc.ssl_target_name_override``), or None.
        sessions: Sessions to resume (``grpc.ssl_session_cache``), or None.
    """

    server_name: str | None
    sessions: SessionCache | None


def split_options(options: Iterable[tuple[str, Any]] | None) -> tuple[list[tuple[str, Any]], TlsOptions]:
    """Parts the options of a channel into those that are not about TLS, and those that are.

    Raises:
        ValueError: One about TLS has a value of the wrong type.
    """
    values: dict[str, Any] = {}
    others = []
    for key, value in options or ():
        name = key.decode() if isinstance(key, bytes) else key
        if name in (_SERVER_NAME, _SESSIONS):
            values[name] = value
        else:
            others.append((key, value))
    server_name, sessions = values.get(_SERVER_NAME), values.get(_SESSIONS)
    if isinstance(server_name, bytes):
        server_name = server_name.decode()
    if not isinstance(server_name, str | None):
        raise ValueError(f"the option {_SERVER_NAME!r} can't be {server_name!r}")
    if not isinstance(sessions, SessionCache | None):
        raise ValueError(f"the option {_SESSIONS!r} can't be {sessions!r}; see grpc.experimental.session_cache")
    return others, TlsOptions(server_name or None, sessions)


class ClientSecurity:
    """How the connections of one channel are secured."""

    def __init__(
        self, credentials: ChannelCredentials, options: TlsOptions | None = None, *, insecure: bool = False
    ) -> None:
        """Takes credentials; reads nothing yet.

        Args:
            credentials: Those of the channel.
            options: The options of the channel that are about TLS.
            insecure: Whether the channel was made as an insecure one; see ``insecure_client``.

        Raises:
            TypeError: They are no channel credentials.
        """
        description = channel_description(credentials)
        transport = description.transport
        self._tls = transport if isinstance(transport, ClientTls) else None
        self._local = transport if isinstance(transport, Local) else None
        # As in grpcio, such a channel can be made, and its connections fail.
        self._unavailable = transport.reason if isinstance(transport, Unavailable) else ""
        self._sessions = options.sessions if options else None
        #: Whether the channel was made as an insecure one.
        self.insecure = insecure
        #: The call credentials of every call.
        self.plugins = description.plugins
        #: Whether call credentials may be sent.
        self.private = self._tls is not None or self._local is not None or bool(self._unavailable)
        #: The ``:scheme`` of requests.
        self.scheme = b"http" if self._tls is None else b"https"
        #: How the service URL of call credentials begins.
        self.url_scheme = "" if self._tls is None else "https"
        #: The ``:authority`` in place of the target's, because the server's certificate is for it; or None.
        self.authority = options.server_name if options else None

    def server_name(self, authority: str) -> str:
        """What the server's certificate must be for, and what the client asks for by SNI.

        Args:
            authority: The ``:authority`` of the channel.
        """
        return self.authority or _host(authority)

    def context(self) -> ssl.SSLContext | None:
        """The context to wrap a connection with, or None to leave it as it is.

        Raises:
            OSError: The credentials can't be used; the text says why.
        """
        if self._unavailable:
            raise ConnectionError(self._unavailable)
        return None if self._tls is None else client_context(self._tls, self._sessions)

    def check(self, ssl_object: Any, peer: Any) -> None:
        """Checks a new connection.

        Args:
            ssl_object: Its ``SSLObject`` or ``SSLSocket`` behind the handshake, or None.
            peer: What ``getpeername`` says of it.

        Raises:
            ConnectionError: It is not what the credentials ask for; the text says why.
        """
        if ssl_object is not None and ssl_object.selected_alpn_protocol() != "h2":
            raise ConnectionError("the server does not offer HTTP/2 over TLS: it did not choose h2 by ALPN")
        if self._local is not None:
            _check_local(self._local, peer)

    def remember(self, ssl_object: Any) -> None:
        """Keeps the session of a connection for later ones; to be called when data has come, and tickets with it."""
        if self._sessions is not None and ssl_object is not None and ssl_object.session is not None:
            self._sessions.put(ssl_object.context, ssl_object.server_hostname, ssl_object.session)

    def explain(self, error: OSError) -> str:
        """Says in words of the user what made a connection fail."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"the server's certificate was refused: {error.verify_message or error.strerror}; root_certificates"
                " must vouch for it, and it must be for the host of the target (see grpc.ssl_target_name_override)"
            )
        if isinstance(error, ssl.SSLError) and getattr(error, "reason", "") == "WRONG_VERSION_NUMBER":
            return "TLS handshake failed: what answers there does not speak TLS (use insecure_channel for it)"
        if isinstance(error, ssl.SSLError):
            return f"TLS handshake failed: {error.strerror or error}"
        text = str(error)
        alert = _ALERT.match(text)
        if alert is not None:
            # It came behind the handshake: with TLS 1.3 that is when a client learns what the server thinks of it.
            reason = alert[1].replace("_", " ").lower()
            return f"the server refused the TLS connection: {reason} (it may expect another client certificate)"
        if text.endswith(_CLOSED):
            # It did so before HTTP/2 began; a server that wants something else rarely says what.
            hint = "it may expect TLS" if self._tls is None else "it may expect another client certificate"
            return f"{text} ({hint})"
        if error.errno and error.errno > 0 and not isinstance(error, ssl.SSLError):
            # In the words of the system: those of asyncio don't say that a connection was refused. Numbers below zero
            # are the resolver's own, which has its own words.
            return os.strerror(error.errno)
        # asyncio raises an error without words if the peer closes the connection during the handshake.
        return error.strerror or text or "the peer closed the connection during the TLS handshake"


def insecure_client() -> ClientSecurity:
    """How the connections of an insecure channel are secured: not at all."""
    return ClientSecurity(insecure_channel_credentials(), insecure=True)


def _host(authority: str) -> str:
    """The host of an authority, without port and brackets."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0] if authority.count(":") == 1 else authority


def _check_local(local: Local, peer: Any) -> None:
    if isinstance(peer, tuple):
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if local.kind is LocalConnectionType.LOCAL_TCP and mapped.is_loopback:
            return
    elif local.kind is LocalConnectionType.UDS:
        return
    raise ConnectionError(f"local credentials ({local.kind.name}) don't allow a connection with {peer!r}")


class ServerSecurity:
    """How the connections of one port are secured."""

    def __init__(self, credentials: ServerCredentials) -> None:
        """Takes credentials and makes the first context.

        Args:
            credentials: Those of the port; ``insecure_server_credentials()`` for an insecure one.

        Raises:
            OSError: The certificates can't be used; the text says why.
            TypeError: They are no server credentials.
            NotImplementedError: They can't be used here; the text says why.
        """
        transport = server_transport(credentials)
        self._transport = transport
        self._context: ssl.SSLContext | None = None
        self._configuration: CertificateConfiguration | None = None
        self._lock = threading.Lock()
        if isinstance(transport, ServerTls):
            self._configuration = transport.initial
            self._context = transport.context or server_context(transport, transport.initial)

    def context(self) -> ssl.SSLContext | None:
        """A context that can wrap any number of connections, or None to leave them as they are."""
        dynamic = isinstance(self._transport, ServerTls) and self._transport.fetcher is not None
        return _FreshContext(self) if dynamic else self._context

    def next_context(self) -> ssl.SSLContext | None:
        """The context for one connection: what ``context`` does, for a shell that asks for each."""
        transport = self._transport
        if isinstance(transport, ServerTls) and transport.fetcher is not None:
            # One at a time, so that nobody replaces newer certificates by older ones.
            with self._lock:
                self._fetch(transport)
        return self._context

    def _fetch(self, transport: ServerTls) -> None:
        assert transport.fetcher is not None
        try:
            fetched = transport.fetcher()
            if fetched is None:
                return
            if not isinstance(fetched, ServerCertificateConfiguration):
                raise TypeError(f"expected a ServerCertificateConfiguration or None, got {fetched!r}")
            configuration = fetched._certificate_configuration
            if configuration is not self._configuration:
                self._context = server_context(transport, configuration)
                self._configuration = configuration
        except Exception:
            _LOGGER.exception("the certificate fetcher failed; the server goes on with the certificates that it has")

    def check(self, peer: Any) -> None:
        """Checks a new connection; raises ConnectionError if it is not to be served."""
        if isinstance(self._transport, Local):
            _check_local(self._transport, peer)

    def auth_context(self, ssl_object: Any) -> AuthContext:
        """What is known of the peer of a connection."""
        if ssl_object is not None:
            return tls_auth_context(ssl_object)
        if isinstance(self._transport, Local):
            return local_auth_context(self._transport.kind)
        return insecure_auth_context()


class _FreshContext(ssl.SSLContext):
    """Stands for a context to whoever wraps connections, and asks for the one to use each time."""

    _security: ServerSecurity

    def __new__(cls, security: ServerSecurity) -> "_FreshContext":
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self._security = security
        return self

    def __init__(self, security: ServerSecurity) -> None: ...

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        context = self._security.next_context()
        assert context is not None
        return context.wrap_bio(*arguments, **options)
