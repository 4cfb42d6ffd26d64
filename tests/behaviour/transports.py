"""How bytes get from a channel to a server: in the clear, over TLS, or over TLS with certificates of both sides."""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass
from typing import Any

from tests.tls import certificates

#: Whatever behaviours call the server.
HOSTS = ("localhost", "127.0.0.1", "::1", "example.test")


@dataclass(frozen=True)
class Transport:
    """Cleartext TCP on the loopback.

    Attributes:
        name: Its name in the ids of tests.
        scheme: What the `:scheme` header says.
    """

    name: str = "tcp"
    scheme: str = "http"

    def add_port(self, root: Any, server: Any, address: str) -> int:
        """Open a port of a server of the library `root`, and return its number."""
        port: int = server.add_insecure_port(address)
        return port

    def open_channel(self, root: Any, aio: Any, target: str, **settings: Any) -> Any:
        """Make a channel of the library `root` to a port that `add_port` opened."""
        return aio.insecure_channel(target, **settings)

    def relay_contexts(self) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
        """What a relay takes connections with, and what it connects with."""
        return None, None

    @property
    def identities(self) -> tuple[Any, Any]:
        """What `peer_identities` and `peer_identity_key` say of the client."""
        return None, None


@dataclass(frozen=True)
class Tls(Transport):
    """TLS; the library's own credentials on both sides.

    Attributes:
        mutual: Whether the client has to show a certificate.
    """

    name: str = "tls"
    scheme: str = "https"
    mutual: bool = False

    def add_port(self, root: Any, server: Any, address: str) -> int:
        port: int = server.add_secure_port(address, server_credentials(root, self.mutual))
        return port

    def open_channel(self, root: Any, aio: Any, target: str, **settings: Any) -> Any:
        if target.startswith("unix:"):
            # grpcio looks for the path of the socket in the certificate.
            override = (("grpc.ssl_target_name_override", "localhost"),)
            settings["options"] = (*settings.get("options", ()), *override)
        return aio.secure_channel(target, channel_credentials(root, self.mutual), **settings)

    def relay_contexts(self) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
        return relay_contexts(self.mutual)

    @property
    def identities(self) -> tuple[Any, Any]:
        return ([b"client.example"], "x509_subject_alternative_name") if self.mutual else (None, None)


def server_identity() -> certificates.Identity:
    return certificates.identity(*HOSTS)


def client_identity() -> certificates.Identity:
    return certificates.identity("client.example")


@functools.cache
def server_credentials(root: Any, mutual: bool) -> Any:
    roots = certificates.roots() if mutual else None
    return root.ssl_server_credentials([tuple(server_identity())], roots, mutual)


@functools.cache
def channel_credentials(root: Any, mutual: bool) -> Any:
    return root.ssl_channel_credentials(certificates.roots(), *(client_identity() if mutual else ()))


@functools.cache
def relay_contexts(mutual: bool) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for one who stands between the two and is to both of them what they expect."""
    authority = certificates.authority("main")
    taking, making = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context, names in ((taking, HOSTS), (making, ("client.example",))):
        authority.issue_cert(*names).configure_cert(context)
        authority.configure_trust(context)
        context.set_alpn_protocols(["h2"])
    if mutual:
        taking.verify_mode = ssl.CERT_REQUIRED
    return taking, making


TRANSPORTS = (Transport(), Tls(), Tls("mtls", mutual=True))
TCP, TLS, MTLS = TRANSPORTS
