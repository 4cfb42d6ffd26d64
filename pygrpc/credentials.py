"""Credentials of channels and servers: descriptions of how a connection is secured.

Nothing here does I/O. A ``ChannelCredentials`` holds a transport (TLS, local, none) and the call credentials that go
with every call; a ``ServerCredentials`` a transport. What they describe is carried out by ``_tls`` and the shells.
The factories are those of ``grpc``, with its texts where programs are known to match on them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from pygrpc.call_credentials import CallCredentials, PluginSource, call_plugins, composite_call_credentials
from pygrpc.interfaces import LocalConnectionType

#: A private key and the certificate chain that belongs to it, both PEM.
KeyCertificatePair = tuple[bytes, bytes]


# What credentials describe. They are compared by identity: what is made of one, such as an SSLContext, is kept with it.


@dataclass(frozen=True, eq=False)
class ClientTls:
    """TLS as its client does it; certificates and keys are PEM.

    Attributes:
        root_certificates: What to trust; None for the default of the system.
        private_key: The client's own key, or None.
        certificate_chain: The client's own certificate and those that lead to its root, or None.
        context: An ssl.SSLContext of the user's own, in place of the rest.
    """

    root_certificates: bytes | None = None
    private_key: bytes | None = None
    certificate_chain: bytes | None = None
    context: Any = None


@dataclass(frozen=True, eq=False)
class CertificateConfiguration:
    """What a server presents and trusts; all PEM."""

    pairs: tuple[KeyCertificatePair, ...]
    root_certificates: bytes | None


@dataclass(frozen=True, eq=False)
class ServerTls:
    """TLS as its server does it.

    Attributes:
        initial: The certificates to begin with; None with a context.
        require_client_authentication: Whether a client must present a certificate that the roots vouch for.
        fetcher: Asked before each handshake for other certificates; returns None to keep them.
        context: An ssl.SSLContext of the user's own, in place of the rest.
    """

    initial: CertificateConfiguration | None
    require_client_authentication: bool = False
    fetcher: Callable[[], "ServerCertificateConfiguration | None"] | None = None
    context: Any = None


@dataclass(frozen=True, eq=False)
class Local:
    """No encryption, but only with a peer on the same machine."""

    kind: LocalConnectionType


@dataclass(frozen=True, eq=False)
class Insecure:
    """No encryption at all."""


@dataclass(frozen=True, eq=False)
class Unavailable:
    """Credentials that need something that only exists elsewhere; using them raises NotImplementedError."""

    reason: str


ChannelTransport = ClientTls | Local | Insecure | Unavailable
ServerTransport = ServerTls | Local | Insecure | Unavailable
_INSECURE = Insecure()


class ChannelDescription(NamedTuple):
    """What channel credentials hold.

    Attributes:
        transport: How connections are secured.
        plugins: The call credentials of every call.
    """

    transport: ChannelTransport
    plugins: tuple[PluginSource, ...] = ()


# What users hold.


class ChannelCredentials:
    """How a channel is secured; made by one of the factories, for ``secure_channel``."""

    def __init__(self, credentials: Any) -> None:
        """Wraps a description; users call a factory instead."""
        self._credentials = credentials


class ServerCredentials:
    """How a port is secured; made by one of the factories, for ``add_secure_port``."""

    def __init__(self, credentials: Any) -> None:
        """Wraps a description; users call a factory instead."""
        self._credentials = credentials


class ServerCertificateConfiguration:
    """The certificates of a server; what the fetcher of dynamic_ssl_server_credentials returns."""

    def __init__(self, certificate_configuration: Any) -> None:
        """Wraps a description; users call a factory instead."""
        self._certificate_configuration = certificate_configuration


def channel_description(credentials: Any) -> ChannelDescription:
    """Looks into channel credentials.

    Raises:
        TypeError: They are no channel credentials.
    """
    if not isinstance(credentials, ChannelCredentials):
        raise TypeError(f"a secure channel needs ChannelCredentials, not {credentials!r}; see ssl_channel_credentials")
    description = credentials._credentials
    assert isinstance(description, ChannelDescription)
    return description


def server_transport(credentials: Any) -> ServerTransport:
    """Looks into server credentials.

    Raises:
        TypeError: They are no server credentials.
        NotImplementedError: They can't be used here; the text says why.
    """
    if not isinstance(credentials, ServerCredentials):
        raise TypeError(f"a secure port needs ServerCredentials, not {credentials!r}; see ssl_server_credentials")
    transport: ServerTransport = credentials._credentials
    if isinstance(transport, Unavailable):
        raise NotImplementedError(transport.reason)
    return transport


_T = TypeVar("_T")


def _checked(value: Any, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value


def _pem(value: Any, what: str) -> bytes | None:
    if value is not None and not isinstance(value, bytes):
        raise TypeError(f"expected {what} to be bytes, got {type(value)}")
    return value


def _pairs(pairs: Iterable[tuple[Any, Any]]) -> tuple[KeyCertificatePair, ...]:
    checked = []
    for key, chain in pairs or ():
        if key is None or chain is None:
            raise TypeError("a private key and its certificate chain must both be given, as bytes")
        checked.append((_pem(key, "private key") or b"", _pem(chain, "certificate chain") or b""))
    if not checked:
        raise ValueError("At least one private key-certificate chain pair is required!")
    return tuple(checked)


# Factories: TLS.


def ssl_channel_credentials(
    root_certificates: bytes | None = None, private_key: bytes | None = None, certificate_chain: bytes | None = None
) -> ChannelCredentials:
    """Makes credentials for TLS; with a key and a chain, the client authenticates itself (mTLS).

    What can't be read is found out when the channel connects: its calls then end with UNAVAILABLE.

    Args:
        root_certificates: PEM certificates to trust. None takes the file that the environment variable
            GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names, or else the trust store of the system.
        private_key: The client's PEM private key, or None.
        certificate_chain: The client's PEM certificate, followed by those that lead to its root, or None.

    Raises:
        TypeError: Something is neither bytes nor None.
    """
    tls = ClientTls(
        _pem(root_certificates, "certificate"),
        _pem(private_key, "private key"),
        _pem(certificate_chain, "certificate chain"),
    )
    return ChannelCredentials(ChannelDescription(tls))


def ssl_server_credentials(
    private_key_certificate_chain_pairs: Iterable[tuple[bytes, bytes]],
    root_certificates: bytes | None = None,
    require_client_auth: bool = False,
) -> ServerCredentials:
    """Makes credentials for TLS on a server.

    Args:
        private_key_certificate_chain_pairs: PEM pairs (private key, certificate chain). With several, the one is
            presented whose certificate has the name that the client asks for, else the first.
        root_certificates: PEM certificates that vouch for clients, or None.
        require_client_auth: Whether clients must authenticate themselves (mTLS).

    Raises:
        ValueError: There is no pair, or clients must authenticate themselves but no roots are given.
        TypeError: Something is not bytes.
    """
    pairs = _pairs(private_key_certificate_chain_pairs)
    if require_client_auth and root_certificates is None:
        raise ValueError("Illegal to require client auth without providing root certificates!")
    configuration = CertificateConfiguration(pairs, _pem(root_certificates, "certificate"))
    return ServerCredentials(ServerTls(configuration, bool(require_client_auth)))


def ssl_server_certificate_configuration(
    private_key_certificate_chain_pairs: Iterable[tuple[bytes, bytes]], root_certificates: bytes | None = None
) -> ServerCertificateConfiguration:
    """Describes the certificates of a server, for ``dynamic_ssl_server_credentials``.

    Args:
        private_key_certificate_chain_pairs: PEM pairs (private key, certificate chain).
        root_certificates: PEM certificates that vouch for clients, or None.

    Raises:
        ValueError: There is no pair.
        TypeError: Something is not bytes.
    """
    pairs = _pairs(private_key_certificate_chain_pairs)
    return ServerCertificateConfiguration(CertificateConfiguration(pairs, _pem(root_certificates, "certificate")))


def dynamic_ssl_server_credentials(
    initial_certificate_configuration: ServerCertificateConfiguration,
    certificate_configuration_fetcher: Callable[[], ServerCertificateConfiguration | None],
    require_client_authentication: bool = False,
) -> ServerCredentials:
    """Makes credentials for TLS on a server whose certificates can change while it runs.

    Args:
        initial_certificate_configuration: The certificates to begin with.
        certificate_configuration_fetcher: Called before each handshake; returns what to present from now on, or None
            for no change. If it raises, or what it returns can't be used, that is logged and nothing changes. It holds
            up the handshake, and in an asyncio server the loop, so it should not take long.
        require_client_authentication: Whether clients must authenticate themselves (mTLS).

    Raises:
        TypeError: The configuration is none, or the fetcher can't be called.
    """
    if not callable(certificate_configuration_fetcher):
        raise TypeError(f"the certificate fetcher must be callable, not {certificate_configuration_fetcher!r}")
    initial = _checked(initial_certificate_configuration, ServerCertificateConfiguration)
    tls = ServerTls(
        initial._certificate_configuration, bool(require_client_authentication), certificate_configuration_fetcher
    )
    return ServerCredentials(tls)


# Factories: no TLS.


def local_channel_credentials(
    local_connect_type: LocalConnectionType = LocalConnectionType.LOCAL_TCP,
) -> ChannelCredentials:
    """Makes credentials without encryption for servers on the same machine; call credentials are allowed.

    Args:
        local_connect_type: Whether it is over the loopback address or over a Unix socket.
    """
    return ChannelCredentials(ChannelDescription(Local(LocalConnectionType(local_connect_type.value))))


def local_server_credentials(
    local_connect_type: LocalConnectionType = LocalConnectionType.LOCAL_TCP,
) -> ServerCredentials:
    """Makes credentials without encryption for clients on the same machine.

    Args:
        local_connect_type: Whether it is over the loopback address or over a Unix socket.
    """
    return ServerCredentials(Local(LocalConnectionType(local_connect_type.value)))


def insecure_server_credentials() -> ServerCredentials:
    """Makes credentials without any security, to build others on, such as ``xds_server_credentials``."""
    return ServerCredentials(_INSECURE)


def insecure_channel_credentials() -> ChannelCredentials:
    """Makes credentials without any security; ``grpc.experimental`` has this name."""
    return _INSECURE_CHANNEL


_INSECURE_CHANNEL = ChannelCredentials(ChannelDescription(_INSECURE))


# Factories: what needs a cloud.

_ALTS = (
    "ALTS works only inside Google Cloud, by way of a handshaker service that pygrpc does not talk to; "
    "use ssl_channel_credentials and ssl_server_credentials, or grpcio"
)


def alts_channel_credentials(service_accounts: Sequence[str] | None = None) -> ChannelCredentials:
    """Makes credentials for ALTS, which pygrpc does not have: using them raises NotImplementedError."""
    return ChannelCredentials(ChannelDescription(Unavailable(_ALTS)))


def alts_server_credentials() -> ServerCredentials:
    """Makes credentials for ALTS, which pygrpc does not have: using them raises NotImplementedError."""
    return ServerCredentials(Unavailable(_ALTS))


def compute_engine_channel_credentials(call_credentials: CallCredentials) -> ChannelCredentials:
    """Makes credentials for Compute Engine, which pygrpc does not have: using them raises NotImplementedError."""
    return ChannelCredentials(ChannelDescription(Unavailable(_ALTS), call_plugins(call_credentials)))


def xds_channel_credentials(fallback_credentials: ChannelCredentials | None = None) -> ChannelCredentials:
    """Makes credentials for xDS. Without an xDS control plane, which pygrpc never has, the fallback is what counts.

    Args:
        fallback_credentials: What to use then; None for ``ssl_channel_credentials()``.
    """
    if fallback_credentials is None:
        return ssl_channel_credentials()
    return ChannelCredentials(_checked(fallback_credentials, ChannelCredentials)._credentials)


def xds_server_credentials(fallback_credentials: ServerCredentials) -> ServerCredentials:
    """Makes credentials for xDS. Without an xDS control plane, which pygrpc never has, the fallback is what counts.

    Args:
        fallback_credentials: What to use then.
    """
    return ServerCredentials(_checked(fallback_credentials, ServerCredentials)._credentials)


def composite_channel_credentials(
    channel_credentials: ChannelCredentials, *call_credentials: CallCredentials
) -> ChannelCredentials:
    """Adds call credentials to channel credentials: every call of the channel carries their metadata."""
    transport, plugins = _checked(channel_credentials, ChannelCredentials)._credentials
    added = composite_call_credentials(*call_credentials)._credentials
    return ChannelCredentials(ChannelDescription(transport, plugins + added))
