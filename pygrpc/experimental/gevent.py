"""The name of ``grpc.experimental.gevent``."""


def init_gevent() -> None:
    """Does nothing: the sync API uses the sockets and threads of the standard library, which gevent patches."""
