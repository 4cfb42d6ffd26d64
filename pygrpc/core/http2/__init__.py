"""HTTP/2: the seam through which the rest of the code sees it, and the engine behind that seam."""

from pygrpc.core.http2.codes import MAX_STREAM_ID, ErrorCode, error_name
from pygrpc.core.http2.engine import Http2Engine, Http2Events, Http2Settings
from pygrpc.core.http2.h2_engine import H2Engine

__all__ = [
    "MAX_STREAM_ID",
    "ErrorCode",
    "Http2Engine",
    "Http2Events",
    "Http2Settings",
    "create_engine",
    "error_name",
]


def create_engine(events: Http2Events, settings: Http2Settings, client_side: bool) -> Http2Engine:
    """Makes the engine for one connection.

    Args:
        events: Who is told what the peer does.
        settings: What we announce to the peer.
        client_side: Whether we opened the connection.
    """
    return H2Engine(events, settings, client_side)
