"""Credentials from files that may be replaced while the server runs."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

from pygrpc import (
    ServerCertificateConfiguration,
    ServerCredentials,
    dynamic_ssl_server_credentials,
    ssl_server_certificate_configuration,
)
from pygrpc.services.serving.errors import StartError

_log = logging.getLogger(__name__)
_Stamp = tuple[tuple[int, int, int] | None, ...]


class CertificateFiles:
    """The certificate, the key and the roots of a server, read anew when the files have changed.

    Files that cannot be used, for example because a new certificate is there and its key is not yet, are reported once,
    and what was read before stays in use.
    """

    def __init__(self, certificate: str, key: str, ca: str = "") -> None:
        """Names the files, all PEM.

        Args:
            certificate: The certificate of the server, and those that lead to its root.
            key: The private key of the certificate.
            ca: The certificates that vouch for clients; none if it is empty.
        """
        self._certificate, self._key, self._ca = certificate, key, ca
        self._stamp: _Stamp = ()

    def credentials(self, require_client_auth: bool) -> ServerCredentials:
        """Reads the files for a server.

        Args:
            require_client_auth: Whether clients must present a certificate.

        Raises:
            StartError: They cannot be used; the text says why.
        """
        self._stamp = self._look()
        return dynamic_ssl_server_credentials(self._read(), self.changed, require_client_auth)

    def changed(self) -> ServerCertificateConfiguration | None:
        """Returns what the files hold if that is something new which can be used; asked before each handshake."""
        stamp = self._look()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        try:
            configuration = self._read()
        except StartError as error:
            _log.error("The certificates stay as they are: %s.", error)
            return None
        _log.info("The certificates have been read anew.")
        return configuration

    def _look(self) -> _Stamp:
        """Returns what changes when one of the files does."""
        return tuple(_stamp_of(path) for path in (self._certificate, self._key, self._ca) if path)

    def _read(self) -> ServerCertificateConfiguration:
        certificate = _bytes_of(self._certificate, "certificate")
        key = _bytes_of(self._key, "private key")
        ca = _bytes_of(self._ca, "CA certificate") if self._ca else None
        _check_pair(self._certificate, self._key)
        if self._ca:
            _check_roots(self._ca)
        return ssl_server_certificate_configuration([(key, certificate)], ca)


def _stamp_of(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _bytes_of(path: str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StartError(f"the {what} {path} cannot be read: {error.strerror}") from None


def _check_pair(certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    encrypted = False

    def password() -> bytes:
        # Without a function, OpenSSL would ask on the terminal.
        nonlocal encrypted
        encrypted = True
        return b""

    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if encrypted:
            raise StartError(f"the private key {key} is encrypted; store it without a password") from None
        if error.reason == "KEY_VALUES_MISMATCH":
            raise StartError(f"the private key {key} does not belong to the certificate {certificate}") from None
        raise StartError(f"the certificate {certificate} and the private key {key} are not both PEM") from None
    except OSError as error:
        raise StartError(f"the certificate {certificate} cannot be read: {error.strerror}") from None


def _check_roots(ca: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError:
        raise StartError(f"the CA certificate {ca} is no PEM certificate") from None
    except OSError as error:
        raise StartError(f"the CA certificate {ca} cannot be read: {error.strerror}") from None
