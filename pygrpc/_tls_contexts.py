"""Making ``ssl.SSLContext`` objects of credentials.

The contexts of clients are kept with their credentials, so that sessions can be resumed and that the trust store is
read only once.
"""

import contextlib
import functools
import logging
import os
import re
import ssl
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from pygrpc.credentials import CertificateConfiguration, ClientTls, ServerTls

_LOGGER = logging.getLogger("pygrpc")
#: RFC 9113, section 3.3: HTTP/2 over TLS is agreed on by ALPN.
ALPN = ["h2"]
_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class SessionCache:
    """TLS sessions to resume, the least recently used of which go first; safe from any thread."""

    def __init__(self, capacity: int) -> None:
        """Makes an empty cache.

        Args:
            capacity: How many sessions it holds at most.
        """
        self._capacity = capacity
        self._sessions: OrderedDict[tuple[ssl.SSLContext, str | None], ssl.SSLSession] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, context: ssl.SSLContext, server_name: str | None) -> ssl.SSLSession | None:
        """The last session with a server, or None; a session is good only for the context that it was made with."""
        with self._lock:
            session = self._sessions.get((context, server_name))
            if session is not None:
                self._sessions.move_to_end((context, server_name))
            return session

    def put(self, context: ssl.SSLContext, server_name: str | None, session: ssl.SSLSession) -> None:
        """Keeps a session in place of the last one with the same server."""
        with self._lock:
            self._sessions[context, server_name] = session
            self._sessions.move_to_end((context, server_name))
            while len(self._sessions) > self._capacity:
                self._sessions.popitem(last=False)


class _ClientContext(ssl.SSLContext):
    """A client's context that offers the cached session to each connection, whoever wraps it."""

    sessions: SessionCache | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        if session is None and self.sessions is not None:
            session = self.sessions.get(self, _text(server_hostname))
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def wrap_socket(self, sock: Any, *arguments: Any, **options: Any) -> Any:
        if self.sessions is not None and options.get("session") is None:
            options["session"] = self.sessions.get(self, _text(options.get("server_hostname")))
        return super().wrap_socket(sock, *arguments, **options)


def _text(name: str | bytes | None) -> str | None:
    return name.decode() if isinstance(name, bytes) else name


# Contexts of clients.

_client_contexts: "weakref.WeakKeyDictionary[ClientTls, dict[SessionCache | None, ssl.SSLContext]]"
_client_contexts = weakref.WeakKeyDictionary()
_client_lock = threading.Lock()


def client_context(tls: ClientTls, sessions: SessionCache | None) -> ssl.SSLContext:
    """The context for credentials; an OSError says what about them can't be used."""
    if tls.context is not None:
        context: ssl.SSLContext = tls.context
        return context
    with _client_lock:
        contexts = _client_contexts.setdefault(tls, {})
        if sessions not in contexts:
            contexts[sessions] = _make_client_context(tls, sessions)
        return contexts[sessions]


def _make_client_context(tls: ClientTls, sessions: SessionCache | None) -> ssl.SSLContext:
    roots_path = os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "")
    ciphers = os.environ.get("GRPC_SSL_CIPHER_SUITES", "")
    if tls.root_certificates is None and tls.certificate_chain is None and sessions is None:
        # Reading the system's trust store takes some milliseconds, so such credentials share a context.
        return _default_client_context(roots_path, ciphers)
    context = _new_client_context(roots_path, ciphers, tls.root_certificates)
    context.sessions = sessions
    if tls.private_key is not None and tls.certificate_chain is not None:
        _load_certificate(context, tls.private_key, tls.certificate_chain)
    return context


@functools.lru_cache(maxsize=4)
def _default_client_context(roots_path: str, ciphers: str) -> ssl.SSLContext:
    return _new_client_context(roots_path, ciphers, None)


def _new_client_context(roots_path: str, ciphers: str, roots: bytes | None) -> _ClientContext:
    context = _ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    _configure(context, ciphers)
    if roots is not None:
        _load_roots(context, roots)
    elif not (roots_path and _load_roots_file(context, roots_path)):
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _configure(context: ssl.SSLContext, ciphers: str) -> None:
    # gRPC over HTTP/2 needs TLS 1.2 (RFC 9113, section 9.2).
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    # The ssl module has no way to choose the suites of TLS 1.3, whose names begin like this.
    older = [name for name in ciphers.split(":") if name and not name.startswith("TLS_")]
    if older:
        try:
            context.set_ciphers(":".join(older))
        except ssl.SSLError as error:
            raise _tls_error(f"GRPC_SSL_CIPHER_SUITES={ciphers} can't be used", error) from error


