"""Runs what depends on HTTP/2 on each engine."""

from __future__ import annotations

import pytest

from pygrpc.core import http2


@pytest.fixture(params=sorted(http2._ENGINES))
def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Chooses an engine for the connections that a test makes; returns its name."""
    name: str = request.param
    monkeypatch.setenv(http2.ENGINE_VARIABLE, name)
    return name
