"""What stands for ``grpc._common``, of which programs use a few functions and tables."""

import logging
from collections.abc import Callable
from typing import Any

from pygrpc._cython.cygrpc import ConnectivityState
from pygrpc._cython.cygrpc import StatusCode as CoreStatusCode
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.status import StatusCode

_LOGGER = logging.getLogger("pygrpc")

CYGRPC_STATUS_CODE_TO_STATUS_CODE = {CoreStatusCode(code.value[0]): code for code in StatusCode}
STATUS_CODE_TO_CYGRPC_STATUS_CODE = {code: core for core, code in CYGRPC_STATUS_CODE_TO_STATUS_CODE.items()}
CYGRPC_CONNECTIVITY_STATE_TO_CHANNEL_CONNECTIVITY = {
    getattr(ConnectivityState, state.name.lower()): state for state in ChannelConnectivity
}


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


def serialize(message: Any, serializer: Callable[[Any], bytes] | None) -> Any:
    """Returns the bytes of a message; None, and a log record, if the serializer raises.

    Args:
        message: The message.
        serializer: Makes bytes of it; None if it is bytes already.
    """
    return _transform(message, serializer, "Exception serializing message!")


def deserialize(serialized_message: bytes, deserializer: Callable[[bytes], Any] | None) -> Any:
    """Returns the message that bytes hold; None, and a log record, if the deserializer raises.

    Args:
        serialized_message: The bytes.
        deserializer: Makes a message of them; None for the bytes themselves.
    """
    return _transform(serialized_message, deserializer, "Exception deserializing message!")


def _transform(value: Any, function: Callable[[Any], Any] | None, text: str) -> Any:
    if function is None:
        return value
    try:
        return function(value)
    except Exception:
        _LOGGER.exception(text)
        return None


def fully_qualified_method(group: str, method: str) -> str:
    """Returns the full name of a method.

    Args:
        group: The full name of the service.
        method: The short name of the method.
    """
    return f"/{group}/{method}"
