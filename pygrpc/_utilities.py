"""The one helper that generated ``_pb2_grpc.py`` files import."""


def first_version_is_lower(version1: str, version2: str) -> bool:
    """Whether one version is lower than another.

    Args:
        version1: A version such as ``1.66.0`` or ``1.66.0.dev1``.
        version2: Another. A version with a suffix is lower than the same one without.
    """
    return _version_key(version1) < _version_key(version2)


def _version_key(version: str) -> tuple[tuple[int, ...], bool]:
    numbers: list[int] = []
    for part in version.split(".")[:3]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        numbers.append(int(digits) if digits else 0)
        if digits != part:
            return tuple(numbers), False
    return tuple(numbers), version.count(".") <= 2
