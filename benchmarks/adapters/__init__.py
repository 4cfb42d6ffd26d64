"""The same echo service and client, once for each API.

A server adapter is a function of `hold`: it starts listening, calls `hold(port)`, which blocks for as long as the
server is needed, and stops. A client adapter is a function of the port that returns a context manager, asynchronous or
not, around a `Client`.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager

from benchmarks.scenarios import Client

HOST = "127.0.0.1"

Hold = Callable[[int], None]
Server = Callable[[Hold], None]
Session = AbstractAsyncContextManager[Client] | AbstractContextManager[Client]
