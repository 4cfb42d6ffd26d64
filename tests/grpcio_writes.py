"""Mends a race of grpcio's asyncio client, for the tests that have it as a peer.

When a server answers before it has read the whole request stream, the client may notice that it cannot write any more
before it notices the status. It then ends the call with INTERNAL and a text of its own, and the status of the server is
lost. The tests are about that status, so here a write that came too late waits for it.
"""

from __future__ import annotations

from typing import Any

from grpc.aio import _call


class _PatientCall:
    """Stands for the Cython object of a call, and does not take a failed write for the end of the call."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def set_internal_error(self, text: str) -> None:
        """Leave the status of a call that cannot be written to any more to the server."""
        if "SendMessageOperation" not in text:
            self._call.set_internal_error(text)


def wait_for_the_status() -> None:
    """Make all calls of grpc.aio in this process wait for their status after a write that came too late."""
    initialize = _call.Call.__init__

    def patiently(self: Any, cython_call: Any, *arguments: Any, **named: Any) -> None:
        initialize(self, _PatientCall(cython_call), *arguments, **named)

    _call.Call.__init__ = patiently
