"""Clients of the services: deadlines, retries, tokens, TLS, and streams that go on after a connection broke.

    async with Clients("127.0.0.1:50051", ClientOptions(timeout=5)) as clients:
        user = await clients.users.get("...")

docs/clients.md shows what they can do. It needs the extra `services`, as far as it has the generated messages.
"""

from pygrpc.services.clients.chat import ChatClient
from pygrpc.services.clients.chatting import ChatSession
from pygrpc.services.clients.connection import Connection
from pygrpc.services.clients.errors import FieldViolation, ServiceError
from pygrpc.services.clients.files import FileClient
from pygrpc.services.clients.matching import MatchSession
from pygrpc.services.clients.options import CallOptions, ClientOptions, Tls, token_from
from pygrpc.services.clients.orders import OrderClient
from pygrpc.services.clients.together import Blocking, BlockingClients, Clients
from pygrpc.services.clients.users import UserClient

__all__ = [
    "Blocking",
    "BlockingClients",
    "CallOptions",
    "ChatClient",
    "ChatSession",
    "ClientOptions",
    "Clients",
    "Connection",
    "FieldViolation",
    "FileClient",
    "MatchSession",
    "OrderClient",
    "ServiceError",
    "Tls",
    "UserClient",
    "token_from",
]
