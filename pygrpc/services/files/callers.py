"""Who makes a call, and what that one may do."""

from __future__ import annotations

from typing import Any

from pygrpc import aio
from pygrpc.services.callers import Identify
from pygrpc.services.errors import require
from pygrpc.services.files import errors
from pygrpc.services.files.schema import StoredFile
from pygrpc.services.files.validation import Limits, check_owner
from pygrpc.services.protos.file.v1 import file_pb2

USER_ID_KEY = "user-id"
ANONYMOUS = "anonymous"


def user_id_of(context: aio.ServicerContext[Any, Any]) -> str:
    """Returns what the metadata "user-id" say, which anybody may send: it keeps friends from mishaps, not foes out."""
    for key, value in context.invocation_metadata() or ():
        if key == USER_ID_KEY and isinstance(value, str):
            return value
    return ""


def caller(context: aio.ServicerContext[Any, Any], identify: Identify, limits: Limits, claimed: str = "") -> str:
    """Returns who makes a call.

    Args:
        context: Of the call.
        identify: Knows who makes it.
        limits: Of names.
        claimed: Who the request says it is; counts only if `identify` does not know.
    """
    owner = identify(context)
    require(list(check_owner(owner, limits, USER_ID_KEY)))
    return owner or claimed or ANONYMOUS


def may_read(who: str, file: StoredFile) -> None:
    """Raises PERMISSION_DENIED unless the file may be read."""
    if file.owner != who and file.visibility != file_pb2.VISIBILITY_PUBLIC:
        raise errors.not_owner(file.file_id)
