"""What stands for ``grpc.framework.interfaces.face.face``: the errors that programs name in ``except``.

As with grpcio, only its beta API raised them; calls raise ``RpcError``.
"""

from typing import Any


class AbortionError(Exception):
    """A call was aborted.

    Attributes:
        initial_metadata: What the server sent first.
        terminal_metadata: What came with the status.
        code: The status code.
        details: The status message.
    """

    def __init__(self, initial_metadata: Any, terminal_metadata: Any, code: Any, details: Any) -> None:
        """Keeps how the call ended."""
        super().__init__()
        self.initial_metadata = initial_metadata
        self.terminal_metadata = terminal_metadata
        self.code = code
        self.details = details

    def __str__(self) -> str:
        """Shows the status."""
        return f'{type(self).__name__}(code={self.code}, details="{self.details}")'


class CancellationError(AbortionError):
    """The call was cancelled."""


class ExpirationError(AbortionError):
    """The deadline passed."""


class LocalShutdownError(AbortionError):
    """This end shut down."""


class RemoteShutdownError(AbortionError):
    """The other end shut down."""


class NetworkError(AbortionError):
    """The network failed."""


class LocalError(AbortionError):
    """This end failed."""


class RemoteError(AbortionError):
    """The other end failed."""
