"""The same echo service and client, once for each API.

A server adapter is a function of `hold` and the work: it starts listening, calls `hold(port)`, which blocks for as long
as the server is needed, and stops. A client adapter is a function of the port and the work that returns a context
manager, asynchronous or not, around a `Client` with a connection of its own.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager

from benchmarks.work import Client

Hold = Callable[[int], None]
Session = AbstractAsyncContextManager[Client] | AbstractContextManager[Client]
