"""What stands for ``grpc._utilities``: what generated ``_pb2_grpc.py`` files import, and types of interceptors."""

from pygrpc import channel_ready_future as channel_ready_future
from pygrpc.handlers import _DictionaryHandler as DictionaryGenericHandler
from pygrpc.handlers import _MethodHandler as RpcMethodHandler

__all__ = ["DictionaryGenericHandler", "RpcMethodHandler", "channel_ready_future", "first_version_is_lower"]


def first_version_is_lower(version1: str, version2: str) -> bool:
    """Whether one version is lower than another.

    Args:
        version1: A version such as ``1.66.0`` or ``1.66.0.dev1``.
        version2: Another. If both begin with the same three numbers, the one without more behind them is lower. Where
            one of the three is no number, the answer is False.
    """
    parts1, parts2 = version1.split("."), version2.split(".")
    try:
        numbers1, numbers2 = [int(part) for part in parts1[:3]], [int(part) for part in parts2[:3]]
    except ValueError:
        return False
    return len(parts1) < len(parts2) if numbers1 == numbers2 else numbers1 < numbers2
