"""Resumption of TLS sessions: the names of ``grpc.experimental.session_cache``."""

from pygrpc._tls_contexts import SessionCache as SSLSessionCache

__all__ = ["SSLSessionCache", "ssl_session_cache_lru"]


def ssl_session_cache_lru(capacity: int) -> SSLSessionCache:
    """Makes a cache of TLS sessions, the least recently used of which go first.

    Args:
        capacity: How many sessions it holds at most.

    Returns:
        The cache, for the option ``grpc.ssl_session_cache`` of any number of channels.
    """
    return SSLSessionCache(capacity)
