"""Callers that are known by the certificate of their connection (mutual TLS)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pygrpc.services.guards.calls import Identity
from pygrpc.services.guards.tokens import unauthenticated


class Certificates:
    """Knows callers by their certificates, which the server has verified when it has asked for them.

    What a certificate says of its owner are its alternative names, or its common name if it has none.
    """

    def __init__(self, roles: Mapping[str, Collection[str]], *, others: Collection[str] | None = None) -> None:
        """Makes the list.

        Args:
            roles: The roles of each name: `{"spiffe://example.org/orders": {"service"}}`.
            others: The roles of certificates without a name in the list; None turns these away.
        """
        self._listed = {name: Identity(name, frozenset(theirs), "certificate") for name, theirs in roles.items()}
        self._others = None if others is None else frozenset(others)

    def identify(self, properties: Mapping[str, Sequence[bytes]]) -> Identity | None:
        """Returns whose certificate it is.

        Args:
            properties: What `auth_context()` says of the connection.

        Returns:
            None if there is no certificate.

        Raises:
            RequestError: UNAUTHENTICATED; the certificate is of somebody else.
        """
        found = properties.get("x509_subject_alternative_name") or properties.get("x509_common_name") or ()
        names = [name.decode("utf-8", "replace") for name in found]
        for name in names:
            if name in self._listed:
                return self._listed[name]
        if not names:
            return None
        if self._others is None:
            raise unauthenticated("CERTIFICATE_UNKNOWN", "the client's certificate is of nobody who is known here")
        return Identity(names[0], self._others, "certificate")
