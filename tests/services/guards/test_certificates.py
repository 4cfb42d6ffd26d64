"""Callers by their certificates."""

from __future__ import annotations

import pytest

from pygrpc.services.errors import RequestError
from pygrpc.services.guards import Identity
from pygrpc.services.guards.certificates import Certificates

SPIFFE = "spiffe://example.org/orders"


def named(*names: str) -> dict[str, list[bytes]]:
    return {"x509_subject_alternative_name": [name.encode() for name in names], "x509_common_name": [b"common"]}


def test_the_first_name_in_the_list_counts() -> None:
    certificates = Certificates({SPIFFE: {"service"}, "other": ()})
    expected = Identity(SPIFFE, frozenset({"service"}), "certificate")
    assert certificates.identify(named("unknown", SPIFFE, "other")) == expected


def test_the_common_name_counts_only_without_others() -> None:
    certificates = Certificates({"common": ()}, others=())
    assert certificates.identify({"x509_common_name": [b"common"]}) == Identity("common", kind="certificate")
    assert certificates.identify(named("a")) == Identity("a", kind="certificate")


def test_others_have_the_roles_that_are_given() -> None:
    assert Certificates({}, others=["guest"]).identify(named("a", "b")) == Identity(
        "a", frozenset({"guest"}), "certificate"
    )


def test_others_are_turned_away() -> None:
    with pytest.raises(RequestError, match="nobody who is known here") as caught:
        Certificates({SPIFFE: ()}).identify(named("a"))
    assert caught.value.code.name == "UNAUTHENTICATED"


def test_without_a_certificate_nobody_is_known() -> None:
    assert Certificates({}, others=()).identify({"transport_security_type": [b"insecure"]}) is None
