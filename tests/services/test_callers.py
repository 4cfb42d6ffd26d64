"""Nobody who is known acts as somebody else."""

from __future__ import annotations

from typing import Any

import pytest

from pygrpc.services.callers import require_self, unknown
from pygrpc.services.errors import RequestError


def test_who_is_not_known_may_claim_to_be_anybody() -> None:
    context: Any = None
    require_self(unknown(context), "ann", "user_id", "demo.Demo")


def test_who_is_known_may_only_be_the_same() -> None:
    require_self("ann", "ann", "user_id", "demo.Demo")
    for claimed in ("bob", "Ann", "ann ", ""):
        with pytest.raises(RequestError) as caught:
            require_self("ann", claimed, "user_id", "demo.Demo")
        assert caught.value.code.name == "PERMISSION_DENIED"
        assert str(caught.value) == "user_id must be the name of the caller"
