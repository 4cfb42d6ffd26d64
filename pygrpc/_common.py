"""What stands for ``grpc._common``, of which programs use a few functions."""


def encode(s: str | bytes) -> bytes:
    """Returns bytes as they are, and text as UTF-8.

    Args:
        s: Text or bytes.
    """
    return s if isinstance(s, bytes) else s.encode()


def decode(b: str | bytes) -> str:
    """Returns text as it is, and bytes read as UTF-8; what can't be read is replaced.

    Args:
        b: Text or bytes.
    """
    return b.decode("utf-8", "replace") if isinstance(b, bytes) else b


def fully_qualified_method(group: str, method: str) -> str:
    """Returns the full name of a method.

    Args:
        group: The full name of the service.
        method: The short name of the method.
    """
    return f"/{group}/{method}"