def _load_roots_file(context: ssl.SSLContext, path: str) -> bool:
    try:
        with open(path, "rb") as file:
            _load_roots(context, file.read())
    except OSError as error:
        _LOGGER.warning("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH is not used, the trust store of the system is: %s", error)
        return False
    return True


def _load_roots(context: ssl.SSLContext, pem: bytes) -> None:
    # Bundles may have comments in any encoding between the certificates, which the ssl module doesn't take.
    blocks = [match[0].decode("ascii", "replace") for match in _PEM_BLOCK.finditer(pem)]
    try:
        context.load_verify_locations(cadata="\n".join(blocks))
    except (ssl.SSLError, ValueError) as error:
        raise _tls_error("the root certificates can't be read", error) from error


def _load_certificate(context: ssl.SSLContext, key: bytes, chain: bytes) -> None:
    try:
        with _as_file(chain + b"\n" + key) as path:
            # Without a password function, an encrypted key would ask for its password on the terminal.
            context.load_cert_chain(path, password=lambda: b"")
    except ssl.SSLError as error:
        raise _tls_error("the private key and the certificate chain can't be used", error) from error


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Gives bytes a path, which the ssl module wants for certificates; on Linux nothing is written to a disk."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        with os.fdopen(os.memfd_create("pygrpc-pem", os.MFD_CLOEXEC), "wb") as memory:
            memory.write(data)
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
        return
    descriptor, path = tempfile.mkstemp(prefix="pygrpc-", suffix=".pem")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        yield path
    finally:
        os.unlink(path)


def _tls_error(text: str, error: Exception) -> ssl.SSLError:
    # Some errors of the ssl module have neither a number nor strerror.
    reason = getattr(error, "strerror", None) or ", ".join(str(each) for each in error.args)
    return ssl.SSLError(ssl.SSL_ERROR_SSL, f"{text}: {reason}")


# Contexts of servers.


def server_context(tls: ServerTls, configuration: CertificateConfiguration | None) -> ssl.SSLContext:
    assert configuration is not None
    contexts = [_single_context(tls, configuration, *pair) for pair in configuration.pairs]
    named: list[tuple[ssl.SSLContext, list[str]]] = []
    if len(contexts) > 1:
        named = [
            (context, _certificate_names(context, chain))
            for context, (_, chain) in zip(contexts, configuration.pairs, strict=True)
        ]

    def choose(connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        if name is None:
            return
        # The ssl module tells the name nowhere else.
        connection.requested_server_name = name
        chosen = next((each for each, names in named if _matches(name, names)), None)
        if chosen is not None:
            connection.context = chosen

    contexts[0].sni_callback = choose
    return contexts[0]


def _single_context(
    tls: ServerTls, configuration: CertificateConfiguration, key: bytes, chain: bytes
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _configure(context, os.environ.get("GRPC_SSL_CIPHER_SUITES", ""))
    _load_certificate(context, key, chain)
    if configuration.root_certificates is not None and tls.require_client_authentication:
        _load_roots(context, configuration.root_certificates)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _certificate_names(server: ssl.SSLContext, chain: bytes) -> list[str]:
    """The DNS names in a certificate, as a client learns them: the ssl module parses only what it has verified."""
    leaf = _PEM_BLOCK.search(chain)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        _load_roots(client, leaf[0] if leaf else b"")
        ends = (client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True))
        for _ in range(4):
            for end in ends:
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        certificate = ends[0].getpeercert() or {}
    except (ssl.SSLError, ValueError) as error:
        _LOGGER.warning("a certificate is never chosen by the name that a client asks for: %s", error)
        return []
    names: Any = certificate.get("subjectAltName", ())
    return [value.lower() for kind, value in names if kind == "DNS"]


def _matches(name: str, patterns: list[str]) -> bool:
    # RFC 6125, section 6.4.3: a wildcard stands for the whole left-most label.
    name = name.lower()
    return name in patterns or f"*.{name.partition('.')[2]}" in patterns
