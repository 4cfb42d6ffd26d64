"""The chat service: rooms, who is in them, and what is said there (protos/chat/v1/chat.proto).

How the parts fit together:

    service      one method for each RPC of chat.v1
    unversioned  the same for the contract without a version, protos/chat/chat.proto
    rooms        what both do: stays in rooms, sending, limits of rate; the life of the parts below
    feed         stored messages on their way to those who are in the rooms, from whatever process they come
    store        what the service needs of a storage; database implements it, schema has the tables
    validation   every rule about what a request may hold
    errors       what went wrong, as a status with details
"""

from pygrpc.services.chat.database import DatabaseChatStore
from pygrpc.services.chat.rooms import ChatRooms
from pygrpc.services.chat.service import ChatService
from pygrpc.services.chat.store import ChatStore
from pygrpc.services.chat.unversioned import UnversionedChatService
from pygrpc.services.chat.validation import Limits

__all__ = ["ChatRooms", "ChatService", "ChatStore", "DatabaseChatStore", "Limits", "UnversionedChatService"]
