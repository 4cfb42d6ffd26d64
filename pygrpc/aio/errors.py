"""Errors of the asyncio API.

Exception
    RpcError
        AioRpcError          a call ended with a status other than OK
    BaseError
        UsageError           the API was used in a way that it doesn't allow
        AbortError           raised by context.abort, to end the handler
        InternalError        the library failed
            InvalidMetadataError    metadata of the user can't be sent; also a ValueError
"""

from typing import Any

from pygrpc.errors import RpcError
from pygrpc.metadata import Metadata
from pygrpc.status import StatusCode


class BaseError(Exception):
    """The base of the errors that are no status of a call."""


class UsageError(BaseError):
    """The API was used in a way that it doesn't allow."""


class AbortError(BaseError):
    """Raised by ``context.abort`` to end the handler; not to be caught."""


class InternalError(BaseError):
    """The library failed."""


class InvalidMetadataError(InternalError, ValueError):
    """Metadata of the user can't be sent; the text says which key or value and why."""


class AioRpcError(RpcError):
    """A call ended with a status other than OK; a snapshot of that end, so its methods are plain functions."""

    def __init__(
        self,
        code: StatusCode,
        initial_metadata: Metadata | None = None,
        trailing_metadata: Metadata | None = None,
        details: str | None = None,
        debug_error_string: str | None = None,
    ) -> None:
        """Keeps the parts of the status."""
        super().__init__()
        self._code = code
        self._details = details
        self._initial_metadata = initial_metadata
        self._trailing_metadata = trailing_metadata
        self._debug_error_string = debug_error_string

    def code(self) -> StatusCode:
        """The status code."""
        return self._code

    def details(self) -> str | None:
        """The status message."""
        return self._details

    def initial_metadata(self) -> Metadata | None:
        """The initial metadata that the server sent."""
        return self._initial_metadata

    def trailing_metadata(self) -> Metadata | None:
        """The trailing metadata that the server sent."""
        return self._trailing_metadata

    def debug_error_string(self) -> str | None:
        """More for developers; often empty."""
        return self._debug_error_string

    def __repr__(self) -> str:
        """Shows the status over several lines, as grpcio does."""
        return (
            f"<{type(self).__name__} of RPC that terminated with:\n"
            f"\tstatus = {self._code}\n"
            f'\tdetails = "{self._details}"\n'
            f'\tdebug_error_string = "{self._debug_error_string}"\n'
            ">"
        )

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the parts."""
        parts = (self._code, self._initial_metadata, self._trailing_metadata, self._details, self._debug_error_string)
        return type(self), parts
