"""HTTP/2: the seam through which the rest of the code sees it, and the engines behind that seam."""

import os
from collections.abc import Callable

from pygrpc.core.http2.codes import MAX_STREAM_ID, ErrorCode, error_name
from pygrpc.core.http2.engine import HeaderBlock, Http2Engine, Http2Events, Http2Settings
from pygrpc.core.http2.frame_engine import FrameEngine
from pygrpc.core.http2.h2_engine import H2Engine

__all__ = [
    "MAX_STREAM_ID",
    "ErrorCode",
    "HeaderBlock",
    "Http2Engine",
    "Http2Events",
    "Http2Settings",
    "create_engine",
    "error_name",
]

#: The environment variable that chooses the engine, and what it may say.
ENGINE_VARIABLE = "PYGRPC_HTTP2_ENGINE"
_ENGINES: dict[str, Callable[[Http2Events, Http2Settings, bool], Http2Engine]] = {"h2": H2Engine, "frame": FrameEngine}
_DEFAULT_ENGINE = "frame"


def create_engine(events: Http2Events, settings: Http2Settings, client_side: bool) -> Http2Engine:
    """Makes the engine for one connection: the one that PYGRPC_HTTP2_ENGINE names, ``h2`` or ``frame``.

    Args:
        events: Who is told what the peer does.
        settings: What we announce to the peer.
        client_side: Whether we opened the connection.

    Raises:
        ValueError: The environment variable names no engine.
    """
    name = os.environ.get(ENGINE_VARIABLE, _DEFAULT_ENGINE)
    try:
        engine = _ENGINES[name]
    except KeyError:
        raise ValueError(f"{ENGINE_VARIABLE} must be one of {', '.join(_ENGINES)}, not {name!r}") from None
    return engine(events, settings, client_side)
